"""The documentation, built by `nox -s docs`."""

import re
import sys
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.ext.autodoc.mock import _MockObject

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "benchmarks")]

import embedrnn  # noqa: E402 - what is documented is what is installed
import figures  # noqa: E402 - those two folders

project = "embedrnn"
author = "The embedrnn developers"
copyright = author
version = release = embedrnn.__version__

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx_copybutton",
    "sphinx_design",
]
exclude_patterns = ["_generated"]
nitpicky = True
# Names in single backticks are those of arguments and of other libraries too: what has a page here
# becomes a link, and the rest stays code.
default_role = "py:obj"
nitpick_ignore_regex = [("py:(obj|class)", ".*")]

myst_enable_extensions = ["colon_fence", "dollarmath", "substitution"]
myst_heading_anchors = 3
myst_substitutions = figures.substitutions()

autosummary_generate = False
autodoc_typehints = "none"  # the sections of the docstrings say more
autodoc_member_order = "bysource"
# The libraries of the adapters, installed or not: the pages are the same.
autodoc_mock_imports = ["autograd", "keras", "onnx", "scipy", "sklearn", "torch"]
# What stands for a library may be one of the types of an annotation, and its version be compared.
_MockObject.__or__ = _MockObject.__ror__ = lambda self, _: self
_MockObject.__lt__ = lambda *_: False
numpydoc_show_class_members = False
toc_object_entries_show_parents = "hide"
python_maximum_signature_line_length = 80

linkcheck_anchors = True
linkcheck_report_timeouts_as_broken = True

html_theme = "pydata_sphinx_theme"
html_title = f"embedrnn {release}"
html_static_path = ["_static"]
html_css_files = ["embedrnn.css"]
html_show_sourcelink = False
html_domain_indices = False
# Pages without a section of their own need no list of it beside them.
html_sidebars: dict[str, list[str]] = {
    page: []
    for page in ("quickstart", "performance", "guarantees", "configuration", "platforms",
                 "how-it-works", "changelog", "contributing")
}  # fmt: skip
html_theme_options = {
    "logo": {"text": "embedrnn"},
    "header_links_before_dropdown": 5,
    "pygments_light_style": "github-light",
    "pygments_dark_style": "github-dark",
    "navigation_with_keys": False,
    "show_nav_level": 2,
    "show_toc_level": 2,
    "footer_start": ["copyright"],
    "footer_end": ["theme-version"],
}


def setup(app: Any) -> None:
    """Draw the plots before anything is read, and leave out what is documented elsewhere."""
    app.connect("builder-inited", _draw)
    app.connect("autodoc-skip-member", _is_field)
    app.connect("doctree-resolved", _number)


def _draw(app: Any) -> None:
    if app.builder.format == "html":
        figures.draw(HERE / "_generated")


def _is_field(_app: Any, _what: str, _name: str, member: Any, skip: bool, _options: Any) -> bool:
    """Skip a field of a named tuple: the class describes it among its attributes."""
    return skip or type(member).__name__ == "_tuplegetter"


def _number(_app: Any, doctree: nodes.document, _page: str) -> None:
    """Show a reference of a docstring as [1], where numpydoc has made its name unique."""
    for text in list(doctree.findall(nodes.Text)):
        short = re.sub(r"^\[R[0-9a-f]{12}-(\d+)\]$", r"[\1]", text)
        if short != text:
            text.parent.replace(text, nodes.Text(short))
