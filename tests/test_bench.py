"""What python -m embedrnn.bench says: its words and its table, its files, and what it refuses."""

import json
import math
import re
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from embedrnn.bench import main as command
from embedrnn.bench import peers
from embedrnn.bench.choice import CHOICE
from embedrnn.bench.findings import findings
from embedrnn.bench.limits import Limits
from embedrnn.bench.paired import Ratio, measure, paired_ratio
from embedrnn.bench.results import CellResult, PeerResult
from embedrnn.bench.table import duration, figure, table

LIMITS = Limits(3e10, 8e10, 2.5e11, 2.5e11, 1e11, fma_measured=True)
LIBRARIES = ["numpy", "torch", "numba"]

# --- words and table ---------------------------------------------------------------------------

RATIOS = st.tuples(st.floats(0.2, 50), st.floats(0.5, 1), st.floats(1, 2)).map(
    lambda drawn: Ratio(drawn[0], drawn[0] * drawn[1], drawn[0] * drawn[2])
)
PEERS = st.dictionaries(
    st.sampled_from([(lib, f"{lib} {way}") for lib in LIBRARIES for way in ("plain", "packed")]),
    RATIOS,
).map(lambda found: {name: PeerResult(lib, 1e-3, r) for (lib, name), r in found.items()})


@st.composite
def results(draw: Callable[[Any], Any]) -> list[CellResult]:
    cells = []
    for number in range(draw(st.integers(1, 6))):
        limit = draw(st.sampled_from(["copy_bytes", "fma_flops", "l2_bytes"]))
        share = draw(st.floats(0.01, 3))
        name = f"op{number // 2}", f"shape {number}"
        cells.append(CellResult("g", *name, 1, 1e-4, 1e9, limit, share, draw(PEERS)))
    return cells


def fastest(cells: list[CellResult], library: str) -> list[Ratio]:
    """Return the ratio of the fastest way of a library in each cell that it has any in."""
    ways = [[p.ratio for p in c.peers.values() if p.library == library] for c in cells]
    return [min(ratios, key=lambda ratio: ratio.median) for ratios in ways if ratios]


def mean(ratios: list[Ratio]) -> float:
    return float(np.exp(np.mean([math.log(ratio.median) for ratio in ratios])))


@given(cells=results())
def test_words_agree_with_numbers(cells: list[CellResult]) -> None:
    by_library = {lib: ratios for lib in LIBRARIES if (ratios := fastest(cells, lib))}
    assume(by_library)
    text = " ".join(findings(cells, LIMITS, LIBRARIES))
    every = [ratio for ratios in by_library.values() for ratio in ratios]
    losses = sum(ratio.high < 1 for ratio in every)
    said = re.search(r"loses (\d+) of (\d+) comparisons", text)
    assert (said is None) == (losses == 0) == ("No library is faster" in text)
    if said:
        assert [int(number) for number in said.groups()] == [losses, len(every)]
    undecided = sum(ratio.low <= 1 <= ratio.high for ratio in every)
    assert (f"in {undecided} of {len(every)} no difference" in text) == (undecided > 0)
    if numpy := by_library.pop("numpy", None):
        wins = sum(ratio.low > 1 for ratio in numpy)
        assert f"faster than NumPy in {wins} of {len(numpy)} line" in text
        assert f"NumPy takes {figure(mean(numpy))} times as long" in text
    if by_library:
        closest = min(by_library, key=lambda library: mean(by_library[library]))
        which = "comes closest: it" if len(by_library) > 1 else "the other library here,"
        told = f"{which} takes {figure(mean(by_library[closest]))} times as long"
        assert re.search(f"{peers.title(closest)},? {re.escape(told)}", text)


@given(cells=results())
def test_every_loss_is_marked_in_the_table(cells: list[CellResult]) -> None:
    text = table(cells, LIMITS, LIBRARIES, width=1000)
    ratios = [ratio for library in LIBRARIES for ratio in fastest(cells, library)]
    assert text.count("!") == sum(ratio.high < 1 for ratio in ratios)
    assert text.count("~") == sum(ratio.low <= 1 <= ratio.high for ratio in ratios)
    assert text.count("±") == len(ratios)
    apart = table(cells, LIMITS, LIBRARIES, width=10)
    assert apart.split() == text.split()  # names have lines of their own, and that is all


