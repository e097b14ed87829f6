// The plain case of a call on rows, recognised in a fraction of a microsecond: arrays that are
// aligned, C-contiguous, in native byte order, of fitting dtypes and shapes, and apart from what is
// written. The try_ functions take it; whatever is not plain, bad arguments included, they decline,
// with nothing written, and it goes through embedrnn._check.
#pragma once

#include <algorithm>
#include <optional>
#include <string_view>
#include <vector>

#include "bindings/arrays.h"

namespace embedrnn::bindings {

using Shape = std::vector<py::ssize_t>;

// The array behind an object, if it is plain and of one of these kinds of dtype.
inline std::optional<py::array> plain_array(py::handle object, std::string_view kinds) {
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

inline constexpr std::string_view kIntegers = "iu", kNumbers = "fiubc";

inline bool same_dtype(const py::array& a, const py::array& b) {
  return a.dtype().num() == b.dtype().num();
}

// Both are contiguous.
inline bool apart(const py::array& a, const py::array& b) {
  const auto* const first = static_cast<const char*>(a.data());
  const auto* const second = static_cast<const char*>(b.data());
  return first + a.nbytes() <= second || second + b.nbytes() <= first;
}

// indices.shape + table.shape[1:]
inline Shape rows_shape(const py::array& indices, const py::array& table) {
  Shape shape(indices.shape(), indices.shape() + indices.ndim());
  shape.insert(shape.end(), table.shape() + 1, table.shape() + table.ndim());
  return shape;
}

inline bool has_shape(const py::array& array, const Shape& shape) {
  return std::equal(array.shape(), array.shape() + array.ndim(), shape.begin(), shape.end());
}

inline std::ptrdiff_t columns(const py::array& table, py::ssize_t leading) {
  std::ptrdiff_t count = 1;
  for (py::ssize_t axis = leading; axis < table.ndim(); ++axis) count *= table.shape(axis);
  return count;
}

}  // namespace embedrnn::bindings
