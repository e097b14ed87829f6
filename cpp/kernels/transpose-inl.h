// The transpose of a matrix, by squares of as many rows as a vector has lanes.
#pragma once

#include "kernels.h"
#include "simd-inl.h"

namespace embedrnn::kernels {
namespace {

template <int... I>
struct Indices {};
template <int N, int... I>
struct IndicesTo : IndicesTo<N - 1, N - 1, I...> {};
template <int... I>
struct IndicesTo<0, I...> {
  using type = Indices<I...>;
};

// The lanes of two vectors in turn: of their first halves (Half 0), or of their second ones.
template <int Half, class V, int... I>
EMBEDRNN_INLINE V zip(V a, V b, Indices<I...>) {
  constexpr int kCount = sizeof...(I);
  return __builtin_shufflevector(a, b, ((I + Half * kCount) / 2 + I % 2 * kCount)...);
}

// Each round moves one bit of the row number to the column number, and one the other way.
template <class T>
EMBEDRNN_INLINE void
transpose_square(const T* from, std::ptrdiff_t from_stride, T* to, std::ptrdiff_t to_stride) {
  constexpr int kSide = kLanes<T>;
  using All = typename IndicesTo<kSide>::type;
  Vec<T> rows[kSide];
#pragma GCC unroll 16
  for (int i = 0; i < kSide; ++i) rows[i] = load(from + i * from_stride);
#pragma GCC unroll 4
  for (int round = 1; round < kSide; round *= 2) {
    Vec<T> zipped[kSide];
#pragma GCC unroll 8
    for (int i = 0; i < kSide / 2; ++i) {
      zipped[2 * i] = zip<0>(rows[i], rows[i + kSide / 2], All{});
      zipped[2 * i + 1] = zip<1>(rows[i], rows[i + kSide / 2], All{});
    }
#pragma GCC unroll 16
    for (int i = 0; i < kSide; ++i) rows[i] = zipped[i];
  }
#pragma GCC unroll 16
  for (int i = 0; i < kSide; ++i) store(to + i * to_stride, rows[i]);
}

template <class T>
void transpose(const TransposeBlock<T>& b) noexcept {
  constexpr std::ptrdiff_t kSide = kLanes<T>;
  for (std::ptrdiff_t r = 0; r < b.rows; r += kSide) {
    for (std::ptrdiff_t c = 0; c < b.cols; c += kSide) {
      const T* const from = b.from + r * b.from_stride + c;
      T* const to = b.to + c * b.to_stride + r;
      const std::ptrdiff_t rows = b.rows - r, cols = b.cols - c;
      if (rows >= kSide && cols >= kSide) {
        transpose_square(from, b.from_stride, to, b.to_stride);
        continue;
      }
      for (std::ptrdiff_t i = 0; i < rows && i < kSide; ++i)
        for (std::ptrdiff_t j = 0; j < cols && j < kSide; ++j)
          to[j * b.to_stride + i] = from[i * b.from_stride + j];
    }
  }
}

}  // namespace
}  // namespace embedrnn::kernels
