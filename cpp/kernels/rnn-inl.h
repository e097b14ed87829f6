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
            const Vec<T> h = Activation(tile(row, u));
            if (s.kept != nullptr) keep(s, row, u, {h});
            emit(s, row, u, h);
          }
        }
      });
}

template <class T>
EMBEDRNN_INLINE Vec<T> tanh_back(Vec<T> h, Vec<T> dh) {
  return dh * (T{1} - h * h);
}
template <class T>
EMBEDRNN_INLINE Vec<T> relu_back(Vec<T> h, Vec<T> dh) {
  return h <= T{0} ? Vec<T>{} : dh;
}

template <class T, Vec<T> (*ActivationBack)(Vec<T>, Vec<T>)>
void rnn_step_back(const CellStepBack<T>& s) noexcept {
  for_units_back<2>(s, [](const UnitBack<T>& unit) {
    unit.gate(0, ActivationBack(unit.of(1), load(unit.dh)));
    store(unit.dh, Vec<T>{});
  });
}

template <class T>
struct KernelsOf<CellKind::kRnnTanh, T> {
  static constexpr CellKernels<T> kKernels = {.step = rnn_step<T, tanh<T>>,
                                              .step_back = {rnn_step_back<T, tanh_back<T>>}};
};
template <class T>
struct KernelsOf<CellKind::kRnnRelu, T> {
  static constexpr CellKernels<T> kKernels = {.step = rnn_step<T, relu<T>>,
                                              .step_back = {rnn_step_back<T, relu_back<T>>}};
};

}  // namespace
}  // namespace embedrnn::kernels
