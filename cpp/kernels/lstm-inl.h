// The LSTM cell, gates in the order i, f, g, o: c' = f c + i g, h' = o tanh(c').
#pragma once

#include "cell-inl.h"

namespace embedrnn::kernels {
namespace {

template <class T>
void lstm_step(const CellStep<T>& s) noexcept {
  static_assert(panel_vectors(4) == 4, "a panel is the four gates of one unit-vector");
  recurrent_product<T, 4>(
      s,
      s.h_prev,
      s.weight_hh,
      4,
      [&](std::ptrdiff_t row, std::ptrdiff_t first, int j) {
        return projected<T, 4>(s, row, first / 4, j);
      },
      [&](const Tile<T>& tile) __attribute__((noinline)) {
        const std::ptrdiff_t v = tile.first_vector, u = v / 4;
        for (std::ptrdiff_t row = tile.first_row; row < tile.first_row + tile.rows; ++row) {
          const Vec<T> f = sigmoid<T>(tile(row, v + 1));
          const Vec<T> i_g = sigmoid_times_tanh<T>(tile(row, v), tile(row, v + 2));
          const Vec<T> c = f * load(s.c + at(s, row, u)) + i_g;
          store(s.c + at(s, row, u), c);
          emit(s, row, u, sigmoid_times_tanh<T>(tile(row, v + 3), c));
        }
      });
}

template <class T>
struct KernelsOf<CellKind::kLstm, T> {
  static constexpr CellKernels<T> kKernels = {.step = lstm_step<T>};
};

}  // namespace
}  // namespace embedrnn::kernels
