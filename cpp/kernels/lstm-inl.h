// The LSTM cell, gates in the order i, f, g, o: c' = f c + i g, h' = o tanh(c').
#pragma once

#include "cell-inl.h"

namespace embedrnn::kernels {
namespace {

// Peepholes are of i, f and o: the first two see c before the step, and o that behind it.
template <class T, bool Peepholes>
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
        const auto seen = [&](Vec<T> sum, std::ptrdiff_t peephole, Vec<T> c) {
          if constexpr (Peepholes) sum = sum + diagonal<3>(s, u, peephole) * c;
          return sum;
        };
        for (std::ptrdiff_t row = tile.first_row; row < tile.first_row + tile.rows; ++row) {
          const Vec<T> c_prev = load(s.c + at(s, row, u));
          const Vec<T> to_i = seen(tile(row, v), 0, c_prev), to_g = tile(row, v + 2);
          const Vec<T> f = sigmoid<T>(seen(tile(row, v + 1), 1, c_prev));
          // Apart from the sum: what a sanitizer checks in between would keep GCC from fusing that
          // with its product, as it does in other builds.
          const Vec<T> i_g = sigmoid_times_tanh<T>(to_i, to_g), c = f * c_prev + i_g;
          const Vec<T> to_o = seen(tile(row, v + 3), 2, c);
          if (s.kept != nullptr) {
            const Vec<T> i = near_sigmoid<T>(to_i), g = near_tanh<T>(to_g);
            keep(s, row, u, {i, f, g, near_sigmoid<T>(to_o), c_prev});
          }
          store(s.c + at(s, row, u), c);
          emit(s, row, u, sigmoid_times_tanh<T>(to_o, c));
        }
      });
}

template <class T>
void lstm_step_back(const CellStepBack<T>& s) noexcept {
  for_units_back<6>(s, [](const UnitBack<T>& unit) {
    const Vec<T> i = unit.of(1), f = unit.of(2), g = unit.of(3), o = unit.of(4), c = unit.of(5);
    const Vec<T> dh = load(unit.dh), tanh_c = tanh<T>(f * c + rounded(i * g));
    const Vec<T> dc = load(unit.dc) + dh * o * (T{1} - tanh_c * tanh_c);
    unit.gate(0, dc * g * i * (T{1} - i));
    unit.gate(1, dc * c * f * (T{1} - f));
    unit.gate(2, dc * i * (T{1} - g * g));
    unit.gate(3, dh * tanh_c * o * (T{1} - o));
    store(unit.dc, dc * f);
    store(unit.dh, Vec<T>{});
  });
}

// Of the peepholes too, what the step adds to their gradients.
template <class T>
void peephole_step_back(const CellStepBack<T>& s) noexcept {
  for_units_back<6>(s, [](const UnitBack<T>& unit) {
    const Vec<T> p_i = diagonal<3>(unit, unit.u, 0), p_f = diagonal<3>(unit, unit.u, 1);
    const Vec<T> p_o = diagonal<3>(unit, unit.u, 2);
    const Vec<T> i = unit.of(1), f = unit.of(2), g = unit.of(3), o = unit.of(4), c = unit.of(5);
    const Vec<T> dh = load(unit.dh), new_c = f * c + rounded(i * g), tanh_c = tanh<T>(new_c);
    const Vec<T> d_o = dh * tanh_c * o * (T{1} - o);
    const Vec<T> dc = load(unit.dc) + dh * o * (T{1} - tanh_c * tanh_c) + d_o * p_o;
    const Vec<T> d_i = dc * g * i * (T{1} - i), d_f = dc * c * f * (T{1} - f);
    unit.gate(0, d_i);
    unit.gate(1, d_f);
    unit.gate(2, dc * i * (T{1} - g * g));
    unit.gate(3, d_o);
    unit.gate(4, d_i * c);
    unit.gate(5, d_f * c);
    unit.gate(6, d_o * new_c);
    store(unit.dc, dc * f + rounded(d_i * p_i + rounded(d_f * p_f)));
    store(unit.dh, Vec<T>{});
  });
}

template <class T>
struct KernelsOf<CellKind::kLstm, T> {
  static constexpr CellKernels<T> kKernels = {.step = lstm_step<T, false>,
                                              .step_back = {lstm_step_back<T>}};
};
template <class T>
struct KernelsOf<CellKind::kLstmPeephole, T> {
  static constexpr CellKernels<T> kKernels = {.step = lstm_step<T, true>,
                                              .step_back = {peephole_step_back<T>}};
};

}  // namespace
}  // namespace embedrnn::kernels
