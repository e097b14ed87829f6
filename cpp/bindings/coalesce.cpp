// Which updates go to which row, for Python.
#include "ops/coalesce.h"

#include <utility>

#include "bindings/arrays.h"
#include "bindings/module.h"
#include "bindings/storage.h"
#include "ops/bag.h"

namespace embedrnn::bindings {
namespace {

// Returns the first bad position or -1, and the number of distinct rows.
std::pair<std::ptrdiff_t, std::ptrdiff_t> group_rows(const py::array& indices,
                                                     std::ptrdiff_t n_rows,
                                                     py::array rows,
                                                     py::array positions,
                                                     py::array offsets) {
  const py::ssize_t n = indices.size();
  const ops::GroupArgs args{.indices = index_view(indices),
                            .n_rows = n_rows,
                            .rows = contiguous_data<std::int64_t>(rows, "rows", {n}),
                            .positions = contiguous_data<std::int64_t>(positions, "positions", {n}),
                            .offsets = contiguous_data<std::int64_t>(offsets, "offsets", {n + 1})};
  const ops::Grouped grouped = without_gil([&] { return ops::group_rows(args); });
  return {grouped.bad, grouped.count};
}

// Likewise.
std::pair<std::ptrdiff_t, std::ptrdiff_t>
number_rows(const py::array& indices, std::ptrdiff_t n_rows, py::array rows, py::array numbers) {
  const py::ssize_t n = indices.size();
  auto* const of = contiguous_data<std::int64_t>(rows, "rows", {n});
  auto* const to = contiguous_data<std::int64_t>(numbers, "numbers", {n});
  const ops::IndexView view = index_view(indices);
  const ops::Grouped grouped = without_gil([&] { return ops::number_rows(view, n_rows, of, to); });
  return {grouped.bad, grouped.count};
}

// Returns the first bad position or -1, the distinct rows, and the sum of the updates of each. The
// results are made here, where their number is known.
template <class S>
py::tuple coalesce_as(const py::array& indices, const py::array& updates, std::ptrdiff_t n_rows) {
  const std::ptrdiff_t n = indices.size();
  const RowLayout from = row_layout(updates, indices.ndim(), "updates");
  require(updates.size() == n * from.cols && is_aligned(updates) &&
              (from.cols < 2 || from.col_stride == updates.itemsize()),
          "updates",
          "have a row in one piece for each index");
  const runtime::Scratch scratch(2 * runtime::scratch_bytes<std::int64_t>(n) +
                                 runtime::scratch_bytes<std::int64_t>(n + 1));
  runtime::Carver carver(scratch);
  const ops::GroupArgs group{.indices = index_view(indices),
                             .n_rows = n_rows,
                             .rows = carver.take<std::int64_t>(n),
                             .positions = carver.take<std::int64_t>(n),
                             .offsets = carver.take<std::int64_t>(n + 1)};
  const ops::Grouped grouped = without_gil([&] { return ops::group_rows(group); });
  if (grouped.bad != ops::kAllInRange) return py::make_tuple(grouped.bad, py::none(), py::none());
  std::vector<py::ssize_t> shape(updates.shape() + indices.ndim(),
                                 updates.shape() + updates.ndim());
  shape.insert(shape.begin(), grouped.count);
  py::array sums(updates.dtype(), shape);
  const ops::BagSumArgs<S> args{
      .table = {static_cast<const char*>(updates.data()), n, from.cols, from.row_stride},
      .bags = {.indices = {group.positions, n, IndexType::kInt64, sizeof(std::int64_t)},
               .offsets = group.offsets,
               .n = grouped.count},
      .weights = nullptr,
      .mean = false,
      .out = static_cast<char*>(sums.mutable_data()),
      .out_row_stride = from.cols * updates.itemsize()};
  const std::ptrdiff_t bad = without_gil([&] { return ops::bag_sum(args); });
  // Not by the constructor that copies: it loses the MemoryError of a copy that fails.
  py::array_t<std::int64_t> rows(grouped.count);
  std::copy_n(group.rows, grouped.count, rows.mutable_data());
  return py::make_tuple(bad, rows, sums);
}

py::tuple coalesce(const py::array& indices,
                   const py::array& updates,
                   const py::str& storage,
                   std::ptrdiff_t n_rows) {
  return in_storage(storage, updates, [&]<class S>(S) -> py::tuple {
    if constexpr (std::is_same_v<S, Int8Row>) {
      throw py::type_error("coalesce takes updates that are floats");
    } else {
      return coalesce_as<S>(indices, updates, n_rows);
    }
  });
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
  module.def("number_rows",
             &number_rows,
             py::arg("indices"),
             py::arg("n_rows"),
             py::arg("rows"),
             py::arg("numbers"));
  module.def("coalesce",
             &coalesce,
             py::arg("indices"),
             py::arg("updates"),
             py::arg("storage"),
             py::arg("n_rows"));
}

}  // namespace embedrnn::bindings
