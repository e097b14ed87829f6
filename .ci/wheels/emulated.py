"""Test an aarch64 wheel on any Linux with apt: ``emulated.py WHEEL FOLDER [pytest arguments]``.

Debian's arm64 Python is unpacked into the folder, the packages that the tests need are installed
beside it from PyPI, and qemu runs them. Nothing is installed on this machine.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

MIRROR = "http://deb.debian.org/debian"
KEYS = "/usr/share/keyrings/debian-archive-keyring.gpg"
SUITE, PYTHON = "bookworm", "3.11"
NEEDED = ["hypothesis>=6.100", "ml_dtypes>=0.5", "numpy>=2.0", "pytest>=8.2"]


def unpack(root: Path, architecture: str, *packages: str) -> Path:
    """Unpack packages of Debian and what they depend on into a folder, with apt's state apart."""
    apt = root.with_name(f"{root.name}-apt")
    for name in ("lists/partial", "cache/archives/partial", "state"):
        (apt / name).mkdir(parents=True, exist_ok=True)
    (apt / "status").touch()
    source = f"deb [arch={architecture} signed-by={KEYS}] {MIRROR} {SUITE} main\n"
    (apt / "sources.list").write_text(source, encoding="utf-8")
    options = {
        "Dir::Etc::sourcelist": apt / "sources.list",
        "Dir::Etc::sourceparts": "-",
        "Dir::State": apt / "state",
        "Dir::State::lists": apt / "lists",
        "Dir::State::status": apt / "status",
        "Dir::Cache": apt / "cache",
        "APT::Architecture": architecture,
        "APT::Architectures": architecture,
        "APT::Sandbox::User": "",
    }
    get = ["apt-get", "-qq", *(f"-o{name}={value}" for name, value in options.items())]
    install = ["install", "--yes", "--download-only", "--no-install-recommends"]
    subprocess.run([*get, "update"], check=True)
    subprocess.run([*get, *install, *packages], check=True)
    for archive in (apt / "cache/archives").glob("*.deb"):
        subprocess.run(["dpkg-deb", "--extract", archive, root], check=True)
    return root


def find_qemu(folder: Path) -> str:
    """Return the emulator of this machine, or one that is unpacked here."""
    found = shutil.which("qemu-aarch64") or shutil.which("qemu-aarch64-static")
    if found:
        return found
    here = subprocess.run(["dpkg", "--print-architecture"], check=True, capture_output=True)
    root = unpack(folder / "qemu", here.stdout.decode().strip(), "qemu-user-static")
    return str(root / "usr/bin/qemu-aarch64-static")


def install(wheel: Path, site: Path) -> None:
    """Let pip choose and install as it would on that machine, of glibc 2.36 as Debian's is."""
    platforms = [f"--platform=manylinux_2_{minor}_aarch64" for minor in (17, 28, 34)]
    there = ["--implementation=cp", f"--python-version={PYTHON}", *platforms]
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--upgrade", f"--target={site}"]
    subprocess.run([*pip, "--only-binary=:all:", *there, str(wheel), *NEEDED], check=True)


def main() -> None:
    """Install the wheel and run pytest on it under emulation."""
    wheel, folder, *arguments = sys.argv[1:]
    work = Path(folder).resolve()
    root = unpack(work / "root", "arm64", f"python{PYTHON}", "libstdc++6")
    install(Path(wheel), work / "site")
    command = [find_qemu(work), "-L", root, root / f"usr/bin/python{PYTHON}", "-m", "pytest"]
    env = os.environ | {"PYTHONPATH": str(work / "site"), "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run([*command, "-p", "no:cacheprovider", *arguments], check=False, env=env)
    raise SystemExit(done.returncode)


if __name__ == "__main__":
    main()
