#include "ops/embedding.h"

#include <string_view>

#include "bindings/arrays.h"
#include "bindings/module.h"
#include "bindings/plain.h"

namespace embedrnn::bindings {
namespace {

IndexMode index_mode(std::string_view name) {
  assert(name == "raise" || name == "wrap" || name == "clip");
  return name == "raise" ? IndexMode::kRaise : name == "wrap" ? IndexMode::kWrap : IndexMode::kClip;
}

// Strides of an array seen as (n, cols) rows, in bytes: `leading` axes run over the rows. Arrays of
// more axes than a matrix are C-contiguous.
struct RowStrides {
  std::ptrdiff_t row, col;
};

RowStrides row_strides(const py::array& array, std::ptrdiff_t leading, std::ptrdiff_t cols) {
  const std::ptrdiff_t itemsize = array.itemsize();
  if (leading == 1 && array.ndim() == 1) return {array.strides(0), itemsize};
  if (leading == 1 && array.ndim() == 2) return {array.strides(0), array.strides(1)};
  assert(array.flags() & py::array::c_style);
  return {cols * itemsize, itemsize};
}

std::ptrdiff_t row_elements(const py::array& table) {
  std::ptrdiff_t elements = 1;
  for (py::ssize_t axis = 1; axis < table.ndim(); ++axis) elements *= table.shape(axis);
  return elements;
}

std::ptrdiff_t
gather(const py::array& weight, const py::array& indices, py::array out, std::string_view mode) {
  const std::ptrdiff_t cols = row_elements(weight);
  const RowStrides from = row_strides(weight, 1, cols);
  const RowStrides to = row_strides(out, indices.ndim(), cols);
  const ops::GatherArgs args{.table = static_cast<const char*>(weight.data()),
                             .n_rows = weight.shape(0),
                             .cols = cols,
                             .itemsize = weight.itemsize(),
                             .table_row_stride = from.row,
                             .table_col_stride = from.col,
                             .indices = index_view(indices),
                             .mode = index_mode(mode),
                             .out = static_cast<char*>(out.mutable_data()),
                             .out_row_stride = to.row,
                             .out_col_stride = to.col};
  return without_gil([&] { return ops::gather(args); });
}

template <class T, class U>
std::ptrdiff_t scatter_add_as(py::array& target, const py::array& indices, py::array& updates) {
  const ops::ScatterAddArgs<T, U> args{.target = matrix_view<T>(target),
                                       .indices = index_view(indices),
                                       .updates = matrix_view<const U>(updates)};
  return without_gil([&] { return ops::scatter_add(args); });
}

// Calls run(U{}) for the integers of the target: they are added by their bits, in which signed and
// unsigned sums are the same.
template <class Run>
auto in_integer_bits(const py::array& target, const Run& run) {
  switch (target.itemsize()) {
  case 1:
    return run(std::uint8_t{});
  case 2:
    return run(std::uint16_t{});
  case 4:
    return run(std::uint32_t{});
  default:
    return run(std::uint64_t{});
  }
}

std::ptrdiff_t scatter_add(py::array target, const py::array& indices, py::array updates) {
  if (target.dtype().kind() != 'f') {
    return in_integer_bits(
        target, [&]<class U>(U) { return scatter_add_as<U, U>(target, indices, updates); });
  }
  if (holds<double>(target)) return scatter_add_as<double, double>(target, indices, updates);
  if (holds<double>(updates)) return scatter_add_as<float, double>(target, indices, updates);
  return scatter_add_as<float, float>(target, indices, updates);
}

py::object try_gather(py::handle weight, py::handle indices, py::handle out, py::handle mode) {
  const auto table = plain_array(weight, kNumbers), ids = plain_array(indices, kIntegers);
  if (!table || !ids || table->ndim() == 0) return py::none();
  if (!PyUnicode_Check(mode.ptr()) || PyUnicode_CompareWithASCIIString(mode.ptr(), "raise") != 0)
    return py::none();
  const Shape shape = rows_shape(*ids, *table);
  std::optional<py::array> rows;
  if (!out.is_none()) {
    rows = plain_array(out, kNumbers);
    if (!rows || !rows->writeable() || !same_dtype(*rows, *table) || !has_shape(*rows, shape) ||
        !apart(*rows, *table) || !apart(*rows, *ids))
      return py::none();
  } else if (shape.empty()) {
    return py::none();  // a scalar
  } else {
    rows = py::array(table->dtype(), shape);
  }
  const std::ptrdiff_t cols = columns(*table, 1), itemsize = table->itemsize();
  const ops::GatherArgs args{.table = static_cast<const char*>(table->data()),
                             .n_rows = table->shape(0),
                             .cols = cols,
                             .itemsize = itemsize,
                             .table_row_stride = cols * itemsize,
                             .table_col_stride = itemsize,
                             .indices = index_view(*ids),
                             .mode = IndexMode::kRaise,
                             .out = static_cast<char*>(rows->mutable_data()),
                             .out_row_stride = cols * itemsize,
                             .out_col_stride = itemsize,
                             .old_out = !out.is_none()};
  if (without_gil([&] { return ops::gather(args); }) != ops::kAllInRange) return py::none();
  return *rows;
}

template <class T>
bool add_plain(py::array& target, const py::array& indices, const py::array& updates) {
  const std::ptrdiff_t cols = columns(target, 1);
  const ops::ScatterAddArgs<T, T> args{
      .target = {static_cast<T*>(target.mutable_data()), target.shape(0), cols, cols, 1},
      .indices = index_view(indices),
      .updates = {static_cast<const T*>(updates.data()), indices.size(), cols, cols, 1}};
  return without_gil([&] { return ops::scatter_add(args); }) == ops::kAllInRange;
}

bool try_scatter_add(py::handle target, py::handle indices, py::handle updates) {
  auto table = plain_array(target, "fiu");
  const auto ids = plain_array(indices, kIntegers), values = plain_array(updates, "fiu");
  if (!table || !ids || !values || table->ndim() == 0 || !table->writeable()) return false;
  if (!same_dtype(*table, *values) || !has_shape(*values, rows_shape(*ids, *table)) ||
      !apart(*table, *values) || !apart(*table, *ids))
    return false;
  if (holds<float>(*table)) return add_plain<float>(*table, *ids, *values);
  if (holds<double>(*table)) return add_plain<double>(*table, *ids, *values);
  if (table->dtype().kind() == 'f') return false;
  return in_integer_bits(*table, [&]<class U>(U) { return add_plain<U>(*table, *ids, *values); });
}

}  // namespace

void register_embedding(py::module_& module) {
  module.def(
      "gather", &gather, py::arg("weight"), py::arg("indices"), py::arg("out"), py::arg("mode"));
  module.def(
      "scatter_add", &scatter_add, py::arg("target"), py::arg("indices"), py::arg("updates"));
  module.def("try_gather",
             &try_gather,
             py::arg("weight"),
             py::arg("indices"),
             py::arg("out"),
             py::arg("mode"));
  module.def("try_scatter_add",
             &try_scatter_add,
             py::arg("target"),
             py::arg("indices"),
             py::arg("updates"));
}

}  // namespace embedrnn::bindings
