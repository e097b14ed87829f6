"""A C++ compiler for CMake: zig, with GCC's names of the levels of x86-64.

``CXX="python zig_cxx.py x86_64-linux-gnu.2.17"`` compiles for a C library of that version or newer.
Zig links its own libc++ into the result.
"""

import os
import re
import sys


def zig_argument(argument: str) -> str:
    """Return the argument as zig has it: -march=x86-64-v3 is -mcpu=x86_64_v3."""
    level = re.fullmatch(r"-march=x86-64(-v\d)", argument)
    return f"-mcpu=x86_64{level[1].replace('-', '_')}" if level else argument


def main() -> None:
    """Become zig."""
    target, *arguments = sys.argv[1:]
    command = [sys.executable, "-m", "ziglang", "c++", "-target", target]
    os.execv(sys.executable, [*command, *map(zig_argument, arguments)])


if __name__ == "__main__":
    main()
