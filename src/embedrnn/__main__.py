"""Run the demonstration."""

import sys

from embedrnn._demo.main import main

if __name__ == "__main__":
    sys.exit(main())
