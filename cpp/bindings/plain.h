// Calls on rows that need no check, recognised in a fraction of a microsecond: arrays of NumPy's
// own types in native byte order, aligned, laid out as the operations take them, of fitting dtypes
// and shapes, and apart from what is written. What is recognised runs as embedrnn._check would have
// handed it on; whatever is not, bad arguments included, goes through embedrnn._check.
#pragma once

#include <algorithm>
#include <optional>
#include <string_view>
#include <vector>

#include "bindings/arrays.h"

namespace embedrnn::bindings {

using Shape = std::vector<py::ssize_t>;

inline constexpr std::string_view kIntegers = "iu", kFloats = "f", kReals = "fiu",
                                  kNumbers = "fiubc";

// numpy.memmap, from when the module is imported. NumPy does not export it to C.
inline const PyTypeObject* memmap_type = nullptr;

// Whether an object is an array that is nothing more: subclasses mean more than their memory holds,
// as those with masks do. A memmap is of a type of its own, but an array as any.
inline bool is_plain_type(py::handle object) {
  const PyTypeObject* const type = Py_TYPE(object.ptr());
  return type == py::detail::npy_api::get().PyArray_Type_ || type == memmap_type;
}

// The array behind an object, if it is plain in itself and of one of these kinds of dtype.
inline std::optional<py::array> plain_array(py::handle object, std::string_view kinds) {
  if (!is_plain_type(object)) return std::nullopt;
  auto array = py::reinterpret_borrow<py::array>(object);
  const py::dtype dtype = array.dtype();
  const bool native = dtype.byteorder() == '=' || dtype.byteorder() == '|';
  if (!native || !is_aligned(array)) return std::nullopt;
  if (kinds.find(dtype.kind()) == std::string_view::npos || dtype.has_fields()) return std::nullopt;
  return array;
}

// Indices, which the operations take C-contiguous.
inline std::optional<py::array> plain_indices(py::handle object) {
  auto indices = plain_array(object, kIntegers);
  return indices && is_contiguous(*indices) ? indices : std::nullopt;
}

// The bytes from the first that an array has to the last.
struct Extent {
  const char *first, *end;
};

inline Extent extent(const py::array& array) {
  const auto* const data = static_cast<const char*>(array.data());
  Extent bytes{data, data};
  if (array.size() == 0) return bytes;
  for (py::ssize_t axis = 0; axis < array.ndim(); ++axis) {
    const std::ptrdiff_t span = (array.shape(axis) - 1) * array.strides(axis);
    (span < 0 ? bytes.first : bytes.end) += span;
  }
  bytes.end += array.itemsize();
  return bytes;
}

inline bool apart(const py::array& a, const py::array& b) {
  const Extent first = extent(a), second = extent(b);
  return first.end <= second.first || second.end <= first.first;
}

// Whether no two elements of a vector or matrix share memory, as those of sliding windows do.
inline bool is_spread_out(const py::array& array) {
  if (is_contiguous(array)) return true;
  const std::ptrdiff_t itemsize = array.itemsize(), rows = std::abs(array.strides(0));
  if (array.ndim() == 1) return array.shape(0) < 2 || rows >= itemsize;
  const std::ptrdiff_t cols = std::abs(array.strides(1)), n = array.shape(0), m = array.shape(1);
  return cols < rows ? cols >= itemsize && rows >= cols * m : rows >= itemsize && cols >= rows * n;
}

// indices.shape + table.shape[1:]
inline Shape rows_shape(const py::array& indices, const py::array& table) {
  Shape shape;
  shape.reserve(static_cast<std::size_t>(indices.ndim() + table.ndim()));
  shape.assign(indices.shape(), indices.shape() + indices.ndim());
  shape.insert(shape.end(), table.shape() + 1, table.shape() + table.ndim());
  return shape;
}

inline bool has_shape(const py::array& array, const Shape& shape) {
  return std::equal(array.shape(), array.shape() + array.ndim(), shape.begin(), shape.end());
}

// Whether a table and rows of it, one for each index, fit each other, so that one of them can be
// written while the other is read.
inline bool fit(const py::array& table, const py::array& indices, const py::array& rows) {
  return same_dtype(table, rows) && has_row_layout(table, 1) &&
         has_shape(rows, rows_shape(indices, table)) && has_row_layout(rows, indices.ndim()) &&
         apart(table, rows);
}

}  // namespace embedrnn::bindings
