"""Run the benchmark."""

import sys

from embedrnn.bench.main import main

if __name__ == "__main__":
    sys.exit(main())
