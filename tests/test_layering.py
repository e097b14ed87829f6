"""The layers of the sources, the symbols of the objects, and one surface for both backends."""

import ast
import doctest
import importlib
import inspect
import pkgutil
import pydoc
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from operator import attrgetter
from pathlib import Path
from typing import Any

import pytest

import embedrnn as er
from cases import CORE
from embedrnn import _docs, _numpy

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = Path(er.__file__).parent

# --- C++ ---------------------------------------------------------------------------------------

CPP = ROOT / "cpp"
CPP_FILES = sorted(p for p in CPP.rglob("*") if p.suffix in {".h", ".cpp"})
# What a folder may include beside its own headers. The kernels are compiled for several machines:
# a function of the standard library in them could be kept, in AVX code, for the whole module. Those
# of immintrin.h are always put in line.
ALLOWED_INCLUDES = {
    "kernels": r"<cstddef>|<cstdint>|<immintrin\.h>|kernels/.*",
    "runtime": r"<(?!pybind11|Python).*>|runtime/.*|kernels/kernels\.h",
    "ops": r"<(?!pybind11|Python).*>|ops/.*|runtime/.*|kernels/kernels\.h",
    "bindings": r"<.*>|bindings/.*|ops/.*|runtime/.*",
}


def includes(file: Path) -> Iterator[str]:
    """Yield what a file includes: <name>, or the path below cpp/ of a header of ours."""
    text = file.read_text(encoding="utf-8")
    for name in re.findall(r'^\s*#\s*include\s*(<[^>]+>|"[^"]+")', text, re.MULTILINE):
        beside = file.parent / name.strip('"')
        ours = beside.resolve().relative_to(CPP).as_posix() if beside.exists() else name.strip('"')
        yield name if name.startswith("<") else ours


def test_the_cpp_sources_are_found() -> None:
    assert {p.relative_to(CPP).parts[0] for p in CPP_FILES} == set(ALLOWED_INCLUDES)


@pytest.mark.parametrize("file", CPP_FILES, ids=lambda p: p.relative_to(CPP).as_posix())
def test_includes_go_down_only(file: Path) -> None:
    allowed = ALLOWED_INCLUDES[file.relative_to(CPP).parts[0]]
    assert [name for name in includes(file) if not re.fullmatch(allowed, name)] == []


# Headers that not every system has, and the files that do without them where they are missing.
POSIX = re.compile(r"<(pthread|unistd|sched|sys/\w+)\.h>")
KNOW_POSIX = {"runtime/cpus.cpp", "runtime/cpus.h", "runtime/scratch.h", "runtime/system.cpp"}


def test_what_a_system_may_lack_has_a_home() -> None:
    found = {file for file in CPP_FILES if any(map(POSIX.fullmatch, includes(file)))}
    assert {file.relative_to(CPP).as_posix() for file in found} == KNOW_POSIX


ISA_OBJECTS = sorted((ROOT / "build").rglob("isa_*.o"))


