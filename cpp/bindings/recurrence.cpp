// The packed cell, which is one class for every cell and both dtypes.
#include <memory>
#include <numeric>
#include <variant>

#include "bindings/arrays.h"
#include "bindings/module.h"
#include "bindings/storage.h"
#include "ops/recurrence/packed_cell.h"

namespace embedrnn::bindings {
namespace {

// The packed cell that Python holds, in the dtype of its weights.
struct PackedCell {
  std::variant<ops::PackedCell<float>, ops::PackedCell<double>> packed;
};

// Calls body(cell, weights) with what pack is given, once that has been checked.
template <class Body>
auto with_weights(std::string_view cell,
                  py::array& weight_ih,
                  py::array& weight_hh,
                  OptionalArray& bias_ih,
                  OptionalArray& bias_hh,
                  OptionalArray& diagonal,
                  const Body& body) {
  const ops::Cell& kind = ops::find_cell(cell);
  require(weight_ih.ndim() == 2, "weight_ih", "have two axes");
  require(weight_hh.ndim() == 2, "weight_hh", "have two axes");
  const py::ssize_t hidden = weight_hh.shape(1), rows = kind.gates * hidden;
  require_shape(weight_hh, "weight_hh", {rows, hidden});
  require_shape(weight_ih, "weight_ih", {rows, weight_ih.shape(1)});
  require_shape(bias_ih, "bias_ih", {rows});
  require_shape(bias_hh, "bias_hh", {rows});
  const bool has_diagonal = kind.diagonals > 0;
  require(diagonal.has_value() || !has_diagonal, "diagonal", "be given: the cell has one");
  require(!diagonal.has_value() || has_diagonal, "diagonal", "be None: the cell has none");
  require_shape(diagonal, "diagonal", {kind.diagonals * hidden});
  const auto with = [&]<class T>(T) {
    return body(kind,
                ops::CellWeights<T>{.weight_ih = matrix_view<const T>(weight_ih, "weight_ih"),
                                    .weight_hh = matrix_view<const T>(weight_hh, "weight_hh"),
                                    .bias_ih = vector_view<const T>(bias_ih, "bias_ih"),
                                    .bias_hh = vector_view<const T>(bias_hh, "bias_hh"),
                                    .diagonal = vector_view<const T>(diagonal, "diagonal")});
  };
  return holds<double>(weight_ih) ? with(double{}) : with(float{});
}

PackedCell pack(std::string_view cell,
                py::array weight_ih,
                py::array weight_hh,
                OptionalArray bias_ih,
                OptionalArray bias_hh,
                OptionalArray diagonal) {
  return with_weights(
      cell,
      weight_ih,
      weight_hh,
      bias_ih,
      bias_hh,
      diagonal,
      []<class T>(const ops::Cell& kind, const ops::CellWeights<T>& weights) -> PackedCell {
        auto packed =
            without_gil([&] { return std::make_unique<ops::PackedCell<T>>(kind, weights); });
        return {std::move(*packed)};
      });
}

bool holds_weights(const PackedCell& self,
                   std::string_view cell,
                   py::array weight_ih,
                   py::array weight_hh,
                   OptionalArray bias_ih,
                   OptionalArray bias_hh,
                   OptionalArray diagonal) {
  return with_weights(cell,
                      weight_ih,
                      weight_hh,
                      bias_ih,
                      bias_hh,
                      diagonal,
                      [&]<class T>(const ops::Cell& kind, const ops::CellWeights<T>& weights) {
                        const auto* const packed = std::get_if<ops::PackedCell<T>>(&self.packed);
                        return packed != nullptr &&
                               without_gil([&] { return packed->holds(kind, weights); });
                      });
}

// The states of a batch, as many as the cell has: of each array (cells, rows, H) the matrix `at`.
template <class T, class P>
ops::States<P> states_of(const ops::PackedCell<T>& cell,
                         const py::tuple& states,
                         py::ssize_t at,
                         py::ssize_t rows,
                         const char* name) {
  ops::States<P> views;
  require(std::ssize(states) == cell.cell().states, name, "be as many as the cell has");
  for (std::size_t i = 0; i < states.size(); ++i) {
    const py::handle state = PyTuple_GET_ITEM(states.ptr(), static_cast<py::ssize_t>(i));
    if (state.is_none()) continue;
    require(py::isinstance<py::array>(state), name, "be arrays");
    auto array = py::reinterpret_borrow<py::array>(state);
    require(array.ndim() == 3 && at >= 0 && at < array.shape(0), name, "have one for each cell");
    require_shape(array, name, {array.shape(0), rows, cell.hidden()});
    const std::ptrdiff_t row_stride = stride<P>(array, 1), col_stride = stride<P>(array, 2);
    views[i] = {data<P>(array, name) + at * stride<P>(array, 0),
                rows,
                cell.hidden(),
                row_stride,
                col_stride};
  }
  return views;
}

// The same of states that are filled: all of them must be there.
template <class T>
ops::States<T> filled_states_of(const ops::PackedCell<T>& cell,
                                const py::tuple& states,
                                py::ssize_t at,
                                py::ssize_t rows,
                                const char* name) {
  const ops::States<T> views = states_of<T, T>(cell, states, at, rows, name);
  for (std::size_t i = 0; i < states.size(); ++i)
    require(views[i].data != nullptr, name, "have all states");
  return views;
}

// How the steps of a call are laid out in arrays that have a row for each:
// embedrnn._sequences.Rows.
struct Layout {
  std::ptrdiff_t batch, time;
  const std::int64_t* lengths;
  ops::Starts starts;

