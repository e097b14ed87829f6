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
          const Vec<T> from_h = tile(row, v + 2);
          const Vec<T> n = tanh<T>(r * from_h + projected<T, 3>(s, row, u, 2));
          if (s.kept != nullptr) keep(s, row, u, {r, z, n, from_h});
          emit_update(s, row, u, z, n);
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
            const Vec<T> r = sigmoid<T>(tile(row, v)), z = sigmoid<T>(tile(row, v + 1));
            const Vec<T> r_h = r * load(s.h_prev + unit);
            if (s.kept != nullptr) keep(s, row, v / 2, {r, z, Vec<T>{}, r_h});
            store(reset_h + unit, r_h);
            store(update + unit, z);
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
            const Vec<T> n = tanh<T>(tile(row, u));
            if (s.kept != nullptr) store(s.kept[row] + 3 * at(s, 1, 0) + u * kLanes<T>, n);
            emit_update(s, row, u, load(update + at(s, row, u)), n);
          }
        }
      });
}

// Of n, what reaches its pre-activation; what reaches h past it stays in dh.
template <class T>
EMBEDRNN_INLINE Vec<T> update_back(const UnitBack<T>& unit) {
  const Vec<T> h = unit.of(0), z = unit.of(2), n = unit.of(3), dh = load(unit.dh);
  unit.gate(1, dh * (h - n) * z * (T{1} - z));
  store(unit.dh, dh * z);
  return dh * (T{1} - z) * (T{1} - n * n);
}

// The recurrent product of n has a gradient of its own, the fourth.
template <class T>
void gru_step_back(const CellStepBack<T>& s) noexcept {
  for_units_back<5>(s, [](const UnitBack<T>& unit) {
    const Vec<T> r = unit.of(1), dn = update_back(unit);
    unit.gate(0, dn * unit.of(4) * r * (T{1} - r));
    unit.gate(2, dn);
    unit.gate(3, dn * r);
  });
}

template <class T>
void gru_reset_before_step_back(const CellStepBack<T>& s) noexcept {
  for_units_back<4>(s, [](const UnitBack<T>& unit) { unit.gate(2, update_back(unit)); });
}

// Behind the product of n: what reaches r h.
template <class T>
void gru_reset_before_step_back_2(const CellStepBack<T>& s) noexcept {
  for_units_back<0>(s, [](const UnitBack<T>& unit) {
    const Vec<T> h = unit.of(0), r = unit.of(1), d_reset_h = load(unit.d_product);
    unit.gate(0, d_reset_h * h * r * (T{1} - r));
    store(unit.dh, load(unit.dh) + d_reset_h * r);
  });
}

template <class T>
struct KernelsOf<CellKind::kGru, T> {
  static constexpr CellKernels<T> kKernels = {.step = gru_step<T>, .step_back = {gru_step_back<T>}};
};
template <class T>
struct KernelsOf<CellKind::kGruResetBefore, T> {
  static constexpr CellKernels<T> kKernels = {
      .step = gru_reset_before_step<T>,
      .step_back = {gru_reset_before_step_back<T>, gru_reset_before_step_back_2<T>}};
};

}  // namespace
}  // namespace embedrnn::kernels
