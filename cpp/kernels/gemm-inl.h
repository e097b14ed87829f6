// The small matrix product under every recurrent cell: a block of rows by a panel of packed
// weights, in registers.
#pragma once

#include "kernels.h"
#include "simd-inl.h"

namespace embedrnn::kernels {
namespace {

// Rows of a register block, so that rows * vectors accumulators, one panel row of weights and a
// broadcast fit the registers: 6 by 4 with 32 of them, 3 by 4 with 16.
#if EMBEDRNN_VECTOR_REGISTERS >= 32
inline constexpr int kAccumulators = 24;
#else
inline constexpr int kAccumulators = 12;
#endif
template <int Vectors>
inline constexpr int kBlockRows = kAccumulators / Vectors < 8 ? kAccumulators / Vectors : 8;

// Splits m rows into the fewest blocks, all but equal in size, and calls body(Int<rows>{}, first
// row) for each.
template <int Max, class Body>
EMBEDRNN_INLINE void for_row_blocks(std::ptrdiff_t m, const Body& body) {
  std::ptrdiff_t blocks = (m + Max - 1) / Max;
  for (std::ptrdiff_t first = 0; first < m; --blocks) {
    const std::ptrdiff_t rows = (m - first + blocks - 1) / blocks;
    with_constant<Max>(rows, [&](auto r) { body(r, first); });
    first += rows;
  }
}

// Calls body(Int<vectors>{}, first vector, panel) for each panel of some units of a packed
// (vectors, k) matrix, `gates` vectors to a unit-vector.
template <class T, int PanelVectors, class Body>
EMBEDRNN_INLINE void for_panels(const T* weight,
                                const UnitRange& units,
                                std::ptrdiff_t gates,
                                std::ptrdiff_t k,
                                const Body& body) {
  const std::ptrdiff_t begin = units.first * gates, end = units.end * gates;
  const std::ptrdiff_t panels = (end - begin + PanelVectors - 1) / PanelVectors;
  for (std::ptrdiff_t i = 0; i < panels; ++i) {
    const std::ptrdiff_t first = begin + (units.descending ? panels - 1 - i : i) * PanelVectors;
    const std::ptrdiff_t left = end - first;
    const T* panel = weight + first * k * kLanes<T>;
    with_constant<PanelVectors>(left < PanelVectors ? left : PanelVectors,
                                [&](auto v) { body(v, first, panel); });
  }
}

// acc[r][v] += inputs[r][k] * panel[k][v], k rising. One accumulator an output and one order of k,
// whatever the blocking: a row has the same bits alone, in any batch and at any vector width.
template <class T, int Rows, int Vectors>
EMBEDRNN_INLINE void multiply_add(Vec<T> (&acc)[Rows][Vectors],
                                  const T* const (&inputs)[Rows],
                                  const T* panel,
                                  std::ptrdiff_t k_count) {
  for (std::ptrdiff_t k = 0; k < k_count; ++k) {
#pragma GCC unroll 8
    for (int r = 0; r < Rows; ++r) {
#pragma GCC unroll 8
      for (int v = 0; v < Vectors; ++v) {
        acc[r][v] += inputs[r][k] * load(panel + (k * Vectors + v) * kLanes<T>);
      }
    }
  }
}

template <class T, int Rows, int Vectors>
EMBEDRNN_INLINE void
load_tile(Vec<T> (&acc)[Rows][Vectors], const T* p, std::ptrdiff_t row_stride) {
#pragma GCC unroll 8
  for (int r = 0; r < Rows; ++r) {
#pragma GCC unroll 8
    for (int v = 0; v < Vectors; ++v) acc[r][v] = load(p + r * row_stride + v * kLanes<T>);
  }
}

template <class T, int Rows, int Vectors>
EMBEDRNN_INLINE void
store_tile(const Vec<T> (&acc)[Rows][Vectors], T* p, std::ptrdiff_t row_stride) {
#pragma GCC unroll 8
  for (int r = 0; r < Rows; ++r) {
#pragma GCC unroll 8
    for (int v = 0; v < Vectors; ++v) store(p + r * row_stride + v * kLanes<T>, acc[r][v]);
  }
}

template <class T, int PanelVectors>
void affine_panels(const AffineBlock<T>& a) noexcept {
  const std::ptrdiff_t stride = a.vectors * kLanes<T>;
  for_panels<T, PanelVectors>(
      a.weight, a.units, a.gates, a.k, [&](auto v, std::ptrdiff_t first, const T* panel) {
        constexpr int kVectors = decltype(v)::value;
        for_row_blocks<kBlockRows<PanelVectors>>(a.m, [&](auto r, std::ptrdiff_t row) {
          constexpr int kRows = decltype(r)::value;
          Vec<T> acc[kRows][kVectors];
          const T* inputs[kRows];
          for (int i = 0; i < kRows; ++i) inputs[i] = a.inputs[row + i];
          load_tile(acc, a.bias + first * kLanes<T>, 0);
          multiply_add(acc, inputs, panel, a.k);
          store_tile(acc, a.out + row * stride + first * kLanes<T>, stride);
        });
      });
}

// The input product of many (row, step) pairs at once. Panels outside, rows inside: a panel comes
// from L2 once.
template <class T>
void affine(const AffineBlock<T>& a) noexcept {
  panel_vectors(a.gates) == 3 ? affine_panels<T, 3>(a) : affine_panels<T, 4>(a);
}

// Products that were made before, one gate behind the other.
template <class T>
void arrange(const ArrangeBlock<T>& a) noexcept {
  const std::ptrdiff_t stride = (a.hidden + kLanes<T> - 1) / kLanes<T> * a.gates * kLanes<T>;
  for (std::ptrdiff_t row = 0; row < a.m; ++row) {
    for (std::ptrdiff_t u = a.units.first; u < a.units.end; ++u) {
      const std::ptrdiff_t first = u * kLanes<T>, left = a.hidden - first;
      for (std::ptrdiff_t gate = 0; gate < a.gates; ++gate) {
        const T* const from = a.inputs[row] + gate * a.hidden + first;
        T* const to = a.out + row * stride + (u * a.gates + gate) * kLanes<T>;
        store(to, left >= kLanes<T> ? load(from) : load_first(from, left));
      }
    }
  }
}

}  // namespace
}  // namespace embedrnn::kernels
