"""Every Python block of README.md runs as it stands."""

import re
from pathlib import Path

import pytest

README = Path(__file__).resolve().parents[1] / "README.md"
TEXT = README.read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
LINES = [
    TEXT[: match.end()].count("\n") for match in re.finditer("^```python$", TEXT, re.MULTILINE)
]


def test_there_are_three_pairs() -> None:
    assert len(BLOCKS) == len(LINES) >= 3


# What NumPy says to Keras itself.
@pytest.mark.filterwarnings("ignore::DeprecationWarning:keras")
@pytest.mark.parametrize(
    ("line", "code"), list(zip(LINES, BLOCKS, strict=True)), ids=map(str, LINES)
)
def test_block(line: int, code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for library in re.findall(r"^(?:import|from) (torch|keras)\b", code, re.MULTILINE):
        pytest.importorskip(library)
    monkeypatch.chdir(tmp_path)
    # Empty lines before it give an error the line numbers of README.md.
    exec(compile("\n" * (line + 1) + code, str(README), "exec"), {"__name__": "readme"})