@pytest.mark.skipif(not ISA_OBJECTS, reason="no build of the package is below build/")
@pytest.mark.parametrize("path", ISA_OBJECTS, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_each_isa_object_exports_its_registry_only(path: Path) -> None:
    if shutil.which("nm") is None:
        pytest.skip("needs nm")
    command = ["nm", "--defined-only", "--extern-only", "--format=posix", str(path)]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    symbols = [line.split()[:2] for line in lines if not line.startswith("__odr_asan")]
    isa = path.name.removeprefix("isa_").split(".")[0]
    assert len(symbols) == 1, symbols
    name, kind = symbols[0]
    assert f"{isa}_kernels" in name
    assert kind in "BDRS"  # data; weak symbols are V, W or u


# --- Python ------------------------------------------------------------------------------------

# A module may import its own level and those below; what is not named is a public module.
LEVELS = {"_core": 0, "_cells": 0, "_docs": 0, "_modes": 0, "_quiet": 0, "_sequences": 0,
          "_storage": 0, "version": 0, "_numpy": 1, "_backend": 2, "_check": 3, "layers": 5,
          "convert": 6, "optim": 6, "embedrnn": 7, "_demo": 8, "__main__": 9,
          "adapters": 10, "bench": 11}  # fmt: skip
PUBLIC_LEVEL = 4
PY_FILES = sorted(PACKAGE.rglob("*.py"))


def module_name(file: Path) -> str:
    """Return the module directly below the package that the file belongs to."""
    part = file.relative_to(PACKAGE).parts[0].removesuffix(".py")
    return "embedrnn" if part == "__init__" else part


def imported_modules(file: Path) -> Iterator[str]:
    """Yield the modules of the package that a file imports, by their names below it."""
    yield from (name.partition(".")[0] for name in imported_names(file))


def imported_names(file: Path) -> Iterator[str]:
    """Yield the full names below the package of what a file imports of it."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            head, _, rest = name.partition(".")
            if head == "embedrnn":
                yield rest or head


@pytest.mark.parametrize("file", PY_FILES, ids=lambda p: p.relative_to(PACKAGE).as_posix())
def test_imports_go_down_only(file: Path) -> None:
    level = LEVELS.get(module_name(file), PUBLIC_LEVEL)
    imported = set(imported_modules(file))
    assert [name for name in imported if LEVELS.get(name, PUBLIC_LEVEL) > level] == []
    above = {LEVELS[name] for name in ("_check", "layers", "optim", "adapters")}
    if level in above | {PUBLIC_LEVEL}:
        assert not imported & {"_numpy", "_core"}, "the backends are reached through _backend"


# The library of each file of an adapter, which is a module or a package named for it.
ADAPTERS = {
    file: file.relative_to(PACKAGE / "adapters").parts[0].removesuffix(".py")
    for file in (PACKAGE / "adapters").rglob("*.py")
    if file != PACKAGE / "adapters" / "__init__.py"
}
LIBRARIES = sorted(set(ADAPTERS.values()))
# Keras runs on others, whose tensors it hands over.
RUNS_ON = {"keras": {"torch"}}


def other_libraries(file: Path) -> set[str]:
    """Return what a file imports beside NumPy, the standard library and this package."""
    imported = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            imported |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add(str(node.module).partition(".")[0])
    return imported - sys.stdlib_module_names - {"embedrnn", "numpy"}


# The benchmark compares with other libraries.
@pytest.mark.parametrize(
    "file",
    [file for file in PY_FILES if module_name(file) != "bench"],
    ids=lambda p: p.relative_to(PACKAGE).as_posix(),
)
def test_an_adapter_alone_imports_another_library(file: Path) -> None:
    library = ADAPTERS.get(file)
    allowed = {library, *RUNS_ON.get(library, ())} if library else set()
    assert other_libraries(file) <= allowed


@pytest.mark.parametrize("library", LIBRARIES)
def test_an_adapter_imports_the_library_it_is_named_for(library: str) -> None:
    files = [file for file, named in ADAPTERS.items() if named == library]
    assert any(library in other_libraries(file) for file in files)


@pytest.mark.parametrize("file", PY_FILES, ids=lambda p: p.relative_to(PACKAGE).as_posix())
def test_nothing_imports_an_adapter(file: Path) -> None:
    imported = {name for name in imported_names(file) if name.split(".")[0] == "adapters"}
    own = f"adapters.{ADAPTERS.get(file)}."  # the files of one adapter import each other
    assert [name for name in imported if not name.startswith(own)] == []


# --- one surface -------------------------------------------------------------------------------

STUB = ast.parse((PACKAGE / "_core.pyi").read_text(encoding="utf-8"))


def stub_functions() -> Iterator[tuple[str, ast.FunctionDef]]:
    """Yield the functions of the stub and the methods of its classes, by their full names."""
    for node in STUB.body:
        if isinstance(node, ast.FunctionDef):
            yield node.name, node
        elif isinstance(node, ast.ClassDef):
            for method in node.body:
                if isinstance(method, ast.FunctionDef) and method.name != "__init__":
                    yield f"{node.name}.{method.name}", method


STUB_PARAMETERS = {name: [a.arg for a in node.args.args] for name, node in stub_functions()}


def twins() -> Iterator[str]:
    """Yield the functions of the NumPy backend and the public methods of its classes."""
    for name in _numpy.__all__:
        value = getattr(_numpy, name)
        if inspect.isclass(value):
            methods = inspect.getmembers(value, inspect.isfunction)
            yield from (f"{name}.{method}" for method, _ in methods if not method.startswith("_"))
        elif callable(value):
            yield name


TWINS = list(twins())
NATIVE_ONLY = {"set_isa", "quota_cpus", "fail_in_workers", "exp", "sigmoid", "tanh"}
RECOGNISERS = {"plain_gather", "plain_scatter_add", "plain_bag", "plain_coalesce"}


def test_the_backends_have_the_same_functions() -> None:
    assert {"gather", "scatter_add", "pack", "PackedCell.step"} <= set(TWINS)
    assert set(STUB_PARAMETERS) == set(TWINS) | NATIVE_ONLY | RECOGNISERS


@pytest.mark.parametrize("name", TWINS)
def test_the_backends_have_the_same_parameters(name: str) -> None:
    assert list(inspect.signature(attrgetter(name)(_numpy)).parameters) == STUB_PARAMETERS[name]


@pytest.mark.skipif(CORE is None, reason="the compiled core is not built")
@pytest.mark.parametrize("name", STUB_PARAMETERS)
def test_the_stub_has_the_parameters_of_the_compiled_core(name: str) -> None:
    signature = str(attrgetter(name)(CORE).__doc__).splitlines()[0]
    assert re.match(rf"{name.rpartition('.')[2]}\(.*\) -> ", signature)
    assert re.findall(r"[(,] ?(\w+): ", signature) == STUB_PARAMETERS[name]


def test_versions_are_equal() -> None:
    with (ROOT / "pyproject.toml").open("rb") as file:
        version = tomllib.load(file)["project"]["version"]
    assert er.__version__ == version
    if CORE is not None:
        assert CORE.__version__ == version


# --- documentation -----------------------------------------------------------------------------

# The adapters whose library is there.
PRESENT = [
    importlib.import_module(f"embedrnn.adapters.{library}")
    for library in LIBRARIES
    if importlib.util.find_spec(library)
]
PUBLIC = [
    getattr(module, name)
    for module in (er, er.convert, er.optim, er.vectors, *PRESENT)
    for name in module.__all__
    if callable(getattr(module, name))
]
MODULES = [
    module.name.removeprefix("embedrnn.")
    for module in pkgutil.walk_packages(er.__path__, "embedrnn.")
    if "._" not in module.name and not module.name.startswith("embedrnn.bench")
]


def full_name(thing: Any) -> str:
    """Return a name that an adapter's function does not share with the one that it is named for."""
    return f"{thing.__module__}.{thing.__name__}".removeprefix("embedrnn.")


@pytest.mark.parametrize("thing", PUBLIC, ids=full_name)
def test_docstrings_have_examples(thing: Any) -> None:
    assert "\nExamples\n--------\n>>> " in (inspect.getdoc(thing) or "")


def documented_things() -> Iterator[tuple[str, Any]]:
    """Yield what is public, and the public methods of its classes that are ours, by name."""
    for thing in PUBLIC:
        yield full_name(thing), thing
        if inspect.isclass(thing):
            for name, method in inspect.getmembers(thing, inspect.isfunction):
                ours = method.__module__.partition(".")[0] == "embedrnn"
                if ours and (name == "__call__" or not name.startswith("_")):
                    yield f"{full_name(thing)}.{name}", method


DOCUMENTED = dict(documented_things())


@pytest.mark.parametrize("thing", PUBLIC, ids=full_name)
def test_docstrings_are_filled_in(thing: Any) -> None:
    text = pydoc.render_doc(thing, renderer=pydoc.plaintext)
    assert re.findall(r"^[ |]*\{[\w, ]*\}$", text, re.MULTILINE) == []


def described_parameters(thing: Any) -> list[str]:
    """Return the names in the section of parameters, if there is one."""
    section = (inspect.getdoc(thing) or "").partition("\nParameters\n----------\n")[2]
    heads = [line for line in section.partition("\n\n")[0].split("\n") if not line.startswith(" ")]
    return [name.lstrip("*") for head in heads for name in head.partition(" : ")[0].split(", ")]


DESCRIBED = {name: thing for name, thing in DOCUMENTED.items() if any(described_parameters(thing))}


@pytest.mark.parametrize("thing", DESCRIBED.values(), ids=DESCRIBED)
def test_docstrings_have_the_parameters_of_the_signature(thing: Any) -> None:
    public = [name for name in inspect.signature(thing).parameters if not name.startswith("_")]
    assert described_parameters(thing) == [name for name in public if name != "self"]


def lines_flush_left(text: str) -> str:
    return "\n".join(line.strip() for line in text.split("\n"))


@pytest.mark.parametrize(
    "table",
    ["RECURRENCE", "RECURRENT_LAYER", "TABLE", "OPTIMIZER", "AUTOGRAD", "TORCH_MODULE"],
)
def test_paragraphs_that_are_shared_stand_in_two_docstrings(table: str) -> None:
    if table in {"AUTOGRAD", "TORCH_MODULE"}:
        pytest.importorskip(table.partition("_")[0].lower())
    texts = {lines_flush_left(inspect.getdoc(thing) or "") for thing in DOCUMENTED.values()}
    counts = {
        name: sum(f"\n{lines_flush_left(paragraph)}\n" in text for text in texts)
        for name, paragraph in getattr(_docs, table).items()
    }
    assert [name for name, count in counts.items() if count < 2] == []


def test_docstrings_may_be_absent(run_python: Any) -> None:
    code = "import embedrnn as er; print(er.GRU.__doc__, er.gru_forward.__doc__)"
    assert run_python(code, options=("-OO",)).stdout.split() == ["None", "None"]


@pytest.mark.parametrize("name", MODULES)
def test_examples_of_docstrings_work(backend: str, name: str) -> None:
    package, _, below = name.partition(".")
    if package == "adapters" and below:
        pytest.importorskip(below.partition(".")[0])
        if below == "keras.torch_tensors":
            pytest.importorskip("torch")
    module: Any = importlib.import_module(f"embedrnn.{name}")
    assert doctest.testmod(module, raise_on_error=True).failed == 0
