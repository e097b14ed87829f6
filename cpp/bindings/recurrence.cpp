// The packed cell, which is one class for every cell and both dtypes.
#include <memory>
#include <numeric>
#include <span>
#include <variant>

#include "bindings/arrays.h"
#include "bindings/module.h"
#include "ops/recurrence/packed_cell.h"

namespace embedrnn::bindings {
namespace {

// The packed cell that Python holds, in the dtype of its weights.
struct PackedCell {
  std::variant<ops::PackedCell<float>, ops::PackedCell<double>> packed;
};

template <class T>
PackedCell pack_in(const ops::Cell& cell,
                   py::array& weight_ih,
                   py::array& weight_hh,
                   OptionalArray& bias_ih,
                   OptionalArray& bias_hh) {
  const ops::CellWeights<T> weights{.weight_ih = matrix_view<const T>(weight_ih, "weight_ih"),
                                    .weight_hh = matrix_view<const T>(weight_hh, "weight_hh"),
                                    .bias_ih = vector_view<const T>(bias_ih, "bias_ih"),
                                    .bias_hh = vector_view<const T>(bias_hh, "bias_hh")};
  auto packed = without_gil([&] { return std::make_unique<ops::PackedCell<T>>(cell, weights); });
  return {std::move(*packed)};
}

PackedCell pack(std::string_view cell,
                py::array weight_ih,
                py::array weight_hh,
                OptionalArray bias_ih,
                OptionalArray bias_hh) {
  const ops::Cell& kind = ops::find_cell(cell);
  require(weight_ih.ndim() == 2, "weight_ih", "have two axes");
  require(weight_hh.ndim() == 2, "weight_hh", "have two axes");
  const py::ssize_t hidden = weight_hh.shape(1), rows = kind.gates * hidden;
  require_shape(weight_hh, "weight_hh", {rows, hidden});
  require_shape(weight_ih, "weight_ih", {rows, weight_ih.shape(1)});
  require_shape(bias_ih, "bias_ih", {rows});
  require_shape(bias_hh, "bias_hh", {rows});
  return holds<double>(weight_ih) ? pack_in<double>(kind, weight_ih, weight_hh, bias_ih, bias_hh)
                                  : pack_in<float>(kind, weight_ih, weight_hh, bias_ih, bias_hh);
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

// Sequences of so many features: (B, T, width), or (N, width) with the starts of rows or of steps.
template <class P>
ops::Sequences<P> sequences_of(py::array& array,
                               const char* name,
                               std::ptrdiff_t width,
                               const std::int64_t* row_starts,
                               const std::int64_t* step_starts) {
  const py::ssize_t axes = row_starts != nullptr || step_starts != nullptr ? 2 : 3;
  require(array.ndim() == axes, name, "have the axes that its layout calls for");
  require(array.shape(static_cast<int>(axes - 1)) == width, name, "have the cell's width");
  return {.data = data<P>(array, name),
          .col_stride = stride<P>(array, static_cast<int>(axes - 1)),
          .row_stride = stride<P>(array, 0),
          .step_stride = stride<P>(array, axes == 2 ? 0 : 1),
          .row_starts = row_starts,
          .step_starts = step_starts};
}

// Numbers of rows and steps, and where those of an (N, width) array start.
struct Layout {
  std::ptrdiff_t batch, time;
  const std::int64_t *lengths, *row_starts, *step_starts;

  // Of all valid steps.
  std::ptrdiff_t pairs() const {
    return lengths != nullptr ? std::accumulate(lengths, lengths + batch, std::ptrdiff_t{0})
                              : batch * time;
  }
};

// What the layout names must be there, in an array of n rows of features.
void require_within(const Layout& layout, py::ssize_t n) {
  for (std::ptrdiff_t b = 0; layout.row_starts != nullptr && b < layout.batch; ++b) {
    require(layout.lengths[b] >= 0, "lengths", "not be negative");
    require(layout.row_starts[b] >= 0 && layout.row_starts[b] + layout.lengths[b] <= n,
            "row_starts",
            "begin rows that stay within x");
  }
  std::ptrdiff_t alive = layout.batch;
  for (std::ptrdiff_t t = 0; layout.step_starts != nullptr && t < layout.time; ++t) {
    while (layout.lengths[alive - 1] <= t) --alive;
    require(layout.step_starts[t] >= 0 && layout.step_starts[t] + alive <= n,
            "step_starts",
            "begin steps that stay within x");
  }
}

// How x, or an array in its place, is laid out.
Layout layout_of(const py::array& x,
                 OptionalArray& lengths,
                 OptionalArray& row_starts,
                 OptionalArray& step_starts) {
  require(!(row_starts && step_starts), "row_starts", "be absent where there are step_starts");
  const bool padded = !row_starts && !step_starts;
  require(padded ? x.ndim() == 3 : lengths.has_value(), "lengths", "be given, or x be padded");
  const py::ssize_t batch = lengths ? lengths->size() : x.shape(0);
  const auto* const valid = contiguous_data<const std::int64_t>(lengths, "lengths", {batch});
  std::ptrdiff_t time = 0;
  if (padded) {
    require(x.shape(0) == batch, "lengths", "be as many as the rows");
    time = x.shape(1);
  } else if (batch > 0) {
    time = *std::max_element(valid, valid + batch);
  }
  if (step_starts)
    require(std::is_sorted(valid, valid + batch, std::greater<>()), "lengths", "never rise");
  const Layout layout{batch,
                      time,
                      valid,
                      contiguous_data<const std::int64_t>(row_starts, "row_starts", {batch}),
                      contiguous_data<const std::int64_t>(step_starts, "step_starts", {time})};
  if (!padded) require_within(layout, x.shape(0));
  return layout;
}

// The rows of a call on x. A truth value may be any byte but 0.
ops::Batch
batch_of(const py::array& x, const Layout& layout, const OptionalArray& resets, bool reverse) {
  ops::Batch batch{.rows = layout.batch,
                   .time = layout.time,
                   .lengths = layout.lengths,
                   .reverse = reverse,
                   .resets = {}};
  if (!resets) return batch;
  require(holds<bool>(*resets), "resets", "be bool");
  require(resets->ndim() == x.ndim() - 1 &&
              std::equal(resets->shape(), resets->shape() + resets->ndim(), x.shape()),
          "resets",
          "have the rows and steps of x");
  batch.resets = {.data = static_cast<const std::uint8_t*>(resets->data()),
                  .row_stride = resets->strides(0),
                  .step_stride = resets->strides(static_cast<int>(resets->ndim() - 1)),
                  .row_starts = layout.row_starts,
                  .step_starts = layout.step_starts};
  return batch;
}

// Sequences beside x, with its rows and steps.
template <class P>
ops::Sequences<P> sequences_beside(const py::array& x,
                                   py::array& array,
                                   const char* name,
                                   std::ptrdiff_t width,
                                   const Layout& layout) {
  const ops::Sequences<P> sequences =
      sequences_of<P>(array, name, width, layout.row_starts, layout.step_starts);
  require(std::equal(x.shape(), x.shape() + x.ndim() - 1, array.shape()),
          name,
          "have the rows and steps of x");
  return sequences;
}

py::array new_tape(const PackedCell& cell, py::ssize_t pairs) {
  const auto make = [&]<class T>(const ops::PackedCell<T>& packed) -> py::array {
    return py::array_t<T>({pairs, packed.record()});
  };
  return std::visit(make, cell.packed);
}

template <class P>
P* tape_data(py::array& tape, const Layout& layout, std::ptrdiff_t record) {
  return contiguous_data<P>(tape, "tape", {layout.pairs(), record});
}

void forward(const PackedCell& cell,
             py::array x,
             OptionalArray lengths,
             OptionalArray row_starts,
             OptionalArray step_starts,
             const OptionalArray& resets,
             const py::tuple& initial,
             bool reverse,
             OptionalArray output,
             const py::tuple& last,
             py::ssize_t at,
             OptionalArray tape) {
  const Layout layout = layout_of(x, lengths, row_starts, step_starts);
  const auto run = [&]<class T>(const ops::PackedCell<T>& packed) {
    ops::RunArgs<T> args{
        .batch = batch_of(x, layout, resets, reverse),
        .x = sequences_of<const T>(x, "x", packed.inputs(), layout.row_starts, layout.step_starts),
        .initial = states_of<T, const T>(packed, initial, at, layout.batch, "initial"),
        .output = {},
        .last = states_of<T, T>(packed, last, at, layout.batch, "last"),
        .tape = tape ? tape_data<T>(*tape, layout, packed.record()) : nullptr};
    if (output) args.output = sequences_beside<T>(x, *output, "output", packed.hidden(), layout);
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

void backward(const PackedCell& cell,
              OptionalArray lengths,
              OptionalArray row_starts,
              OptionalArray step_starts,
              const OptionalArray& resets,
              bool reverse,
              py::array tape,
              OptionalArray grad_output,
              const py::tuple& grad_last,
              py::array grad_x,
              const py::tuple& grad_initial,
              const py::tuple& grads,
              py::ssize_t at) {
  const Layout layout = layout_of(grad_x, lengths, row_starts, step_starts);
  require(std::ssize(grads) == 4, "grads", "be those of two weights and two biases");
  const auto run = [&]<class T>(const ops::PackedCell<T>& packed) {
    const py::ssize_t rows = packed.cell().gates * packed.hidden();
    ops::BackArgs<T> args{
        .batch = batch_of(grad_x, layout, resets, reverse),
        .tape = tape_data<const T>(tape, layout, packed.record()),
        .grad_output = {},
        .grad_last = states_of<T, const T>(packed, grad_last, at, layout.batch, "grad_last"),
        .grad_x = sequences_of<T>(
            grad_x, "grad_x", packed.inputs(), layout.row_starts, layout.step_starts),
        .grad_initial = states_of<T, T>(packed, grad_initial, at, layout.batch, "grad_initial"),
        .grad_weight_ih = gradient<T>(grads, 0, "grad_weight_ih", {rows, packed.inputs()}),
        .grad_weight_hh = gradient<T>(grads, 1, "grad_weight_hh", {rows, packed.hidden()}),
        .grad_bias_ih = gradient<T>(grads, 2, "grad_bias_ih", {rows}),
        .grad_bias_hh = gradient<T>(grads, 3, "grad_bias_hh", {rows})};
    require(args.grad_weight_ih != nullptr && args.grad_weight_hh != nullptr,
            "grads",
            "have those of the weights");
    for (const auto& state :
         std::span(args.grad_initial).first(static_cast<std::size_t>(packed.cell().states)))
      require(state.data != nullptr, "grad_initial", "have all states");
    if (grad_output)
      args.grad_output =
          sequences_beside<const T>(grad_x, *grad_output, "grad_output", packed.hidden(), layout);
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
                               .initial = states_of<T, const T>(packed, states, at, rows, "states"),
                               .output = {},
                               .last = states_of<T, T>(packed, new_states, at, rows, "new_states")};
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
           py::arg("lengths"),
           py::arg("row_starts"),
           py::arg("step_starts"),
           py::arg("resets"),
           py::arg("initial"),
           py::arg("reverse"),
           py::arg("output"),
           py::arg("last"),
           py::arg("at"),
           py::arg("tape"))
      .def("backward",
           &backward,
           py::arg("lengths"),
           py::arg("row_starts"),
           py::arg("step_starts"),
           py::arg("resets"),
           py::arg("reverse"),
           py::arg("tape"),
           py::arg("grad_output"),
           py::arg("grad_last"),
           py::arg("grad_x"),
           py::arg("grad_initial"),
           py::arg("grads"),
           py::arg("at"))
      .def("new_tape", &new_tape, py::arg("pairs"))
      .def("step", &step, py::arg("x_t"), py::arg("states"), py::arg("new_states"), py::arg("at"));
  module.def("pack",
             &pack,
             py::arg("cell"),
             py::arg("weight_ih"),
             py::arg("weight_hh"),
             py::arg("bias_ih"),
             py::arg("bias_hh"));
}

}  // namespace embedrnn::bindings
