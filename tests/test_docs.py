"""The documentation: its figures are those of the results, and its reference is whole."""

import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from embedrnn import __all__ as names
from embedrnn import convert, optim, vectors

ROOT = Path(__file__).resolve().parents[1]
DIRECTIVE = re.compile(
    r"^\.\. auto(?:function|class|data):: (\S+)$|^\.\. \w+:: (embedrnn\S*)$", re.M
)


@pytest.fixture
def figures() -> Any:
    pytest.importorskip("matplotlib")
    import figures

    return figures


def test_the_figures_of_the_readme_are_those_of_the_results(figures: Any) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert f"<!-- figures -->\n{figures.readme()}<!-- end of figures -->" in readme


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_picture_of_the_readme_shows_the_results(figures: Any, theme: str) -> None:
    picture = (figures.PICTURES / f"overview-{theme}.svg").read_text(encoding="utf-8")
    assert figures.plots.digest() in picture


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"])
def test_what_a_page_links_to_is_there(page: str) -> None:
    text = re.sub("(?s)```.*?```", "", (ROOT / page).read_text(encoding="utf-8"))
    links = re.findall(r"\]\(([^)#]+)|(?:src|srcset)=\"([^\"]+)", text)
    paths = {link or source for link, source in links if "://" not in link}
    assert {path for path in paths if not (ROOT / path).exists()} == set()


def documented() -> Counter[str]:
    """Return how often the reference describes each name."""
    found: Counter[str] = Counter()
    for page in (ROOT / "docs" / "api").glob("*.md"):
        module = ""
        for name, here in DIRECTIVE.findall(page.read_text(encoding="utf-8")):
            module = here or module
            if name:
                found[f"{module}.{name}"] += 1
    return found


def public() -> set[str]:
    """Return every public name but those of modules; of the adapters as their files have them."""
    modules = {"embedrnn.convert": convert, "embedrnn.optim": optim, "embedrnn.vectors": vectors}
    found = {f"{path}.{name}" for path, module in modules.items() for name in module.__all__}
    found |= {f"embedrnn.{name}" for name in names} - modules.keys() - {"embedrnn.__version__"}
    adapters = Path(convert.__file__).parents[1] / "adapters"
    for file in (*adapters.glob("[a-z]*.py"), *adapters.glob("*/__init__.py")):
        listed = re.search(r"^__all__ = \[(.*?)\]", file.read_text(encoding="utf-8"), re.M | re.S)
        library = file.parent.name if file.stem == "__init__" else file.stem
        if listed:
            found |= {f"embedrnn.adapters.{library}.{n}" for n in re.findall(r'"(\w+)"', listed[1])}
    return found


def test_the_reference_has_every_public_name_once() -> None:
    assert documented() == Counter(public())
