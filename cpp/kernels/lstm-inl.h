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
          const Vec<T> c_prev = load(s.c + at(s, row, u)), c = f * c_prev + i_g;
          if (s.kept != nullptr) {
            const Vec<T> i = near_sigmoid<T>(tile(row, v)), g = near_tanh<T>(tile(row, v + 2));
            keep(s, row, u, {i, f, g, near_sigmoid<T>(tile(row, v + 3)), c_prev});
          }
          store(s.c + at(s, row, u), c);
          emit(s, row, u, sigmoid_times_tanh<T>(tile(row, v + 3), c));
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

template <class T>
struct KernelsOf<CellKind::kLstm, T> {
  static constexpr CellKernels<T> kKernels = {.step = lstm_step<T>,
                                              .step_back = {lstm_step_back<T>}};
};

}  // namespace
}  // namespace embedrnn::kernels
