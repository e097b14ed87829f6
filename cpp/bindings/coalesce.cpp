#include "ops/coalesce.h"

#include <utility>

#include "bindings/arrays.h"
#include "bindings/module.h"
#include "bindings/plain.h"
#include "ops/bag.h"

namespace embedrnn::bindings {
namespace {

// Returns the first bad position or -1, and the number of distinct rows.
std::pair<std::ptrdiff_t, std::ptrdiff_t> group_rows(const py::array& indices,
                                                     std::ptrdiff_t n_rows,
                                                     py::array rows,
                                                     py::array positions,
                                                     py::array offsets) {
  const ops::GroupArgs args{.indices = index_view(indices),
                            .n_rows = n_rows,
                            .rows = data<std::int64_t>(rows),
                            .positions = data<std::int64_t>(positions),
                            .offsets = data<std::int64_t>(offsets)};
  const ops::Grouped grouped = without_gil([&] { return ops::group_rows(args); });
  return {grouped.bad, grouped.count};
}

// A new array of int64 with the first n of these.
py::array copy_of(const std::int64_t* numbers, std::ptrdiff_t n) {
  return py::array_t<std::int64_t>(n, numbers);
}

template <class T>
py::object
coalesce_plain(const py::array& indices, const py::array& updates, std::ptrdiff_t n_rows) {
  const std::ptrdiff_t n = indices.size(), cols = columns(updates, indices.ndim());
  const runtime::Scratch scratch(2 * runtime::scratch_bytes<std::int64_t>(n) +
                                 runtime::scratch_bytes<std::int64_t>(n + 1));
  runtime::Carver carver(scratch.data());
  auto* const rows = carver.take<std::int64_t>(n);
  auto* const positions = carver.take<std::int64_t>(n);
  auto* const offsets = carver.take<std::int64_t>(n + 1);
  const ops::GroupArgs group{.indices = index_view(indices),
                             .n_rows = n_rows,
                             .rows = rows,
                             .positions = positions,
                             .offsets = offsets};
  const ops::Grouped grouped = without_gil([&] { return ops::group_rows(group); });
  if (grouped.bad != ops::kAllInRange) return py::none();
  Shape shape(updates.shape() + indices.ndim(), updates.shape() + updates.ndim());
  shape.insert(shape.begin(), grouped.count);
  py::array values(updates.dtype(), shape);
  const std::ptrdiff_t row_bytes = cols * std::ptrdiff_t{sizeof(T)};
  const ops::BagSumArgs<T> sums{
      .table = {static_cast<const char*>(updates.data()), n, cols, row_bytes},
      .bags = {.indices = {positions, n, IndexType::kInt64, sizeof(std::int64_t)},
               .offsets = offsets,
               .n = grouped.count},
      .weights = nullptr,
      .mean = false,
      .out = static_cast<char*>(values.mutable_data()),
      .out_row_stride = row_bytes};
  if (without_gil([&] { return ops::bag_sum(sums); }) != ops::kAllInRange) return py::none();
  return py::make_tuple(copy_of(rows, grouped.count), values);
}

py::object try_coalesce(py::handle indices, py::handle updates, py::handle num_embeddings) {
  const auto ids = plain_array(indices, kIntegers), values = plain_array(updates, "f");
  if (!ids || !values || !PyLong_CheckExact(num_embeddings.ptr())) return py::none();
  const Shape leading(ids->shape(), ids->shape() + ids->ndim());
  if (values->ndim() < ids->ndim() || !std::equal(leading.begin(), leading.end(), values->shape()))
    return py::none();
  const py::ssize_t n_rows = PyLong_AsSsize_t(num_embeddings.ptr());
  if (n_rows < 0) {
    PyErr_Clear();  // of a number that does not fit
    return py::none();
  }
  if (holds<float>(*values)) return coalesce_plain<float>(*ids, *values, n_rows);
  if (holds<double>(*values)) return coalesce_plain<double>(*ids, *values, n_rows);
  return py::none();
}

}  // namespace

void register_coalesce(py::module_& module) {
  module.def("group_rows",
             &group_rows,
             py::arg("indices"),
             py::arg("n_rows"),
             py::arg("rows"),
             py::arg("positions"),
             py::arg("offsets"));
  module.def("try_coalesce",
             &try_coalesce,
             py::arg("indices"),
             py::arg("updates"),
             py::arg("num_embeddings"));
}

}  // namespace embedrnn::bindings
