"""Every check and measurement as one command; a bare `nox` runs lint, types and the tests."""

import subprocess
import tarfile
from pathlib import Path
from typing import NamedTuple

import nox

nox.needs_version = ">=2025.2.9"
nox.options.sessions = ["lint", "types", "tests"]
nox.options.default_venv_backend = "virtualenv"

PYPROJECT = nox.project.load_toml("pyproject.toml")
BUILD_REQUIRES = [*PYPROJECT["build-system"]["requires"], "cmake>=3.25", "ninja>=1.11"]


class Sanitizer(NamedTuple):
    """What a sanitizer needs beside its build: see SANITIZERS."""

    flag: str
    preload: list[str]
    env: dict[str, str]


# The run-time libraries must come before Python in the process, so they are preloaded; without
# libstdc++ among them ASan ends the process at the first C++ exception. CPython leaks by design, so
# leaks are not looked for. PYTHONMALLOC shows ASan the bounds of Python's own objects.
# die_after_fork=0: the fork tests start threads in the child of a threaded parent.
SANITIZERS = {
    "asan": Sanitizer(
        flag="address,undefined",
        preload=["libasan.so", "libstdc++.so"],
        env={
            "ASAN_OPTIONS": "detect_leaks=0:allocator_may_return_null=1:strict_string_checks=1",
            "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
            "PYTHONMALLOC": "malloc",
        },
    ),
    "tsan": Sanitizer(
        flag="thread",
        preload=["libtsan.so"],
        env={
            "TSAN_OPTIONS": "halt_on_error=0:exitcode=66:second_deadlock_stack=1:die_after_fork=0",
            "OPENBLAS_NUM_THREADS": "1",  # NumPy's own threads are not instrumented
        },
    ),
}


def extras(*names: str) -> list[str]:
    """Return the requirements of these extras, to install them without building the package."""
    return [need for name in names for need in PYPROJECT["project"]["optional-dependencies"][name]]


@nox.session
def tests(session: nox.Session) -> None:
    """Run the tests on the installed package."""
    session.install(".[test]")
    session.run("pytest", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Run every hook of .pre-commit-config.yaml but mypy, which is in `types`."""
    session.install(*extras("lint"))
    hooks = session.posargs or ["--all-files", "--show-diff-on-failure"]
    session.run("pre-commit", "run", *hooks, env={"SKIP": "mypy"})


@nox.session
def tidy(session: nox.Session) -> None:
    """Run clang-tidy over the C++ sources."""
    session.install(*BUILD_REQUIRES, *extras("lint"), "pybind11[global]")
    session.run("cmake", "--workflow", "--preset", "tidy")


@nox.session
def types(session: nox.Session) -> None:
    """Check the types, and the hand-kept stub against the compiled module."""
    session.install(".[test,types]")
    session.run("mypy", *session.posargs)
    session.run("python", "-m", "mypy.stubtest", "embedrnn", "--mypy-config-file=pyproject.toml")


@nox.session
def bench(session: nox.Session) -> None:
    """Time the operations against NumPy; arguments go to pytest."""
    session.install(".[test]")
    session.run("pytest", "benchmarks", *session.posargs)


@nox.session
def compare(session: nox.Session) -> None:
    """Measure in pairs against every peer; arguments go to benchmarks/compare.py."""
    session.install(".[peers,plot]")
    session.run("python", "benchmarks/compare.py", *session.posargs)


@nox.session
def asan(session: nox.Session) -> None:
    """Run the tests under AddressSanitizer and UndefinedBehaviorSanitizer."""
    run_sanitized(session, "asan")


@nox.session
def tsan(session: nox.Session) -> None:
    """Run the tests under ThreadSanitizer."""
    run_sanitized(session, "tsan")


def run_sanitized(session: nox.Session, name: str) -> None:
    """Build with one sanitizer, in a folder of its own, and run pytest against that build."""
    sanitizer = SANITIZERS[name]
    site = Path(session.create_tmp()).resolve() / "site"
    session.install(*BUILD_REQUIRES, *PYPROJECT["project"]["dependencies"], *extras("test"))
    session.install(
        "--no-build-isolation",
        "--no-deps",
        "--upgrade",
        f"--target={site}",
        f"-Cbuild-dir=build/{{wheel_tag}}-{name}",
        "-Ccmake.build-type=Debug",
        f"-Ccmake.define.EMBEDRNN_SANITIZE={sanitizer.flag}",
        ".",
        env={"CC": "gcc", "CXX": "g++"},
    )
    preload = " ".join(compiler_library(library) for library in sanitizer.preload)
    env = {**sanitizer.env, "LD_PRELOAD": preload, "PYTHONPATH": str(site)}
    # -s: a report that ends the process would be lost with pytest's captured output.
    args = session.posargs or ["tests"]
    session.run("python", "-m", "pytest", "-s", "-p", "no:cacheprovider", *args, env=env)


def compiler_library(name: str) -> str:
    """Return the path of a run-time library of g++."""
    command = ["g++", f"-print-file-name={name}"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@nox.session
def sdist(session: nox.Session) -> None:
    """Build the sdist, install from it, and run the tests that it ships."""
    session.install("build>=1.2")
    folder = Path(session.create_tmp()).resolve()
    for old in folder.glob("*.tar.gz"):
        old.unlink()
    session.run("python", "-m", "build", "--sdist", f"--outdir={folder}")
    archive = next(folder.glob("*.tar.gz"))
    session.install(f"{archive}[test]")
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    session.chdir(folder / archive.name.removesuffix(".tar.gz"))
    session.run("pytest", *session.posargs)
