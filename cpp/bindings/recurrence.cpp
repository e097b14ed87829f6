// The packed cell, which is one class for every cell and both dtypes.
#include <memory>
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
};

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
  return {batch,
          time,
          valid,
          contiguous_data<const std::int64_t>(row_starts, "row_starts", {batch}),
          contiguous_data<const std::int64_t>(step_starts, "step_starts", {time})};
}

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

void forward(const PackedCell& cell,
             py::array x,
             OptionalArray lengths,
             OptionalArray row_starts,
             OptionalArray step_starts,
             const py::tuple& initial,
             bool reverse,
             OptionalArray output,
             const py::tuple& last,
             py::ssize_t at) {
  const Layout layout = layout_of(x, lengths, row_starts, step_starts);
  if (x.ndim() == 2) require_within(layout, x.shape(0));
  const auto run = [&]<class T>(const ops::PackedCell<T>& packed) {
    ops::RunArgs<T> args{
        .batch = layout.batch,
        .time = layout.time,
        .x = sequences_of<const T>(x, "x", packed.inputs(), layout.row_starts, layout.step_starts),
        .lengths = layout.lengths,
        .reverse = reverse,
        .initial = states_of<T, const T>(packed, initial, at, layout.batch, "initial"),
        .output = {},
        .last = states_of<T, T>(packed, last, at, layout.batch, "last")};
    if (output) {
      args.output = sequences_of<T>(
          *output, "output", packed.hidden(), layout.row_starts, layout.step_starts);
      require(std::equal(x.shape(), x.shape() + x.ndim() - 1, output->shape()),
              "output",
              "have the rows and steps of x");
    }
    without_gil([&] {
      packed.forward(args);
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
    const ops::RunArgs<T> args{.batch = rows,
                               .time = 1,
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
           py::arg("initial"),
           py::arg("reverse"),
           py::arg("output"),
           py::arg("last"),
           py::arg("at"))
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