  // Of all valid steps.
  std::ptrdiff_t pairs() const {
    return lengths != nullptr ? std::accumulate(lengths, lengths + batch, std::ptrdiff_t{0})
                              : batch * time;
  }
};

// Item i of a tuple, an array of int64 of this shape, or null for None.
const std::int64_t* numbers_of(const py::tuple& from,
                               std::size_t i,
                               const char* name,
                               std::initializer_list<py::ssize_t> shape) {
  const py::handle item = PyTuple_GET_ITEM(from.ptr(), static_cast<py::ssize_t>(i));
  if (item.is_none()) return nullptr;
  require(py::isinstance<py::array>(item), name, "be an array");
  auto array = py::reinterpret_borrow<py::array>(item);
  return contiguous_data<const std::int64_t>(array, name, shape);
}

py::ssize_t size_of(const py::tuple& from, std::size_t i) {
  const py::handle item = PyTuple_GET_ITEM(from.ptr(), static_cast<py::ssize_t>(i));
  return py::isinstance<py::array>(item) ? py::reinterpret_borrow<py::array>(item).size() : 0;
}

// What the layout names must be there, in an array of n rows of features.
void require_within(const Layout& layout, py::ssize_t n) {
  const ops::Starts& starts = layout.starts;
  for (std::ptrdiff_t b = 0; starts.rows != nullptr && b < layout.batch; ++b) {
    require(starts.rows[b] >= 0 && starts.rows[b] <= n - layout.lengths[b],
            "row_starts",
            "begin rows that stay within x");
  }
  std::ptrdiff_t alive = layout.batch;
  for (std::ptrdiff_t t = 0; starts.steps != nullptr && t < layout.time; ++t) {
    while (layout.lengths[alive - 1] <= t) --alive;
    require(starts.steps[t] >= 0 && starts.steps[t] <= n - alive,
            "step_starts",
            "begin steps that stay within x");
  }
}

// The times of the valid steps of each row must rise, and be there.
void require_times(const Layout& layout, py::ssize_t n) {
  const ops::Starts& starts = layout.starts;
  for (std::ptrdiff_t b = 0; b < layout.batch; ++b) {
    const std::int64_t first = starts.times_of[b];
    require(first >= 0 && first <= n - layout.lengths[b],
            "row_starts",
            "begin rows that stay within times");
    const std::int64_t end = first + layout.lengths[b];
    std::int64_t before = -1;
    for (std::int64_t i = first; i < end; ++i) {
      require(starts.times[i] > before && starts.times[i] < layout.time, "times", "rise below T");
      before = starts.times[i];
    }
  }
}

// How the steps of an array are laid out; of none, where nothing but the lengths matters.
Layout layout_of(const py::tuple& rows, const py::array* steps) {
  require(rows.size() == 5, "rows", "be a tuple of five");
  const auto batch = rows[0].cast<py::ssize_t>();
  Layout layout{.batch = batch,
                .time = 0,
                .lengths = numbers_of(rows, 1, "lengths", {batch}),
                .starts = {.rows = numbers_of(rows, 2, "row_starts", {batch})}};
  const std::int64_t* const lengths = layout.lengths;
  const std::int64_t longest =
      lengths != nullptr && batch > 0 ? *std::max_element(lengths, lengths + batch) : 0;
  for (std::ptrdiff_t b = 0; lengths != nullptr && b < batch; ++b)
    require(lengths[b] >= 0, "lengths", "not be negative");
  const py::ssize_t n_steps = size_of(rows, 3), n_times = size_of(rows, 4);
  layout.starts.steps = numbers_of(rows, 3, "step_starts", {n_steps});
  layout.starts.times = numbers_of(rows, 4, "times", {n_times});
  if (layout.starts.times != nullptr) std::swap(layout.starts.times_of, layout.starts.rows);
  const ops::Starts& starts = layout.starts;
  require(starts.rows == nullptr || starts.steps == nullptr,
          "row_starts",
          "be absent where there are step_starts");
  require(starts.times == nullptr || (starts.times_of != nullptr && starts.steps == nullptr),
          "times",
          "come with row_starts alone");
  const bool padded = starts.has_padding();
  require(lengths != nullptr || (padded && steps != nullptr && starts.times == nullptr),
          "lengths",
          "be given, or x be padded");
  layout.time = padded && steps != nullptr && steps->ndim() > 1 ? steps->shape(1) : longest;
  if (starts.steps != nullptr) {
    require(n_steps == layout.time, "step_starts", "be as many as the steps");
    require(std::is_sorted(lengths, lengths + batch, std::greater<>()), "lengths", "never rise");
  }
  if (steps == nullptr) return layout;
  require(steps->ndim() >= (padded ? 2 : 1), "x", "have the axes that its layout calls for");
  require(!padded || steps->shape(0) == batch, "lengths", "be as many as the rows");
  require(longest <= layout.time, "lengths", "be at most T");
  if (starts.times != nullptr) require_times(layout, n_times);
  if (!padded) require_within(layout, steps->shape(0));
  return layout;
}

// Sequences of so many features: (B, T, width), or (N, width) with the starts of rows or of steps.
template <class P>
ops::Sequences<P>
sequences_of(py::array& array, const char* name, std::ptrdiff_t width, const Layout& layout) {
  const int axes = layout.starts.has_padding() ? 3 : 2;
  require(array.ndim() == axes, name, "have the axes that its layout calls for");
  require(array.shape(axes - 1) == width, name, "have the cell's width");
  return {.data = data<P>(array, name),
          .col_stride = stride<P>(array, axes - 1),
          .row_stride = stride<P>(array, 0),
          .step_stride = stride<P>(array, axes == 2 ? 0 : 1),
          .starts = layout.starts};
}

// The rows of a call on what is laid out as `steps`. A truth value may be any byte but 0.
ops::Batch
batch_of(const py::array* steps, const Layout& layout, const OptionalArray& resets, bool reverse) {
  ops::Batch batch{.rows = layout.batch,
                   .time = layout.time,
                   .lengths = layout.lengths,
                   .reverse = reverse,
                   .resets = {}};
  if (!resets) return batch;
  require(holds<bool>(*resets), "resets", "be bool");
  const py::ssize_t axes = layout.starts.has_padding() ? 2 : 1;
  require(steps != nullptr && resets->ndim() == axes &&
              std::equal(resets->shape(), resets->shape() + axes, steps->shape()),
          "resets",
          "have the rows and steps of x");
  batch.resets = {.data = static_cast<const std::uint8_t*>(resets->data()),
                  .row_stride = resets->strides(0),
                  .step_stride = resets->strides(static_cast<int>(axes - 1)),
                  .starts = layout.starts};
  return batch;
}

// The first numbers of the tokens of each row, all of them within the listed rows.
void require_numbers(const Layout& layout,
                     const std::int64_t* numbers,
                     py::ssize_t n,
                     const std::int64_t* starts,
                     py::ssize_t distinct) {
  require(numbers != nullptr && starts != nullptr && layout.lengths != nullptr,
          "tokens",
          "have numbers, and rows have lengths");
  for (std::ptrdiff_t b = 0; b < layout.batch; ++b) {
    require(starts[b] >= 0 && starts[b] <= n - layout.lengths[b],
            "starts",
            "begin rows that stay within the numbers");
  }
  std::uint64_t most = 0;
  for (py::ssize_t i = 0; i < n; ++i) most = std::max(most, static_cast<std::uint64_t>(numbers[i]));
  require(n == 0 || most < static_cast<std::uint64_t>(distinct), "numbers", "be below the rows");
}

// How rows of S come as numbers of T; null if they can be read where they are.
template <class T, class S>
auto reader_of() -> void (*)(const kernels::GatherBlock&) noexcept {
  const kernels::RowKernels& rows = runtime::registry().rows;
  if constexpr (std::is_same_v<T, S>) {
    return nullptr;
  } else if constexpr (std::is_same_v<S, Float16>) {
    return rows.gather_f16;
  } else if constexpr (std::is_same_v<S, BFloat16>) {
    return rows.gather_bf16;
  } else {
    return rows.gather_int8;
  }
}

// Tokens, embedrnn._sequences.Tokens, as rows of so many numbers of T.
template <class T>
ops::Tokens
tokens_of(const py::tuple& tokens, const Layout& layout, const ops::PackedCell<T>& cell) {
  require(tokens.size() == 6, "tokens", "be a tuple of six");
  const auto table = tokens[0].cast<py::array>();
  const auto storage = tokens[1].cast<py::str>();
  const auto path = tokens[5].cast<py::str>();
  const py::ssize_t distinct = size_of(tokens, 2), n = size_of(tokens, 3);
  ops::Tokens view{.table = static_cast<const char*>(table.data()),
                   .row_stride = table.ndim() == 2 ? table.strides(0) : 0,
                   .row_bytes = table.ndim() == 2 ? table.shape(1) * table.itemsize() : 0,
                   .rows = numbers_of(tokens, 2, "rows", {distinct}),
                   .distinct = distinct,
                   .numbers = numbers_of(tokens, 3, "numbers", {n}),
                   .starts = numbers_of(tokens, 4, "starts", {layout.batch}),
                   .path = is_word(path, "distinct") ? ops::Path::kDistinct
                           : is_word(path, "frozen") ? ops::Path::kFrozen
                                                     : ops::Path::kSteps};
  require_numbers(layout, view.numbers, n, view.starts, distinct);
  require(table.ndim() == 2 && has_whole_rows(table), "table", "consist of whole rows");
  require(is_aligned(table), "table", "be aligned");
  for (py::ssize_t i = 0; i < distinct; ++i)
    require(view.rows[i] >= 0 && view.rows[i] < table.shape(0), "rows", "be in the table");
  const py::ssize_t width =
      view.path == ops::Path::kFrozen ? cell.cell().gates * cell.hidden() : cell.inputs();
  in_storage(storage, table, [&]<class S>(S) {
    constexpr bool kFits =
        std::is_same_v<S, T> || (std::is_same_v<T, float> && !std::is_same_v<S, double>);
    require(kFits, "table", "have numbers that those of the cell hold");
    const py::ssize_t header = std::is_same_v<S, Int8Row> ? kInt8RowHeader : 0;
    require(table.shape(1) == width + header, "table", "have the width that the cell calls for");
    if constexpr (kFits) view.read = reader_of<T, S>();
    return true;
  });
  return view;
}

// Sequences beside those of a call, with their rows and steps.
template <class P>
ops::Sequences<P> sequences_beside(const py::array* steps,
                                   py::array& array,
                                   const char* name,
                                   std::ptrdiff_t width,
                                   const Layout& layout) {
  const ops::Sequences<P> sequences = sequences_of<P>(array, name, width, layout);
  require(std::equal(array.shape(), array.shape() + array.ndim() - 1, steps->shape()),
          name,
          "have the rows and steps of x");
  return sequences;
}

py::array new_tape(const PackedCell& cell, py::ssize_t pairs, bool has_input) {
  const auto make = [&]<class T>(const ops::PackedCell<T>& packed) -> py::array {
    return py::array_t<T>({pairs, packed.record(has_input)});
  };
  return std::visit(make, cell.packed);
}

bool pays_distinct(const PackedCell& cell, py::ssize_t pairs, py::ssize_t distinct) {
  return std::visit([&](const auto& packed) { return packed.pays_distinct(pairs, distinct); },
                    cell.packed);
}

void project(const PackedCell& cell, py::array x, py::array out) {
  const auto run = [&]<class T>(const ops::PackedCell<T>& packed) {
    const auto view = matrix_view<const T>(x, "x");
    require(view.cols == packed.inputs() && has_whole_rows(x), "x", "have whole rows of inputs");
    T* const products =
        contiguous_data<T>(out, "out", {view.rows, packed.cell().gates * packed.hidden()});
    without_gil([&] {
      packed.project(view, products);
      return true;
    });
  };
  std::visit(run, cell.packed);
}

template <class P>
P* tape_data(py::array& tape, const Layout& layout, std::ptrdiff_t record) {
  return contiguous_data<P>(tape, "tape", {layout.pairs(), record});
}

// What is pooled, a tuple of how and into what, or None.
template <class T>
ops::Pool<T> pool_of(const py::object& pool, py::ssize_t batch, py::ssize_t hidden) {
  if (pool.is_none()) return {};
  const auto fields = pool.cast<py::tuple>();
  require(fields.size() == 2, "pool", "be a tuple of two");
  auto array = fields[1].cast<py::array>();
  require_shape(array, "pool", {batch, hidden});
  require(has_whole_rows(array), "pool", "consist of whole rows");
  return {.data = data<T>(array, "pool"),
          .row_stride = stride<T>(array, 0),
          .is_max = is_word(fields[0].cast<py::str>(), "max")};
}

void forward(const PackedCell& cell,
             const py::object& x,
             const py::tuple& rows,
             const OptionalArray& resets,
             const py::tuple& initial,
             bool reverse,
             OptionalArray output,
             const py::tuple& last,
             py::ssize_t at,
             OptionalArray tape,
             const py::object& pool) {
  const bool has_tokens = py::isinstance<py::tuple>(x);
  OptionalArray array;
  if (!has_tokens) array = x.cast<py::array>();
  const py::array* const steps = array ? &*array : output ? &*output : nullptr;
  const Layout layout = layout_of(rows, steps);
  const auto run = [&]<class T>(const ops::PackedCell<T>& packed) {
    ops::RunArgs<T> args{
        .batch = batch_of(steps, layout, resets, reverse),
        .x = {},
        .tokens = {},
        .initial = states_of<T, const T>(packed, initial, at, layout.batch, "initial"),
        .output = {},
        .last = filled_states_of<T>(packed, last, at, layout.batch, "last"),
        .pool = pool_of<T>(pool, layout.batch, packed.hidden()),
        .tape = tape ? tape_data<T>(*tape, layout, packed.record(!has_tokens)) : nullptr};
    if (has_tokens) {
      args.tokens = tokens_of(py::reinterpret_borrow<py::tuple>(x), layout, packed);
    } else {
      args.x = sequences_of<const T>(*array, "x", packed.inputs(), layout);
    }
    if (output)
      args.output = sequences_beside<T>(steps, *output, "output", packed.hidden(), layout);
    without_gil([&] {
      packed.forward(args);
      return true;
    });
  };
  std::visit(run, cell.packed);
}

// The gradient of a weight or a bias, or null where none is wanted.
template <class T>
T* gradient(const py::tuple& grads,
            std::size_t i,
            const char* name,
            std::initializer_list<py::ssize_t> shape) {
  const py::handle grad = PyTuple_GET_ITEM(grads.ptr(), static_cast<py::ssize_t>(i));
  if (grad.is_none()) return nullptr;
  require(py::isinstance<py::array>(grad), name, "be an array");
  auto array = py::reinterpret_borrow<py::array>(grad);
  return contiguous_data<T>(array, name, shape);
}

// The gradients of tokens, embedrnn._sequences.TokenGrads.
template <class T>
ops::TokenGrads<T>
token_grads_of(const py::tuple& tokens, const Layout& layout, py::ssize_t width) {
  require(tokens.size() == 4, "grad_x", "be an array or a tuple of four");
  const py::ssize_t n = size_of(tokens, 0);
  auto inputs = tokens[2].cast<py::array>(), grad = tokens[3].cast<py::array>();
  require(inputs.ndim() == 2, "inputs", "have two axes");
  const py::ssize_t distinct = inputs.shape(0);
  const ops::TokenGrads<T> grads{.numbers = numbers_of(tokens, 0, "numbers", {n}),
                                 .starts = numbers_of(tokens, 1, "starts", {layout.batch}),
                                 .distinct = distinct,
                                 .inputs =
                                     contiguous_data<const T>(inputs, "inputs", {distinct, width}),
                                 .grad = contiguous_data<T>(grad, "grad", {distinct, width})};
  require_numbers(layout, grads.numbers, n, grads.starts, distinct);
  return grads;
}

void backward(const PackedCell& cell,
              const py::tuple& rows,
              const OptionalArray& resets,
              bool reverse,
              py::array tape,
              OptionalArray grad_output,
              const py::tuple& grad_last,
              const py::object& grad_x,
              const py::tuple& grad_initial,
              const py::tuple& grads,
              py::ssize_t at) {
  const bool has_tokens = py::isinstance<py::tuple>(grad_x);
  OptionalArray array;
  if (!has_tokens && !grad_x.is_none()) array = grad_x.cast<py::array>();
  const py::array* const steps = array ? &*array : grad_output ? &*grad_output : nullptr;
  const Layout layout = layout_of(rows, steps);
  require(std::ssize(grads) == 5, "grads", "be those of two weights, two biases and a diagonal");
  const auto run = [&]<class T>(const ops::PackedCell<T>& packed) {
    const py::ssize_t weight_rows = packed.cell().gates * packed.hidden();
    ops::BackArgs<T> args{
        .batch = batch_of(steps, layout, resets, reverse),
        .tape = tape_data<const T>(tape, layout, packed.record(!has_tokens)),
        .grad_output = {},
        .grad_last = states_of<T, const T>(packed, grad_last, at, layout.batch, "grad_last"),
        .grad_x = {},
        .tokens = {},
        .grad_initial = states_of<T, T>(packed, grad_initial, at, layout.batch, "grad_initial"),
        .grad_weight_ih = gradient<T>(grads, 0, "grad_weight_ih", {weight_rows, packed.inputs()}),
        .grad_weight_hh = gradient<T>(grads, 1, "grad_weight_hh", {weight_rows, packed.hidden()}),
        .grad_bias_ih = gradient<T>(grads, 2, "grad_bias_ih", {weight_rows}),
        .grad_bias_hh = gradient<T>(grads, 3, "grad_bias_hh", {weight_rows}),
        .grad_diagonal =
            gradient<T>(grads, 4, "grad_diagonal", {packed.cell().diagonals * packed.hidden()})};
    require(args.grad_weight_ih != nullptr && args.grad_weight_hh != nullptr,
            "grads",
            "have those of the weights");
    const auto is_wanted = [](const auto& state) { return state.data != nullptr; };
    const std::ptrdiff_t wanted = std::ranges::count_if(args.grad_initial, is_wanted);
    require(
        wanted == 0 || wanted == packed.cell().states, "grad_initial", "have all states or none");
    if (has_tokens) {
      args.tokens =
          token_grads_of<T>(py::reinterpret_borrow<py::tuple>(grad_x), layout, packed.inputs());
    } else if (array) {
      args.grad_x = sequences_of<T>(*array, "grad_x", packed.inputs(), layout);
    }
    if (grad_output)
      args.grad_output =
          sequences_beside<const T>(steps, *grad_output, "grad_output", packed.hidden(), layout);
    without_gil([&] {
      packed.backward(args);
      return true;
    });
  };
  std::visit(run, cell.packed);
}

void step(PackedCell& cell,
          py::array x_t,
          const py::tuple& states,
          const py::tuple& new_states,
          py::ssize_t at) {
  const auto run = [&]<class T>(ops::PackedCell<T>& packed) {
    require(x_t.ndim() == 2, "x_t", "have two axes");
    require(x_t.shape(1) == packed.inputs(), "x_t", "have the cell's width");
    const py::ssize_t rows = x_t.shape(0);
    const ops::RunArgs<T> args{.batch = {.rows = rows, .time = 1, .resets = {}},
                               .x = {.data = data<const T>(x_t, "x_t"),
                                     .col_stride = stride<T>(x_t, 1),
                                     .row_stride = stride<T>(x_t, 0)},
                               .tokens = {},
                               .initial = states_of<T, const T>(packed, states, at, rows, "states"),
                               .output = {},
                               .last =
                                   filled_states_of<T>(packed, new_states, at, rows, "new_states")};
    without_gil([&] {
      packed.step(args);
      return true;
    });
  };
  std::visit(run, cell.packed);
}

}  // namespace

void register_recurrence(py::module_& module) {
  // An ordinary class to Python: the metaclass of pybind11 is for static properties.
  py::class_<PackedCell>(
      module, "PackedCell", py::metaclass(reinterpret_cast<PyObject*>(&PyType_Type)))
      .def("forward",
           &forward,
           py::arg("x"),
           py::arg("rows"),
           py::arg("resets"),
           py::arg("initial"),
           py::arg("reverse"),
           py::arg("output"),
           py::arg("last"),
           py::arg("at"),
           py::arg("tape") = py::none(),
           py::arg("pool") = py::none())
      .def("holds",
           &holds_weights,
           py::arg("cell"),
           py::arg("weight_ih"),
           py::arg("weight_hh"),
           py::arg("bias_ih"),
           py::arg("bias_hh"),
           py::arg("diagonal") = py::none())
      .def("backward",
           &backward,
           py::arg("rows"),
           py::arg("resets"),
           py::arg("reverse"),
           py::arg("tape"),
           py::arg("grad_output"),
           py::arg("grad_last"),
           py::arg("grad_x"),
           py::arg("grad_initial"),
           py::arg("grads"),
           py::arg("at"))
      .def("project", &project, py::arg("x"), py::arg("out"))
      .def("new_tape", &new_tape, py::arg("pairs"), py::arg("has_input") = true)
      .def("pays_distinct", &pays_distinct, py::arg("pairs"), py::arg("distinct"))
      .def("step", &step, py::arg("x_t"), py::arg("states"), py::arg("new_states"), py::arg("at"));
  module.def("pack",
             &pack,
             py::arg("cell"),
             py::arg("weight_ih"),
             py::arg("weight_hh"),
             py::arg("bias_ih"),
             py::arg("bias_hh"),
             py::arg("diagonal") = py::none());
}

}  // namespace embedrnn::bindings
