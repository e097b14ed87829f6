// What the step of every cell does around its gate equations.
#pragma once

#include "gemm-inl.h"
#include "math-inl.h"

namespace embedrnn::kernels {
namespace {

// The kernels of one kind of cell. The file of the cell defines it; a kind of no file does not
// compile.
template <CellKind Kind, class T>
struct KernelsOf;

// Vectors of a state row.
template <class T, template <class> class Step>
EMBEDRNN_INLINE std::ptrdiff_t unit_vectors(const Step<T>& s) {
  return (s.hidden + kLanes<T> - 1) / kLanes<T>;
}

// Where unit-vector u of a row stands in a (rows, state row) matrix.
template <class T>
EMBEDRNN_INLINE std::ptrdiff_t at(const CellStep<T>& s, std::ptrdiff_t row, std::ptrdiff_t u) {
  return (row * unit_vectors(s) + u) * kLanes<T>;
}

// The pre-activations of one gate of unit-vector u.
template <class T, int Gates>
EMBEDRNN_INLINE Vec<T>
projected(const CellStep<T>& s, std::ptrdiff_t row, std::ptrdiff_t u, std::ptrdiff_t gate) {
  return load(s.projected[row] + (u * Gates + gate) * kLanes<T>);
}

// One of the weights that meet unit-vector u of a state unit by unit, of which a cell has so many.
template <int Diagonals, class T, template <class> class Step>
EMBEDRNN_INLINE Vec<T> diagonal(const Step<T>& s, std::ptrdiff_t u, std::ptrdiff_t which) {
  return load(s.diagonal + (u * Diagonals + which) * kLanes<T>);
}

// Hands out unit-vector u of the new state of a row.
template <class T>
EMBEDRNN_INLINE void emit(const CellStep<T>& s, std::ptrdiff_t row, std::ptrdiff_t u, Vec<T> h) {
  store(s.h_next + at(s, row, u), h);
  T* const output = s.output[row] + u * kLanes<T>;
  const std::ptrdiff_t left = s.hidden - u * kLanes<T>;
  if (left >= kLanes<T>) {
    store(output, h);
  } else {
    store_first(output, h, left);
  }
}

// Keeps unit-vector u of some state rows for backward, if that is wanted: h before the step first.
template <class T, int N>
EMBEDRNN_INLINE void
keep(const CellStep<T>& s, std::ptrdiff_t row, std::ptrdiff_t u, const Vec<T> (&rows)[N]) {
  T* const kept = s.kept[row] + u * kLanes<T>;
  const std::ptrdiff_t state = unit_vectors(s) * kLanes<T>;
  store(kept, load(s.h_prev + at(s, row, u)));
#pragma GCC unroll 8
  for (int i = 0; i < N; ++i) store(kept + (i + 1) * state, rows[i]);
}

// One unit-vector of a row in a step back.
template <class T>
struct UnitBack {
  const T* kept;
  T* gates;
  T *dh, *dc;
  const T* d_product;
  std::ptrdiff_t state;  // elements of a state row
  const T* diagonal;     // as of the step
  std::ptrdiff_t u;

  Vec<T> of(int row) const { return load(kept + row * state); }
  void gate(int slot, Vec<T> gradient) const { store(gates + slot * state, gradient); }
};

// Calls body(unit) for every unit-vector of every row, of which so many rows are kept. Those of the
// next row are fetched meanwhile: a tape is larger than the caches that are near.
template <int Kept, class T, class Body>
EMBEDRNN_INLINE void for_units_back(const CellStepBack<T>& s, const Body& body) {
  const std::ptrdiff_t state = unit_vectors(s) * kLanes<T>;
  for (std::ptrdiff_t row = 0; row < s.rows; ++row) {
    const T* const next = s.kept[row + 1 < s.rows ? row + 1 : row];
    for (std::ptrdiff_t u = s.units.first; u < s.units.end; ++u) {
      const std::ptrdiff_t first = u * kLanes<T>, at = row * state + first;
#pragma GCC unroll 8
      for (int i = 0; i < Kept; ++i) __builtin_prefetch(next + i * state + first);
      body(UnitBack<T>{s.kept[row] + first,
                       s.gates[row] + first,
                       s.dh + at,
                       s.dc + at,
                       s.d_product + at,
                       state,
                       s.diagonal,
                       u});
    }
  }
}

// The finished sums of a register block: [row][vector][lane].
template <class T>
struct Tile {
  const T* sums;
  std::ptrdiff_t first_row, rows, first_vector, vectors;

  Vec<T> operator()(std::ptrdiff_t row, std::ptrdiff_t vector) const {
    return load(sums + ((row - first_row) * vectors + (vector - first_vector)) * kLanes<T>);
  }
};

// Fetches the pre-activations of a register block: those that were made before all steps come from
// another place for each row, which no hardware foresees.
template <class T, int Rows, int Vectors>
EMBEDRNN_INLINE void
fetch_projected(const CellStep<T>& s, std::ptrdiff_t row, std::ptrdiff_t first_vector) {
  for (int i = 0; i < Rows && row + i < s.rows; ++i) {
#pragma GCC unroll 8
    for (int v = 0; v < Vectors; ++v)
      __builtin_prefetch(s.projected[row + i] + (first_vector + v) * kLanes<T>);
  }
}

// Calls finish(tile) for every register block of start(row, vector) + state W. `finish` is a
// function of its own, so that its code is there once and not in each register block.
template <class T, int PanelVectors, class Start, class Finish>
EMBEDRNN_INLINE void recurrent_product(const CellStep<T>& s,
                                       const T* state,
                                       const T* weight,
                                       std::ptrdiff_t gates,
                                       const Start& start,
                                       const Finish& finish) {
  for_panels<T, PanelVectors>(
      weight, s.units, gates, s.hidden, [&](auto v, std::ptrdiff_t first, const T* panel) {
        constexpr int kVectors = decltype(v)::value;
        for_row_blocks<kBlockRows<PanelVectors>>(s.rows, [&](auto r, std::ptrdiff_t row) {
          constexpr int kRows = decltype(r)::value;
          Vec<T> acc[kRows][kVectors];
          const T* inputs[kRows];
          fetch_projected<T, kRows, kVectors>(s, row + kRows, first);
#pragma GCC unroll 8
          for (int i = 0; i < kRows; ++i) {
            inputs[i] = state + at(s, row + i, 0);
#pragma GCC unroll 8
            for (int j = 0; j < kVectors; ++j) acc[i][j] = start(row + i, first, j);
          }
          multiply_add(acc, inputs, panel, s.hidden);
          alignas(EMBEDRNN_VECTOR_BYTES) T sums[kRows * kVectors * kLanes<T>];
          store_tile(acc, sums, kVectors * kLanes<T>);
          finish(Tile<T>{sums, row, kRows, first, kVectors});
        });
      });
}

}  // namespace
}  // namespace embedrnn::kernels
