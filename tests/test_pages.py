"""Every Python block of README.md and of the pages below docs/ runs as it stands."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import embedrnn as er

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# What a block may ask for beside NumPy.
LIBRARIES = "autograd|keras|onnx|onnxruntime|pyarrow|scipy|sklearn|torch"


def blocks() -> Iterator[object]:
    """Yield the page, the line and the code of every block."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for found in BLOCK.finditer(text):
            line = text[: found.start(1)].count("\n") + 1
            name = f"{page.relative_to(ROOT).as_posix()}:{line}"
            yield pytest.param(page, line, found[1], id=name)


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    """Undo what a block does to the threads."""
    before = er.get_num_threads()
    yield
    er.set_num_threads(before)


def test_the_readme_has_a_block() -> None:
    assert BLOCK.search(PAGES[0].read_text(encoding="utf-8"))


# They promise what the compiled core alone does, as a step of a stream with the bits of the whole.
@pytest.mark.native
# What NumPy says to Keras itself, and PyTorch of its own exporter.
@pytest.mark.filterwarnings("ignore::DeprecationWarning:keras")
@pytest.mark.parametrize(("page", "line", "code"), list(blocks()))
def test_block(
    page: Path, line: int, code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for library in re.findall(rf"^(?:import|from) ({LIBRARIES})\b", code, re.MULTILINE):
        pytest.importorskip(library)
    monkeypatch.chdir(tmp_path)
    # Empty lines before it give an error the line numbers of the page.
    exec(compile("\n" * (line - 1) + code, str(page), "exec"), {"__name__": "page"})
