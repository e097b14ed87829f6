"""Small faults put into a copy of the sources, one at a time: do the tests named see them?

`nox -s mutants` builds each one and runs its tests; arguments are parts of the names of those
wanted. A mutant that survives is a gap in the tests, or a change that no caller can see: then it
does not belong here.
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ("CMakeLists.txt", "LICENSE", "README.md", "cpp", "pyproject.toml", "src")
# A test that waits for ever has seen the fault as well.
MOST_SECONDS = 600
PASSED, FAILED, INTERRUPTED = 0, 1, 2  # how pytest exits


class Mutant(NamedTuple):
    """One place of one file below src/embedrnn or cpp, and what pytest is asked."""

    name: str
    file: str
    old: str
    new: str
    tests: str


# Those of one file stand together: what a mutant has changed is built again with the next one.
MUTANTS = [
    Mutant(
        "gradient row of the ninth bag on", "src/embedrnn/bag.py",
        "call.bag_of[groups.positions],", "np.minimum(call.bag_of, 7)[groups.positions],",
        "test_gradients.py",
    ),
    Mutant(
        "weights not copied for backward", "src/embedrnn/_check/sequences.py",
        'weights = own_copy("per_sample_weights", weights)', "pass",
        "test_table_layers.py::test_backward_of_bags_keeps_what_it_needs",
    ),
    Mutant(
        "indices not copied for backward", "src/embedrnn/_check/sequences.py",
        "indices=self.indices.copy()", "indices=self.indices",
        "test_table_layers.py::test_backward_of_bags_keeps_what_it_needs",
    ),
    Mutant(
        "gradient of a weight behind padding", "src/embedrnn/bag.py",
        "[slice(None) if call.kept is None else call.kept] = products",
        "[: products.size] = products", "test_gradients.py",
    ),
    Mutant(
        "strided gradient of a bag", "src/embedrnn/_check/bag.py",
        "as_rows(as_native(gradient, sum_dtype(dtype)).reshape(call.out.shape))",
        "as_native(gradient, sum_dtype(dtype)).reshape(call.out.shape)", "test_bag.py",
    ),
    Mutant(
        "offsets not copied by the check", "src/embedrnn/_check/ragged.py",
        "array = own_copy(name, numbers)", "array = as_array(name, numbers)",
        "test_gradients.py",
    ),
    Mutant(
        "resets not copied for backward", "src/embedrnn/_check/ragged.py",
        'array = own_copy("resets", resets)', 'array = as_array("resets", resets)',
        "test_recurrence_vjp.py::test_backward_may_be_called_again_whatever_has_become_of_the_inputs",
    ),
    Mutant(
        "gradient of a state that was not given", "src/embedrnn/_forward.py",
        "part[0] if known else None", "part[0]",
        "test_recurrence_vjp.py::test_absent_arguments_have_no_gradient",
    ),
    Mutant(
        "states of packed rows not sorted on the way back", "src/embedrnn/layers/stack.py",
        "with_batch_axis(given) if layout.alone else layout.sorted(given)",
        "with_batch_axis(given) if layout.alone else given",
        "test_layers_vjp.py::test_every_form_has_the_gradients_of_padded",
    ),
    Mutant(
        "gradient not dropped as the output was", "src/embedrnn/layers/stack.py",
        "tape.back_through_drop(layer, of_below)", "pass", "test_layers_vjp.py",
    ),
    Mutant(
        "output of a direction overwritten by the product", "src/embedrnn/layers/stack.py",
        "both = np.empty_like(out),", "both = out,", "test_directions.py",
    ),
    Mutant(
        "back through one reverse direction as if it were not", "src/embedrnn/layers/stack.py",
        "layout.resets, self.reversed[d],", "layout.resets, d == 1,", "test_directions.py",
    ),
    Mutant(
        "encoder: last states that the caller may change", "src/embedrnn/layers/pooling.py",
        "found.states[0][-stack.directions :].copy()", "found.states[0][-stack.directions :]",
        "test_directions.py",
    ),
    Mutant(
        "what is kept not scaled", "src/embedrnn/layers/tape.py",
        "grad.dtype.type(1 / (1 - self._dropout))", "grad.dtype.type(1)", "test_layers_vjp.py",
    ),
    Mutant(
        "encoder: frozen rows as they are, not bounded", "src/embedrnn/layers/encoder.py",
        "products = self.embedding._looked_up(\n            np.arange(self._n_tokens),",
        "products = self.embedding._looked_up(\n            np.arange(0),",
        "test_encoder.py::test_rows_are_bounded_as_they_are_looked_up",
    ),
    Mutant(
        "encoder: rows of a gradient handed out", "src/embedrnn/layers/encoder.py",
        "listed.rows.copy(), listed.rows", "listed.rows, listed.rows",
        "test_encoder_vjp.py::test_backward_may_be_called_again_whatever_has_become_of_the_rest",
    ),
    Mutant(
        "encoder: bias within a frozen step", "src/embedrnn/layers/frozen.py",
        "own[bias_hh][: len(own[bias_hh]) - inner] = 0",
        "own[bias_hh][...] = 0", "test_encoder.py::test_frozen_has_the_bits_of_the_encoder",
    ),
    Mutant(
        "encoder: one padded step repeats for all", "src/embedrnn/layers/layout.py",
        "scatter_add(flat, origin, flat[to])", "flat[origin] += flat[to]",
        "test_encoder_vjp.py::test_masks_that_repeat",
    ),
    Mutant(
        "encoder: mean of a gradient over T", "src/embedrnn/layers/pooling.py",
        "np.maximum(lengths, 1)", "np.maximum(lengths, lengths.max())",
        "test_encoder_vjp.py::test_the_gradients_of_pooled_vectors",
    ),
    Mutant(
        "encoder: misplaced padding named by its length", "src/embedrnn/_check/tokens.py",
        "step = int(valid[row].argmin())", "step = int(counts[row])",
        "test_encoder.py::test_padding_in_other_places_is_refused",
    ),
    Mutant(
        "misaligned table", "src/embedrnn/_check/arrays.py",
        "return array.flags.aligned and array.dtype.isnative", "return array.dtype.isnative",
        "test_bag.py test_rows.py",
    ),
    Mutant(
        "byte-swapped table", "src/embedrnn/_check/arrays.py",
        "return array.flags.aligned and array.dtype.isnative", "return array.flags.aligned",
        "test_bag.py",
    ),
    Mutant(
        "result not delivered to out", "src/embedrnn/_check/arrays.py",
        "if call.buffer is not call.out:", "if False:",
        "test_recurrence.py::test_out_layouts",
    ),
    Mutant(
        "gates of a GRU from ONNX", "src/embedrnn/convert/gates.py",
        '"onnx": "n zrn iofg"', '"onnx": "n rzn iofg"', "test_convert.py",
    ),
    Mutant(
        "gates of an LSTM of TensorFlow 1", "src/embedrnn/convert/gates.py",
        '"tf1": "n rzn igfo"', '"tf1": "n rzn ifgo"', "test_convert_layouts.py",
    ),
    Mutant(
        "what is too great when it is cast", "src/embedrnn/_check/arrays.py",
        "np.isfinite(array) & ~np.isfinite(new)", "~np.isfinite(array) & ~np.isfinite(new)",
        "test_state_dict.py",
    ),
    Mutant(
        "a cell's names taken for those of a stack", "src/embedrnn/_check/state.py",
        "return cells if len(set(cells.values())) == len(cells) else {}", "return cells",
        "test_state_dict.py",
    ),
    Mutant(
        "gradient of the peephole of o by the cell state before the step",
        "cpp/kernels/lstm-inl.h", "unit.gate(6, d_o * new_c);", "unit.gate(6, d_o * c);",
        "test_recurrence_vjp.py",
    ),
    Mutant(
        "gradient of a leak without the state that it left", "cpp/kernels/rnn-inl.h",
        "unit.gate(1, dh * (n - h));", "unit.gate(1, dh * n);", "test_recurrence_vjp.py",
    ),
    Mutant(
        "what resets hand on lost where only it is wanted", "cpp/ops/recurrence/run_back.cpp",
        "tile_.first_step > 0 || args_.wants_initial()", "args_.wants_initial()",
        "test_recurrence_vjp.py",
    ),
    Mutant(
        "peepholes from ONNX", "src/embedrnn/convert/onnx/weights.py", "[[0, 2, 1]]", "[[0, 1, 2]]",
        "test_convert.py",
    ),
    Mutant(
        "reverse node of ONNX", "src/embedrnn/_check/onnx.py",
        'if direction != "forward":', 'if direction == "bidirectional":', "test_convert.py",
    ),
    Mutant(
        "int8 row at the end of float32", "src/embedrnn/quantized.py",
        "np.isinf(fused) | np.isinf(alone)", "np.isinf(fused)", "test_quantized.py",
    ),
    Mutant(
        "workers go on behind an interrupt", "cpp/runtime/pool.cpp",
        "if (!cancelled.exchange(true)) error = std::current_exception();",
        "error = std::current_exception();",
        "test_runtime.py::test_ctrl_c_is_noticed_within_50_ms",
    ),
    Mutant(
        "workers do not look for an interrupt", "cpp/runtime/interrupt.cpp",
        "if (mine.cancelled->load(std::memory_order_relaxed)) throw Interrupted();", "",
        "test_runtime.py::test_ctrl_c_is_noticed_within_50_ms",
    ),
    Mutant(
        "workers keep the signals", "cpp/runtime/pool.cpp",
        "pthread_sigmask(SIG_SETMASK, &blocked, &before);",
        "pthread_sigmask(SIG_SETMASK, nullptr, &before);",
        "test_runtime.py::test_workers_take_the_signals_of_their_own_faults_alone",
    ),
    Mutant(
        "workers round in their own way", "cpp/runtime/pool.cpp",
        "const BorrowedFloatState borrowed(job->float_state);", "",
        "test_runtime.py::test_every_thread_computes_in_the_state_of_the_caller",
    ),
    Mutant(
        "offsets not copied by the plain call", "cpp/bindings/plain.cpp",
        """py::array_t<std::int64_t> bounds(n);
    copy_numbers(*numbers, bounds.mutable_data());
    return bounds;""",
        "return py::array_t<std::int64_t>(*numbers);",
        "test_plain.py",
    ),
    Mutant(
        "lengths of 32 bits", "cpp/bindings/plain.cpp",
        "numbers->itemsize() == 8 || numbers->itemsize() == 4 ? numbers",
        "numbers->itemsize() == 8 || numbers->itemsize() < 4 ? numbers",
        "test_plain.py",
    ),
    Mutant(
        "keys taken for rising", "cpp/ops/coalesce.cpp",
        "rising &= row >= before;", "rising &= row >= before || i > 2;", "test_coalesce.py",
    ),
    Mutant(
        "padding by its negative number", "cpp/ops/bag.cpp",
        " && !std::cmp_equal(at[i], other)", "", "test_bag.py",
    ),
    Mutant(
        "padding by its lowest bits", "cpp/ops/bag.cpp",
        "!std::cmp_equal(at[i], one)", "at[i] != static_cast<I>(one)", "test_bag.py",
    ),
    Mutant(
        "padding by the lowest bits of its negative number", "cpp/ops/bag.cpp",
        "!std::cmp_equal(at[i], other)", "at[i] != static_cast<I>(other)", "test_bag.py",
    ),
    Mutant(
        "last columns of a shared bag", "cpp/ops/columns.h",
        "i == count ? cols : even", "even", "test_bag.py",
    ),
    Mutant(
        "mean of a bag in pieces", "cpp/kernels/bag-inl.h",
        "b.items_before + items.end", "items.end", "test_bag.py",
    ),
    Mutant(
        "a later NaN is the maximum", "cpp/kernels/bag-inl.h",
        "(x != x && most == most)", "(x != x)", "test_bag.py",
    ),
    Mutant(
        "int8 offset of -0", "cpp/kernels/storage-inl.h",
        "static_cast<float>(codes[at + i]) + offset;",
        "static_cast<float>(codes[at + i]) + (offset + 0.0f);",
        "test_quantized.py test_rows.py test_bag.py",
    ),
    Mutant(
        "halves that lie between two", "cpp/kernels/storage-inl.h",
        "0xfff + (magnitude >> 13 & 1)", "0x1000", "test_bag.py",
    ),
    Mutant(
        "last bytes of a row", "cpp/kernels/gather-inl.h",
        "if (at < bytes) copy_vectors<1>", "if (at + 1 < bytes) copy_vectors<1>", "test_rows.py",
    ),
    Mutant(
        "first of a run", "cpp/kernels/scatter-inl.h",
        "for (std::ptrdiff_t i = first; i < last; ++i) {",
        "for (std::ptrdiff_t i = last - first > 9 ? first + 1 : first; i < last; ++i) {",
        "test_rows.py",
    ),
    Mutant(
        "reset that lets gradients through", "cpp/ops/recurrence/walk_back.h",
        "if (group_.rows[r].is_reset(group_.args.batch, step)) group_.leave(r, first_, end_);", ";",
        "test_recurrence_vjp.py",
    ),
    Mutant(
        "recurrent bias of an inner gate", "cpp/ops/recurrence/products.h",
        "{cell.recurrent_gradient(gate) * state_, args_.grad_bias_hh + row}",
        "{gate * state_, args_.grad_bias_hh + row}", "test_recurrence_vjp.py",
    ),
    Mutant(
        "later pairs of a product", "cpp/kernels/products-inl.h",
        "begin < o.pairs; begin += kOuterPairs", "begin < o.pairs; begin += 2 * kOuterPairs",
        "test_recurrence_vjp.py",
    ),
    Mutant(
        "steps of a team that come back", "cpp/ops/recurrence/walk_back.h",
        "if (step + 1 < tile_.end_step) come_back(step + 1, alive);",
        "if (step + 1 < group_.end) come_back(step + 1, alive);", "test_recurrence_vjp.py",
    ),
    Mutant(
        "encoder: product by the number of the step", "cpp/ops/recurrence/source.h",
        "products_ + tokens_.number(row.batch, row.time(batch_, step))",
        "products_ + tokens_.number(row.batch, step)",
        "test_encoder.py::test_a_call_has_the_bits_of_its_parts",
    ),
    Mutant(
        "encoder: first number of misaligned rows", "cpp/ops/recurrence/source.h",
        ".table_col_stride = sizeof(T),", ".table_col_stride = 0,",
        "test_encoder.py::test_what_numpy_wrote_is_read",
    ),
    Mutant(
        "encoder: frozen gates in another order", "cpp/kernels/gemm-inl.h",
        "a.inputs[row] + gate * a.hidden + first",
        "a.inputs[row] + (a.gates - 1 - gate) * a.hidden + first",
        "test_encoder.py::test_frozen_has_the_bits_of_the_encoder",
    ),
    Mutant(
        "encoder: no number is the greatest", "cpp/kernels/pool-inl.h",
        "((v > most) | (v != v)) ? v : most", "v > most ? v : most",
        "test_encoder.py::test_not_a_number_is_pooled",
    ),
    Mutant(
        "encoder: mean over T", "cpp/ops/recurrence/group.h",
        "T{1} : static_cast<T>(row.length)", "T{1} : static_cast<T>(args.batch.time)",
        "test_encoder.py::test_pools_by_hand",
    ),
    Mutant(
        "encoder: distinct ids that pay nothing", "cpp/ops/costs.h",
        "once * k + all * kInputsOfReading < all * k",
        "once * k + all * kInputsOfReading <= all * k",
        "test_encoder.py::test_distinct_ids_are_multiplied_once_where_that_pays",
    ),
    Mutant(
        "encoder: holes of another row", "cpp/ops/recurrence/args.h",
        "times[times_of[row] + step]", "times[times_of[0] + step]",
        "test_encoder.py::test_masked_steps_hold_the_state",
    ),
    Mutant(
        "encoder: number behind the last row", "cpp/bindings/recurrence.cpp",
        "n == 0 || most < static_cast", "n == 0 || most <= static_cast",
        "test_encoder.py::test_the_core_refuses_tokens_beyond_their_arrays",
    ),
    Mutant(
        "mask: padding of holes left as it was", "cpp/ops/recurrence/group.h",
        "fill_zero(row, time, until);", "if (step == row.length) fill_zero(row, time, until);",
        "test_mask.py",
    ),
    Mutant(
        "mask: rows that begin where they end", "src/embedrnn/_check/ragged.py",
        "starts = lengths.cumsum() - lengths", "starts = lengths.cumsum()", "test_mask.py",
    ),
    Mutant(
        "encoder: times beyond T", "cpp/bindings/recurrence.cpp",
        "starts.times[i] < layout.time", "starts.times[i] <= layout.time",
        "test_encoder.py::test_the_core_refuses_times_that_do_not_rise",
    ),
    Mutant(
        "encoder: gradients of tokens from the first pair", "cpp/ops/recurrence/products.h",
        """.updates = tile.row(tile.first_pair + tile.pairs - 1) + first,
        .update_row_stride = -tile.stride,""",
        """.updates = tile.row(tile.first_pair) + first,
        .update_row_stride = tile.stride,""",
        "test_encoder_vjp.py::test_the_gradients_are_those_of_the_parts",
    ),
    Mutant(
        "held weights compared but for their last tile", "cpp/ops/recurrence/packing.h",
        "if (!same.load(std::memory_order_relaxed)) return;",
        "if (!same.load(std::memory_order_relaxed) || (first > 0 && cols < kTileColumns)) return;",
        "test_packed.py",
    ),
    Mutant(
        "held weights without biases", "cpp/ops/recurrence/packed_cell.h",
        "return holds_biases(weights) &&", "return", "test_packed.py",
    ),
    Mutant(
        "encoder: last columns of the gradients of tokens", "cpp/ops/recurrence/products.h",
        "(cell_.packing().width() + kTokenColumns - 1) / kTokenColumns",
        "std::max<std::ptrdiff_t>(1, cell_.packing().width() / kTokenColumns)",
        "test_encoder_vjp.py::test_more_pairs_than_a_tile_of_steps",
    ),
    Mutant(
        "packed as before a step", "src/embedrnn/layers/layer.py",
        "self._weights = weights.replaced({})", "self._weights = weights",
        "test_optim.py::test_recurrent_layers_are_packed_again",
    ),
    Mutant(
        "somebody else's table is stepped", "src/embedrnn/layers/layer.py",
        "return array.flags.owndata and array.flags.writeable", "return array.flags.writeable",
        "test_optim.py::test_what_belongs_to_somebody_else_is_copied_once",
    ),
    Mutant(
        "a row named twice in a step", "src/embedrnn/_check/coalesce.py",
        "falling = rows[1:] <= rows[:-1]", "falling = rows[1:] < rows[:-1]",
        "test_optim.py::test_a_gradient_that_does_not_fit_changes_nothing",
    ),
    Mutant(
        "numbers of the last elements", "cpp/ops/optim.cpp",
        "part.first_element = static_cast<std::uint64_t>(first);", "",
        "test_optim.py::test_elements_have_their_numbers_in_any_rows",
    ),
    Mutant(
        "the last missed step", "cpp/kernels/optim-inl.h",
        "if (b.last[row] < now) catch_up", "if (b.last[row] + 1 < now) catch_up",
        "test_optim.py::test_rows_that_catch_up_have_the_bits_of_dense_steps",
    ),
    Mutant(
        "mean square without the penalty", "cpp/kernels/optim-inl.h",
        "decayed[i] = with_decay(grad[i], param[i], decay)",
        "decayed[i] = with_decay(grad[i], param[i], T{0})",
        "test_optim.py::test_a_hundred_steps_by_hand",
    ),
]  # fmt: skip


def files(folder: Path) -> Iterator[Path]:
    """Yield the sources below a folder, by their paths from there."""
    for name in SOURCES:
        whole = folder / name
        found = whole.rglob("*") if whole.is_dir() else [whole]
        yield from (p.relative_to(folder) for p in found if p.suffix != ".pyc" and p.is_file())


class Copy:
    """A copy of the sources, its build, and where that is installed."""

    def __init__(self, folder: Path) -> None:
        self.tree, self.build, self.site = folder / "tree", folder / "build", folder / "site"

    def restore(self) -> None:
        """Make the copy that of the sources; what is right stays untouched, so nothing is built."""
        for path in set(files(self.tree)) - set(files(ROOT)) if self.tree.exists() else ():
            (self.tree / path).unlink()
        for path in files(ROOT):
            text, copy = (ROOT / path).read_bytes(), self.tree / path
            if not copy.exists() or copy.read_bytes() != text:
                copy.parent.mkdir(parents=True, exist_ok=True)
                copy.write_bytes(text)

    def install(self) -> None:
        shutil.rmtree(self.site, ignore_errors=True)
        options = ["--no-build-isolation", "--no-deps", f"--target={self.site}"]
        command = ["-m", "pip", "install", "--quiet", *options, f"-Cbuild-dir={self.build}", "."]
        subprocess.run([sys.executable, *command], cwd=self.tree, check=True)

    def exit_of(self, tests: str) -> int | None:
        """Run these tests up to the first failure; return how pytest ended, None if it hung."""
        command = ["-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "--tb=no", "-r", "f"]
        paths = [f"tests/{test}" for test in tests.split()]
        env = os.environ | {"PYTHONPATH": str(self.site)}
        options: Any = {"timeout": MOST_SECONDS, "capture_output": True, "text": True}
        try:
            done = subprocess.run(
                [sys.executable, *command, *paths], cwd=ROOT, env=env, check=False, **options
            )
        except subprocess.TimeoutExpired:
            return None
        say("".join(f"    {line}\n" for line in done.stdout.splitlines() if line[:6] == "FAILED"))
        return done.returncode


def say(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def survives(copy: Copy, mutant: Mutant) -> bool:
    source = (ROOT / mutant.file).read_text(encoding="utf-8")
    if source.count(mutant.old) != 1:
        raise SystemExit(f"{mutant.name}: {mutant.file} must have its text once")
    start = time.monotonic()
    copy.restore()
    (copy.tree / mutant.file).write_text(source.replace(mutant.old, mutant.new), encoding="utf-8")
    copy.install()
    built = time.monotonic() - start
    code = copy.exit_of(mutant.tests)
    if code is not None and code > INTERRUPTED:
        raise SystemExit(f"{mutant.name}: pytest could not run {mutant.tests}")
    word = "SURVIVED" if code == PASSED else "hung" if code is None else "caught"
    tested = time.monotonic() - start - built
    say(f"{word:8}  {mutant.name} (build {built:.0f} s, tests {tested:.0f} s)\n")
    return code == PASSED


def main(folder: str, *parts: str) -> int:
    wanted = [m for m in MUTANTS if not parts or any(part in m.name for part in parts)]
    copy = Copy(Path(folder).resolve())
    copy.restore()
    copy.install()
    for tests in dict.fromkeys(mutant.tests for mutant in wanted):
        if copy.exit_of(tests) != PASSED:
            raise SystemExit(f"{tests} must pass without a mutant")
    survivors = [mutant.name for mutant in wanted if survives(copy, mutant)]
    say(f"{len(survivors)} of {len(wanted)} survived: {', '.join(survivors) or 'none'}\n")
    return FAILED if survivors else PASSED


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
