// The GRU cell, gates in the order r, z, n: h' = (1 - z) n + z h, evaluated as (h - n) z + n.
#pragma once

#include "cell-inl.h"

namespace embedrnn::kernels {
namespace {

template <class T>
EMBEDRNN_INLINE void
emit_update(const CellStep<T>& s, std::ptrdiff_t row, std::ptrdiff_t u, Vec<T> z, Vec<T> n) {
  emit(s, row, u, (load(s.h_prev + at(s, row, u)) - n) * z + n);
}

// n = tanh(x W_n + b_in + r (h R_n + b_hn)): the reset gate meets the product, so one is enough.
template <class T>
void gru_step(const CellStep<T>& s) noexcept {
  static_assert(panel_vectors(3) == 3, "a panel is the three gates of one unit-vector");
  recurrent_product<T, 3>(
      s,
      s.h_prev,
      s.weight_hh,
      3,
      [&](std::ptrdiff_t row, std::ptrdiff_t first, int j) {
        return j == 2 ? load(s.bias_hh + first / 3 * kLanes<T>)
                      : projected<T, 3>(s, row, first / 3, j);
      },
      [&](const Tile<T>& tile) __attribute__((noinline)) {
        const std::ptrdiff_t v = tile.first_vector, u = v / 3;
        for (std::ptrdiff_t row = tile.first_row; row < tile.first_row + tile.rows; ++row) {
          const Vec<T> r = sigmoid<T>(tile(row, v)), z = sigmoid<T>(tile(row, v + 1));
          emit_update(s, row, u, z, tanh<T>(r * tile(row, v + 2) + projected<T, 3>(s, row, u, 2)));
        }
      });
}

// n = tanh(x W_n + b_in + (r h) R_n + b_hn): r of all units comes first, and then a second product.
template <class T>
void gru_reset_before_step(const CellStep<T>& s) noexcept {
  T* const reset_h = s.workspace;
  T* const update = s.workspace + at(s, s.rows, 0);
  static_assert(panel_vectors(2) % 2 == 0, "a panel holds r and z of the same units");
  recurrent_product<T, panel_vectors(2)>(
      s,
      s.h_prev,
      s.weight_hh,
      2,
      [&](std::ptrdiff_t row, std::ptrdiff_t first, int j) {
        return projected<T, 3>(s, row, first / 2 + j / 2, j % 2);
      },
      [&](const Tile<T>& tile) __attribute__((noinline)) {
        for (std::ptrdiff_t row = tile.first_row; row < tile.first_row + tile.rows; ++row) {
          for (std::ptrdiff_t v = tile.first_vector; v < tile.first_vector + tile.vectors; v += 2) {
            const std::ptrdiff_t unit = at(s, row, v / 2);
            store(reset_h + unit, sigmoid<T>(tile(row, v)) * load(s.h_prev + unit));
            store(update + unit, sigmoid<T>(tile(row, v + 1)));
          }
        }
      });
  recurrent_product<T, panel_vectors(1)>(
      s,
      reset_h,
      s.weight_hh + 2 * unit_vectors(s) * kLanes<T> * s.hidden,
      1,
      [&](std::ptrdiff_t row, std::ptrdiff_t first, int j) {
        return projected<T, 3>(s, row, first + j, 2);
      },
      [&](const Tile<T>& tile) __attribute__((noinline)) {
        for (std::ptrdiff_t row = tile.first_row; row < tile.first_row + tile.rows; ++row) {
          for (std::ptrdiff_t u = tile.first_vector; u < tile.first_vector + tile.vectors; ++u) {
            emit_update(s, row, u, load(update + at(s, row, u)), tanh<T>(tile(row, u)));
          }
        }
      });
}

template <class T>
struct KernelsOf<CellKind::kGru, T> {
  static constexpr CellKernels<T> kKernels = {.step = gru_step<T>};
};
template <class T>
struct KernelsOf<CellKind::kGruResetBefore, T> {
  static constexpr CellKernels<T> kKernels = {.step = gru_reset_before_step<T>};
};

}  // namespace
}  // namespace embedrnn::kernels
