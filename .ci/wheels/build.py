"""Build a manylinux wheel with zig, for the Python that runs this: ``build.py MACHINE FOLDER``.

zig compiles for any machine on any other, against glibc 2.17 of 2012, and links its own libc++ in.
The wheel is refused if auditwheel finds more in it than that glibc has, or if it is too large.
"""

import argparse
import os
import re
import shlex
import subprocess
import sys
import sysconfig
import zipfile
from importlib.metadata import version
from pathlib import Path

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

GLIBC = (2, 17)
# What becomes part of the module, each with a bill of materials in the wheel: see cpp/CMakeLists.
EMBEDDED = {"pybind11", "libcxx", "libcxxabi", "libunwind", "zig-compiler-rt"}
MOST_BYTES = 1_500_000  # a wheel that grows past this needs a reason
ROOT = Path(__file__).resolve().parents[2]


def settings(machine: str) -> list[str]:
    """Return what scikit-build-core is told, so that it builds for a machine other than this."""
    suffix = f".{sysconfig.get_config_var('SOABI')}.so".replace(os.uname().machine, machine)
    defines = {
        "CMAKE_SYSTEM_NAME": "Linux",
        "CMAKE_SYSTEM_PROCESSOR": machine,
        "EMBEDRNN_ZIG_VERSION": version("ziglang"),
        "PYTHON_MODULE_DEBUG_POSTFIX": "",
        "PYTHON_MODULE_EXTENSION": suffix,
    }
    return [
        f"-Cbuild-dir=build/{{wheel_tag}}-zig-{machine}",
        "-Ccmake.build-type=Release",
        *(f"-Ccmake.define.{name}={value}" for name, value in defines.items()),
    ]


def build(machine: str, folder: Path) -> Path:
    """Build the wheel as pip does, and return it."""
    compiler = Path(__file__).with_name("zig_cxx.py")
    target = f"{machine}-linux-gnu.{GLIBC[0]}.{GLIBC[1]}"
    env = {
        "CXX": shlex.join([sys.executable, str(compiler), target]),
        "_PYTHON_HOST_PLATFORM": f"linux-{machine}",  # what the tag of the wheel is made of
    }
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-build-isolation", "--no-deps"]
    command = [*pip, f"--wheel-dir={folder}", *settings(machine), str(ROOT)]
    subprocess.run(command, check=True, env=os.environ | env)
    return newest(folder, f"*-linux_{machine}.whl")


def newest(folder: Path, pattern: str) -> Path:
    """Return the file of this pattern that was written last."""
    return max(folder.glob(pattern), key=lambda path: path.stat().st_mtime)


def tag(wheel: Path, machine: str) -> Path:
    """Give the wheel the tag of the oldest glibc that has what it needs."""
    folder = wheel.parent
    command = ["auditwheel", "repair", "--plat=auto", f"--wheel-dir={folder}", str(wheel)]
    subprocess.run(command, check=True)
    wheel.unlink()
    return newest(folder, f"*-manylinux*_{machine}.whl")


def audit(wheel: Path, machine: str) -> None:
    """Raise unless the wheel is what it is meant to be."""
    command = ["auditwheel", "show", str(wheel)]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    size = wheel.stat().st_size
    print(told, f"\n{wheel.name}: {size:,} bytes", sep="")  # noqa: T201
    tagged = re.search(rf'platform\s+tag:\s+"manylinux_2_(\d+)_{machine}"', told)
    if tagged is None or int(tagged[1]) > GLIBC[1]:
        raise SystemExit(f"{wheel.name} needs a newer glibc than {GLIBC[0]}.{GLIBC[1]}")
    if size > MOST_BYTES:
        raise SystemExit(f"{wheel.name} is larger than {MOST_BYTES:,} bytes")
    check_bills(wheel)


def check_bills(wheel: Path) -> None:
    """Raise unless the wheel names what is embedded in it, in valid CycloneDX."""
    with zipfile.ZipFile(wheel) as archive:
        files = [name for name in archive.namelist() if name.endswith(".cdx.json")]
        bills = {Path(name).name.removesuffix(".cdx.json"): archive.read(name) for name in files}
    if set(bills) != EMBEDDED:
        raise SystemExit(f"{wheel.name} names as embedded {sorted(bills)}, not {sorted(EMBEDDED)}")
    for name, bill in bills.items():
        fault = JsonStrictValidator(SchemaVersion.V1_6).validate_str(bill.decode())
        if fault is not None:
            raise SystemExit(f"{wheel.name}, {name}: {fault}")


def main() -> None:
    """Build, tag and audit."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("machine", choices=["x86_64", "aarch64"])
    parser.add_argument("folder", type=Path)
    args = parser.parse_args()
    wheel = tag(build(args.machine, args.folder), args.machine)
    audit(wheel, args.machine)


if __name__ == "__main__":
    main()