@given(cells=results())
def test_words_name_what_stands_in_for_a_limit(cells: list[CellResult]) -> None:
    without = Limits(3e10, 8e10, 8e10, 3e10, 3e10, fma_measured=False)
    text = " ".join(findings(cells, without, LIBRARIES))
    assert "L2" not in text
    assert "peak of arithmetic" not in text
    assert "C compiler" in text


def test_nobody_to_compare_with() -> None:
    cell = CellResult("g", "op", "shape", 1, 1e-4, 1e9, "copy_bytes", 0.5, {})
    first, second = findings([cell], LIMITS, [])
    assert first.startswith("No peer took part")
    assert second == "embedrnn reaches 50 % of the machine's rate of copies in 1 line."


@pytest.mark.parametrize(
    ("number", "text"), [(1, "1.00"), (9.996, "10.0"), (99.96, "100"), (1234.5, "1,234")]
)
def test_ratios_have_three_figures(number: float, text: str) -> None:
    assert figure(number) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(5e-7, "0.5 us"), (9.996e-5, "100 us"), (9.999e-4, "1.0 ms"), (0.25, "250 ms"), (2, "2.00 s")],
)
def test_durations_have_a_unit_that_suits(seconds: float, text: str) -> None:
    assert duration(seconds) == text


# --- the engine --------------------------------------------------------------------------------


def test_time_that_is_over_leaves_the_fewest_samples() -> None:
    seconds = measure({"a": lambda: None, "b": lambda: None}, 50, 1e-6, until=-math.inf)
    assert {len(taken) for taken in seconds.values()} == {7}


def test_the_interval_holds_the_median() -> None:
    ratio = paired_ratio(np.array([2.0, 3.0, 4.0, 9.0]), np.ones(4))
    assert ratio.low <= ratio.median == 3.5 <= ratio.high
    assert ratio.spread == (ratio.high - 3.5) / 3.5 or ratio.spread == (3.5 - ratio.low) / 3.5


def test_a_library_that_is_missing_is_not_imported() -> None:
    peers.load({"none": ["embedrnn_no_such_library"]})


def test_a_library_that_fails_is_told_of() -> None:
    told: list[tuple[str, str]] = []
    modules = {"no_such_module": ["numpy"]}
    peers.load(modules, failed=lambda who, error: told.append((who, type(error).__name__)))
    assert told == [("numpy", "ModuleNotFoundError")]
    with pytest.raises(ModuleNotFoundError):
        peers.load(modules)


def test_the_choice_fits_a_screen() -> None:
    assert len(CHOICE) == len({str(cell) for cell in CHOICE}) <= 20


# --- the command -------------------------------------------------------------------------------


def test_import_of_the_package_does_not_reach_it(run_python: Any) -> None:
    code = "import sys, embedrnn; print([n for n in sys.modules if n.startswith('embedrnn.bench')])"
    assert run_python(code).stdout.strip() == "[]"


