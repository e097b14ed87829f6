// The plain case of a call on rows, recognised in a fraction of a microsecond: arrays that are
// aligned, C-contiguous, in native byte order, of fitting dtypes and shapes, and apart from what is
// written. Whatever is not plain, bad arguments included, is declined, with nothing written, and
// goes through embedrnn._check.
#include <algorithm>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "bindings/arrays.h"
#include "bindings/module.h"
#include "ops/bag.h"
#include "ops/coalesce.h"
#include "ops/embedding.h"

namespace embedrnn::bindings {
namespace {

using Shape = std::vector<py::ssize_t>;

// The array behind an object, if it is plain and of one of these kinds of dtype.
std::optional<py::array> plain_array(py::handle object, std::string_view kinds) {
  constexpr int kAligned = py::detail::npy_api::NPY_ARRAY_ALIGNED_;
  if (!py::isinstance<py::array>(object)) return std::nullopt;
  const auto array = py::reinterpret_borrow<py::array>(object);
  const py::dtype dtype = array.dtype();
  const bool native = dtype.byteorder() == '=' || dtype.byteorder() == '|';
  const int flags = array.flags();
  if (!native || !(flags & kAligned) || !(flags & py::array::c_style)) return std::nullopt;
  if (kinds.find(dtype.kind()) == std::string_view::npos || dtype.has_fields()) return std::nullopt;
  return array;
}

constexpr std::string_view kIntegers = "iu", kNumbers = "fiubc";

bool same_dtype(const py::array& a, const py::array& b) {
  return a.dtype().num() == b.dtype().num();
}

// Both are contiguous.
bool apart(const py::array& a, const py::array& b) {
  const auto* const first = static_cast<const char*>(a.data());
  const auto* const second = static_cast<const char*>(b.data());
  return first + a.nbytes() <= second || second + b.nbytes() <= first;
}

// indices.shape + table.shape[1:]
Shape rows_shape(const py::array& indices, const py::array& table) {
  Shape shape(indices.shape(), indices.shape() + indices.ndim());
  shape.insert(shape.end(), table.shape() + 1, table.shape() + table.ndim());
  return shape;
}

bool has_shape(const py::array& array, const Shape& shape) {
  return std::equal(array.shape(), array.shape() + array.ndim(), shape.begin(), shape.end());
}

std::ptrdiff_t columns(const py::array& table, py::ssize_t leading) {
  std::ptrdiff_t count = 1;
  for (py::ssize_t axis = leading; axis < table.ndim(); ++axis) count *= table.shape(axis);
  return count;
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
                             .out_col_stride = itemsize};
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
  switch (table->itemsize()) {
  case 1:
    return add_plain<std::uint8_t>(*table, *ids, *values);
  case 2:
    return add_plain<std::uint16_t>(*table, *ids, *values);
  case 4:
    return add_plain<std::uint32_t>(*table, *ids, *values);
  default:
    return add_plain<std::uint64_t>(*table, *ids, *values);
  }
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

// Where each bag begins and the last one ends, if the caller's offsets are good.
std::optional<std::vector<std::int64_t>> bag_bounds(const py::array& ids, py::handle offsets) {
  if (ids.ndim() == 2 && offsets.is_none()) {
    std::vector<std::int64_t> bounds(static_cast<std::size_t>(ids.shape(0)) + 1);
    for (std::size_t b = 1; b < bounds.size(); ++b) bounds[b] = bounds[b - 1] + ids.shape(1);
    return bounds;
  }
  const auto given = plain_array(offsets, "i");
  if (ids.ndim() != 1 || !given || given->ndim() != 1 || given->itemsize() != 8 ||
      given->size() == 0)
    return std::nullopt;
  const auto* const first = static_cast<const std::int64_t*>(given->data());
  std::vector<std::int64_t> bounds(first, first + given->size());
  bounds.push_back(ids.size());
  if (bounds.front() != 0 || !std::is_sorted(bounds.begin(), bounds.end())) return std::nullopt;
  return bounds;
}

template <class S>
py::object bag_plain(const py::array& table,
                     const py::array& ids,
                     const std::vector<std::int64_t>& bounds,
                     bool mean) {
  constexpr std::ptrdiff_t kHeader = std::is_same_v<S, Int8Row> ? kInt8RowHeader : 0;
  const std::ptrdiff_t n = std::ssize(bounds) - 1, cols = table.shape(1) - kHeader;
  const py::dtype dtype = kHeader > 0 ? py::dtype::of<float>() : table.dtype();
  py::array out(dtype, Shape{n, cols});
  const ops::BagSumArgs<S> args{
      .table = {static_cast<const char*>(table.data()), table.shape(0), cols, table.strides(0)},
      .bags = {.indices = index_view(ids), .offsets = bounds.data(), .n = n},
      .weights = nullptr,
      .mean = mean,
      .out = static_cast<char*>(out.mutable_data()),
      .out_row_stride = out.strides(0)};
  if (without_gil([&] { return ops::bag_sum(args); }) != ops::kAllInRange) return py::none();
  return out;
}

// Sums and means without weights or padding. The rows of an int8 table are bytes, `quantized`.
py::object try_embedding_bag(
    py::handle weight, bool quantized, py::handle indices, py::handle offsets, py::handle mode) {
  const auto table = plain_array(weight, quantized ? "u" : "f");
  const auto ids = plain_array(indices, kIntegers);
  if (!table || table->ndim() != 2 || !ids || !PyUnicode_Check(mode.ptr())) return py::none();
  const bool mean = PyUnicode_CompareWithASCIIString(mode.ptr(), "mean") == 0;
  if (!mean && PyUnicode_CompareWithASCIIString(mode.ptr(), "sum") != 0) return py::none();
  const auto bounds = bag_bounds(*ids, offsets);
  if (!bounds) return py::none();
  if (quantized) return bag_plain<Int8Row>(*table, *ids, *bounds, mean);
  if (holds<float>(*table)) return bag_plain<float>(*table, *ids, *bounds, mean);
  if (holds<double>(*table)) return bag_plain<double>(*table, *ids, *bounds, mean);
  return py::none();
}

}  // namespace

void register_express(py::module_& module) {
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
  module.def("try_coalesce",
             &try_coalesce,
             py::arg("indices"),
             py::arg("updates"),
             py::arg("num_embeddings"));
  module.def("try_embedding_bag",
             &try_embedding_bag,
             py::arg("weight"),
             py::arg("quantized"),
             py::arg("indices"),
             py::arg("offsets"),
             py::arg("mode"));
}

}  // namespace embedrnn::bindings
