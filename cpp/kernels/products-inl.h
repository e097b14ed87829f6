// The matrix products of a backward pass: gradients of pre-activations times transposed weights,
// and times the inputs of the products, which gives the gradients of the weights.
#pragma once

#include "gemm-inl.h"

namespace embedrnn::kernels {
namespace {

// Copies the same few columns of some rows.
template <class T>
EMBEDRNN_NOINLINE void copy_columns(T* const* to, T* const* from, int rows, std::ptrdiff_t cols) {
  for (int r = 0; r < rows; ++r)
    for (std::ptrdiff_t c = 0; c < cols; ++c) to[r][c] = from[r][c];
}

// Adds multiply(acc) to a register block of rows of a matrix, of which so many columns are left
// from where they point to. One that ends within the block goes through a copy.
template <class T, int Rows, int Vectors, class Multiply>
EMBEDRNN_INLINE void
add_block(T* const (&rows)[Rows], std::ptrdiff_t cols_left, const Multiply& multiply) {
  constexpr std::ptrdiff_t kCols = Vectors * kLanes<T>;
  alignas(EMBEDRNN_VECTOR_BYTES) T copy[Rows * kCols];
  T *copies[Rows], *whole[Rows];
  const bool ends = cols_left < kCols;
#pragma GCC unroll 8
  for (int r = 0; r < Rows; ++r) {
    copies[r] = copy + r * kCols;
    whole[r] = ends ? copies[r] : rows[r];
  }
  if (ends) copy_columns(copies, rows, Rows, cols_left);
  Vec<T> acc[Rows][Vectors];
#pragma GCC unroll 8
  for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 8
    for (int v = 0; v < Vectors; ++v) acc[r][v] = load(whole[r] + v * kLanes<T>);
  multiply(acc);
#pragma GCC unroll 8
  for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 8
    for (int v = 0; v < Vectors; ++v) store(whole[r] + v * kLanes<T>, acc[r][v]);
  if (ends) copy_columns(rows, copies, Rows, cols_left);
}

template <class T>
void affine_back(const AffineBackBlock<T>& a) noexcept {
  constexpr int kPanel = panel_vectors(1);
  for_panels<T, kPanel>(
      a.weight, a.units, 1, a.parts * a.k, [&](auto v, std::ptrdiff_t first, const T* panel) {
        constexpr int kVectors = decltype(v)::value;
        for_row_blocks<kBlockRows<kPanel>>(a.m, [&](auto r, std::ptrdiff_t row) {
          constexpr int kRows = decltype(r)::value;
          T* out[kRows];
          for (int i = 0; i < kRows; ++i) out[i] = a.out[row + i] + first * kLanes<T>;
          const auto multiply = [&](Vec<T>(&acc)[kRows][kVectors]) EMBEDRNN_INLINE_LAMBDA {
            for (std::ptrdiff_t part = 0; part < a.parts; ++part) {
              const T* inputs[kRows];
              for (int i = 0; i < kRows; ++i) inputs[i] = a.inputs[row + i] + a.starts[part];
              multiply_add(acc, inputs, panel + part * a.k * kVectors * kLanes<T>, a.k);
            }
          };
          add_block<T, kRows, kVectors>(out, a.outputs - first * kLanes<T>, multiply);
        });
      });
}

// acc[r][v] += left[pair][r] * panel[pair][v], pairs rising.
template <class T, int Rows, int Vectors>
EMBEDRNN_INLINE void multiply_add_outer(Vec<T> (&acc)[Rows][Vectors],
                                        const T* left,
                                        std::ptrdiff_t left_stride,
                                        const T* panel,
                                        std::ptrdiff_t pairs) {
  for (std::ptrdiff_t p = 0; p < pairs; ++p, left += left_stride) {
#pragma GCC unroll 8
    for (int r = 0; r < Rows; ++r) {
#pragma GCC unroll 8
      for (int v = 0; v < Vectors; ++v)
        acc[r][v] += left[r] * load(panel + (p * Vectors + v) * kLanes<T>);
    }
  }
}

// Pairs whose part of a panel of the right side is copied into one piece, which then serves all
// rows of the left side.
inline constexpr std::ptrdiff_t kOuterPairs = 256;

template <class T, int Vectors>
EMBEDRNN_INLINE void
outer_panel(const OuterBlock<T>& o, std::ptrdiff_t first, std::ptrdiff_t begin) {
  alignas(EMBEDRNN_VECTOR_BYTES) T panel[kOuterPairs * Vectors * kLanes<T>];
  const std::ptrdiff_t pairs = o.pairs - begin < kOuterPairs ? o.pairs - begin : kOuterPairs;
  const T* const right = o.right + begin * o.right_stride + first;
  for (std::ptrdiff_t p = 0; p < pairs; ++p) {
#pragma GCC unroll 8
    for (int v = 0; v < Vectors; ++v)
      store(panel + (p * Vectors + v) * kLanes<T>,
            load(right + p * o.right_stride + v * kLanes<T>));
  }
  for (std::ptrdiff_t part = 0; part < o.parts; ++part) {
    const T* const left = o.left + begin * o.left_stride + o.starts[part];
    for_row_blocks<kBlockRows<kOuterPanelVectors>>(o.rows, [&](auto r, std::ptrdiff_t row) {
      constexpr int kRows = decltype(r)::value;
      T* out[kRows];
      for (int i = 0; i < kRows; ++i) out[i] = o.out + (part * o.rows + row + i) * o.cols + first;
      const auto multiply = [&](Vec<T>(&acc)[kRows][Vectors]) EMBEDRNN_INLINE_LAMBDA {
        multiply_add_outer(acc, left + row, o.left_stride, panel, pairs);
      };
      add_block<T, kRows, Vectors>(out, o.cols - first, multiply);
    });
  }
}

template <class T>
void outer(const OuterBlock<T>& o) noexcept {
  constexpr int kPanel = kOuterPanelVectors;
  for (std::ptrdiff_t v = o.first_vector; v < o.end_vector; v += kPanel) {
    const std::ptrdiff_t left = o.end_vector - v;
    with_constant<kPanel>(left < kPanel ? left : kPanel, [&](auto vectors) {
      for (std::ptrdiff_t begin = 0; begin < o.pairs; begin += kOuterPairs)
        outer_panel<T, decltype(vectors)::value>(o, v * kLanes<T>, begin);
    });
  }
}

template <class T>
void sum(const SumBlock<T>& s) noexcept {
  std::ptrdiff_t j = 0;
  for (; j + kLanes<T> <= s.n; j += kLanes<T>) {
    Vec<T> acc = load(s.out + j);
    for (std::ptrdiff_t p = 0; p < s.pairs; ++p) acc += load(s.left + p * s.left_stride + j);
    store(s.out + j, acc);
  }
  for (; j < s.n; ++j)
    for (std::ptrdiff_t p = 0; p < s.pairs; ++p) s.out[j] += s.left[p * s.left_stride + j];
}

}  // namespace
}  // namespace embedrnn::kernels
