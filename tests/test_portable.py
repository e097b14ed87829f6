"""The core built for AArch64 and run under emulation gives the bits of x86-64 with FMA."""

import shutil
import subprocess
from pathlib import Path

import pytest

from embedrnn import config
from embedrnn._cells import CELLS

SOURCE = Path(__file__).parent / "portable"
TOOLS = ("cmake", "ninja", "aarch64-linux-gnu-g++", "qemu-aarch64")

pytestmark = pytest.mark.skipif(
    not all(map(shutil.which, TOOLS)), reason=f"needs {', '.join(TOOLS)}"
)


def output(*command: str | Path) -> str:
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def build(folder: Path, *options: str) -> Path:
    output(
        "cmake", "-S", SOURCE, "-B", folder, "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Release", *options
    )
    output("cmake", "--build", folder)
    return folder / "results"


@pytest.fixture(scope="module")
def neon_results(tmp_path_factory: pytest.TempPathFactory) -> str:
    program = build(
        tmp_path_factory.mktemp("aarch64"),
        "-DCMAKE_SYSTEM_NAME=Linux",
        "-DCMAKE_SYSTEM_PROCESSOR=aarch64",
        "-DCMAKE_CXX_COMPILER=aarch64-linux-gnu-g++",
    )
    return output("qemu-aarch64", program, "neon")


def test_neon_gives_the_bits_of_every_isa_with_fma(neon_results: str, tmp_path: Path) -> None:
    here = build(tmp_path)
    with_fma = [isa for isa in config()["isas"] if isa in {"avx2", "avx512"}]
    if not with_fma:
        pytest.skip("this machine has no FMA")
    assert neon_results.count("\n") == 10 + 16 * len(CELLS)
    for isa in with_fma:
        assert output(here, isa) == neon_results
