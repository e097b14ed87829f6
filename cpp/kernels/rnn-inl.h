// The Elman cell: h' = act(x W_ih^T + b + h W_hh^T).
#pragma once

#include "cell-inl.h"

namespace embedrnn::kernels {
namespace {

// A leaky unit goes a part of the way from h to act(...) in a step.
template <class T, Vec<T> (*Activation)(Vec<T>), bool Leaky>
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
            const Vec<T> n = Activation(tile(row, u));
            if (s.kept != nullptr) keep(s, row, u, {n});
            if constexpr (Leaky) {
              const Vec<T> leak = diagonal<1>(s, u, 0), h = load(s.h_prev + at(s, row, u));
              emit(s, row, u, (T{1} - leak) * h + rounded(leak * n));
            } else {
              emit(s, row, u, n);
            }
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

// Of the leak too, what the step adds to its gradient.
template <class T, Vec<T> (*ActivationBack)(Vec<T>, Vec<T>)>
void leaky_step_back(const CellStepBack<T>& s) noexcept {
  for_units_back<2>(s, [](const UnitBack<T>& unit) {
    const Vec<T> h = unit.of(0), n = unit.of(1), dh = load(unit.dh);
    const Vec<T> leak = diagonal<1>(unit, unit.u, 0);
    unit.gate(0, ActivationBack(n, leak * dh));
    unit.gate(1, dh * (n - h));
    store(unit.dh, (T{1} - leak) * dh);
  });
}

template <class T>
struct KernelsOf<CellKind::kRnnTanh, T> {
  static constexpr CellKernels<T> kKernels = {.step = rnn_step<T, tanh<T>, false>,
                                              .step_back = {rnn_step_back<T, tanh_back<T>>}};
};
template <class T>
struct KernelsOf<CellKind::kRnnRelu, T> {
  static constexpr CellKernels<T> kKernels = {.step = rnn_step<T, relu<T>, false>,
                                              .step_back = {rnn_step_back<T, relu_back<T>>}};
};
template <class T>
struct KernelsOf<CellKind::kRnnTanhLeaky, T> {
  static constexpr CellKernels<T> kKernels = {.step = rnn_step<T, tanh<T>, true>,
                                              .step_back = {leaky_step_back<T, tanh_back<T>>}};
};
template <class T>
struct KernelsOf<CellKind::kRnnReluLeaky, T> {
  static constexpr CellKernels<T> kKernels = {.step = rnn_step<T, relu<T>, true>,
                                              .step_back = {leaky_step_back<T, relu_back<T>>}};
};

}  // namespace
}  // namespace embedrnn::kernels