@pytest.mark.parametrize("name", ["matplotlib", "threadpoolctl", "tqdm"])
def test_what_is_missing_is_named_with_the_extra(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(peers, "missing", lambda needed: [n for n in needed if n == name])
    assert command.main([]) == 2
    assert capsys.readouterr().err == (
        f"embedrnn: embedrnn.bench needs {name}: pip install 'embedrnn[bench]'\n"
    )


@pytest.fixture
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("matplotlib", "threadpoolctl", "tqdm"):
        pytest.importorskip(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--peers", "pandas"], "there is no peer 'pandas': choose from numpy, torch,"),
        (["-k", "nothing like it"], "no line has 'nothing like it' in its name"),
        (["--plot", "plot.txt"], "--plot plot.txt: end it with one of ."),
        (["--json", "no/such/file.json"], "cannot write no"),
        (["--threads", "0"], "invalid positive int value: '0'"),
        (["--minutes", "inf"], "invalid positive float value: 'inf'"),
        (["--quick", "--minutes", "3"], "not allowed with argument"),
    ],
)
def test_what_cannot_be_run_is_refused_at_once(
    in_folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    with pytest.raises(SystemExit) as refused:
        command.main(arguments)
    assert refused.value.code == 2
    assert message in capsys.readouterr().err
    assert list(in_folder.iterdir()) == []


def test_a_peer_that_is_not_installed_is_refused(
    in_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(peers, "missing", lambda needed: [n for n in needed if n == "onnx"])
    with pytest.raises(SystemExit):
        command.main(["--peers", "onnxruntime"])
    assert "the peer onnxruntime needs what is not installed: onnx" in capsys.readouterr().err


def test_list_has_the_choice(in_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--list"]) == 0
    assert capsys.readouterr().out.splitlines() == [str(cell) for cell in CHOICE]


@pytest.mark.slow
def test_a_quick_run_writes_both_files(in_folder: Path) -> None:
    command = [sys.executable, "-W", "error", "-m", "embedrnn.bench", "--quick", "--min-time"]
    options = ["1e-5", "--peers", "numpy", "-k", "scatter_add"]
    done = subprocess.run(
        [*command, *options], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert "scatter_add\n  256 x 64, 1 uniform " in done.stdout
    assert "\n- embedrnn is faster than NumPy in " in done.stdout
    assert done.stdout.endswith("\nwritten: embedrnn-bench.json, embedrnn-bench.png\n")
    stored = json.loads((in_folder / "embedrnn-bench.json").read_text())
    assert [cell["operation"] for cell in stored["cells"]] == ["scatter_add"] * 2
    for cell in stored["cells"]:
        ratio = cell["peers"]["np.add.at"]["ratio"]
        assert 0 < ratio["low"] <= ratio["median"] <= ratio["high"]
        assert cell["peers"]["np.add.at"]["library"] == "numpy"
    picture = (in_folder / "embedrnn-bench.png").read_bytes()
    assert picture.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack(">II", picture[16:24])
    assert width <= 1200
    assert height <= 800


@pytest.fixture
def quick_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "measure_limits", lambda _threads: LIMITS)


TINY = ["--minutes", "1e-6", "--min-time", "1e-6", "--peers", "numpy", "-k", "scatter_add"]


@pytest.mark.usefixtures("quick_limits")
def test_control_c_prints_what_is_done(
    in_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run_cell, done = command.run_cell, []

    def run_once(*arguments: Any) -> CellResult:
        if done:
            raise KeyboardInterrupt
        done.append(run_cell(*arguments))
        return done[0]

    monkeypatch.setattr(command, "run_cell", run_once)
    assert command.main(TINY) == 130
    printed = capsys.readouterr().out
    assert "256 x 64, 1 uniform" in printed
    assert "Stopped: 1 of 2 lines were not measured." in printed
    assert len(json.loads((in_folder / "embedrnn-bench.json").read_text())["cells"]) == 1


@pytest.mark.usefixtures("quick_limits")
def test_control_c_before_anything_is_done(
    in_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop(*_: Any) -> CellResult:
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "run_cell", stop)
    assert command.main(TINY) == 130
    assert capsys.readouterr().out == "Stopped before anything was measured.\n"
    assert list(in_folder.iterdir()) == []


@pytest.mark.usefixtures("quick_limits", "in_folder")
def test_a_peer_with_a_wrong_answer_is_left_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def wrong(rows: Any, _threads: int) -> peers.Contestant:
        return peers.Contestant(lambda: np.ones_like(rows.table))

    peers.load(libraries=["numpy"])
    entries = peers.contestants("scatter_add")
    monkeypatch.setitem(entries, "np.wrong", peers.Entry("numpy", wrong))
    assert command.main([*TINY, "--no-files"]) == 0
    printed = capsys.readouterr().out
    assert "np.wrong is left out of scatter_add 256 x 64, 1 uniform: AssertionError" in printed


PRESENT = [needed[0] for needed in peers.MODULES.values() if not peers.missing(needed)]


@pytest.mark.usefixtures("in_folder")
@pytest.mark.parametrize("library", [name for name in PRESENT if name in peers.LIBRARIES])
def test_every_peer_that_is_here_takes_part(library: str, run_python: Any) -> None:
    """In a process of its own: some set what the whole process has."""
    cell = {"onnxruntime": "lstm_step", "openvino": "encoder_forward"}.get(library, "bag_sum")
    code = f"""
        from embedrnn.bench import main
        from embedrnn.bench.limits import Limits
        main.measure_limits = lambda threads: Limits(1e10, 1e11, 1e11, 1e11, 1e11, True)
        tiny = ["--minutes", "1e-6", "--min-time", "1e-6", "--no-files"]
        assert main.main([*tiny, "--peers", "{library}", "-k", "{cell}"]) == 0
    """
    done = run_python(code, timeout=120)
    assert "left out" not in done.stdout
    assert peers.title(library) in done.stdout
