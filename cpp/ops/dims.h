// Views that the bindings fill from arrays: a pointer, sizes, and strides in elements unless the
// name says bytes. Dimension legend: kernels/kernels.h.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/kernels.h"

namespace embedrnn::ops {

template <class T>
struct VectorView {
  T* data = nullptr;  // null where an optional argument is absent
  std::ptrdiff_t stride = 0;

  T& operator()(std::ptrdiff_t i) const { return data[i * stride]; }
};

template <class T>
struct MatrixView {
  T* data = nullptr;
  std::ptrdiff_t rows = 0, cols = 0;
  std::ptrdiff_t row_stride = 0, col_stride = 0;

  T& operator()(std::ptrdiff_t i, std::ptrdiff_t j) const {
    return data[i * row_stride + j * col_stride];
  }
};

// (n) contiguous indices of one of the integer dtypes.
struct IndexView {
  const void* data = nullptr;
  std::ptrdiff_t n = 0;
  IndexType type = IndexType::kInt64;
  std::ptrdiff_t itemsize = 8;
};

}  // namespace embedrnn::ops
