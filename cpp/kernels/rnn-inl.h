// The Elman cell: h' = act(x W_ih^T + b + h W_hh^T).
#pragma once

#include "cell-inl.h"

namespace embedrnn::kernels {
namespace {

template <class T, Vec<T> (*Activation)(Vec<T>)>
void rnn_step(const CellStep<T>& s) noexcept {
  recurrent_product<T, panel_vectors(1)>(
      s,
      s.h_prev,
      s.weight_hh,
      1,
      [&](std::ptrdiff_t row, std::ptrdiff_t first, int j) {
        return projected<T, 1>(s, row, first + j, 0);
      },
      [&](const Tile<T>& tile) __attribute__((noinline)) {
        for (std::ptrdiff_t row = tile.first_row; row < tile.first_row + tile.rows; ++row) {
          for (std::ptrdiff_t u = tile.first_vector; u < tile.first_vector + tile.vectors; ++u) {
            emit(s, row, u, Activation(tile(row, u)));
          }
        }
      });
}

template <class T>
struct KernelsOf<CellKind::kRnnTanh, T> {
  static constexpr CellKernels<T> kKernels = {.step = rnn_step<T, tanh<T>>};
};
template <class T>
struct KernelsOf<CellKind::kRnnRelu, T> {
  static constexpr CellKernels<T> kKernels = {.step = rnn_step<T, relu<T>>};
};

}  // namespace
}  // namespace embedrnn::kernels
