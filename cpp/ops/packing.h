// Writes weights in the order the kernels read them (kernels/table.h), once for many steps.
#pragma once

#include <algorithm>

#include "ops/dims.h"

namespace embedrnn::ops {

// One matrix of `gates` blocks of `hidden` rows: how it is cut into vectors of `lanes` units.
struct Packing {
  std::ptrdiff_t gates, hidden, lanes;

  std::ptrdiff_t panel() const { return kernels::panel_vectors(gates); }
  std::ptrdiff_t unit_vectors() const { return (hidden + lanes - 1) / lanes; }
  std::ptrdiff_t vectors() const { return gates * unit_vectors(); }
  std::ptrdiff_t panels() const { return (vectors() + panel() - 1) / panel(); }

  // The share of one of `size` threads: whole panels.
  kernels::UnitRange units(std::ptrdiff_t rank, std::ptrdiff_t size) const {
    const std::ptrdiff_t per_panel = panel() / gates;
    const auto start = [&](std::ptrdiff_t r) { return r * panels() / size * per_panel; };
    return {start(rank), std::min(unit_vectors(), start(rank + 1)), false};
  }
  std::ptrdiff_t width() const {
    return vectors() * lanes;
  }  // of a packed bias, and of a row of pre-activations
  std::ptrdiff_t elements(std::ptrdiff_t k) const { return width() * k; }

  // The weight rows that vector v holds, in lane order; fewer than `lanes` at the end of a gate.
  std::ptrdiff_t first_row(std::ptrdiff_t v) const {
    return v % gates * hidden + v / gates * lanes;
  }
  std::ptrdiff_t rows(std::ptrdiff_t v) const {
    return std::min(lanes, hidden - v / gates * lanes);
  }
};

// Packs a (gates * hidden, K) weight.
template <class T>
void pack_weight(const Packing& packing, const MatrixView<const T>& weight, T* packed) {
  constexpr std::ptrdiff_t kTile =
      64;  // columns read of one row at a time, so that reads and writes both stay in L1
  const std::ptrdiff_t vectors = packing.vectors(), lanes = packing.lanes;
  for (std::ptrdiff_t v = 0; v < vectors; ++v) {
    const std::ptrdiff_t panel = v / packing.panel() * packing.panel();
    const std::ptrdiff_t k_stride = std::min(packing.panel(), vectors - panel) * lanes;
    T* const to = packed + panel * lanes * weight.cols + (v - panel) * lanes;
    for (std::ptrdiff_t k = 0; packing.rows(v) < lanes && k < weight.cols; ++k) {
      std::fill_n(to + k * k_stride, lanes, T{0});
    }
    for (std::ptrdiff_t tile = 0; tile < weight.cols; tile += kTile) {
      const std::ptrdiff_t end = std::min(tile + kTile, weight.cols);
      for (std::ptrdiff_t lane = 0; lane < packing.rows(v); ++lane) {
        for (std::ptrdiff_t k = tile; k < end; ++k) {
          to[k * k_stride + lane] = weight(packing.first_row(v) + lane, k);
        }
      }
    }
  }
}

// Packs a bias of gates * hidden elements, plus the first `b_rows` elements of another; an absent
// one has no data.
template <class T>
void pack_bias(const Packing& packing,
               const VectorView<const T>& a,
               const VectorView<const T>& b,
               std::ptrdiff_t b_rows,
               T* packed) {
  std::fill_n(packed, packing.width(), T{0});
  for (std::ptrdiff_t v = 0; v < packing.vectors(); ++v) {
    for (std::ptrdiff_t lane = 0; lane < packing.rows(v); ++lane) {
      const std::ptrdiff_t row = packing.first_row(v) + lane;
      const T from_b = b.data != nullptr && row < b_rows ? b(row) : T{0};
      packed[v * packing.lanes + lane] = (a.data != nullptr ? a(row) : T{0}) + from_b;
    }
  }
}

}  // namespace embedrnn::ops
