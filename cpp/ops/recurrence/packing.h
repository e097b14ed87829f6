// Writes weights in the order the kernels read them (kernels/kernels.h), once for many steps.
#pragma once

#include <algorithm>

#include "ops/dims.h"
#include "runtime/interrupt.h"

namespace embedrnn::ops {

// One matrix of `gates` blocks of `hidden` rows: how it is cut into vectors of `lanes` units. Its
// sizes are divided out once: a division takes longer than much else in a step of few units.
class Packing {
 public:
  Packing(std::ptrdiff_t gates, std::ptrdiff_t hidden, std::ptrdiff_t lanes)
      : gates_(gates), hidden_(hidden), lanes_(lanes), panel_(kernels::panel_vectors(gates)),
        unit_vectors_((hidden + lanes - 1) / lanes), panels_((vectors() + panel_ - 1) / panel_) {}

  std::ptrdiff_t gates() const { return gates_; }
  std::ptrdiff_t hidden() const { return hidden_; }
  std::ptrdiff_t lanes() const { return lanes_; }
  std::ptrdiff_t panel() const { return panel_; }
  std::ptrdiff_t panels() const { return panels_; }
  std::ptrdiff_t vectors() const { return gates_ * unit_vectors_; }
  // Elements of a packed bias, of a row of pre-activations, and of a state row.
  std::ptrdiff_t width() const { return vectors() * lanes_; }
  std::ptrdiff_t state() const { return unit_vectors_ * lanes_; }
  // Elements of a packed weight of K columns.
  std::ptrdiff_t elements(std::ptrdiff_t k) const { return width() * k; }

  // The share of one of `size` threads: whole panels.
  kernels::UnitRange units(std::ptrdiff_t rank, std::ptrdiff_t size) const {
    if (size == 1) return {0, unit_vectors_, false};
    const std::ptrdiff_t per_panel = panel_ / gates_;
    const auto start = [&](std::ptrdiff_t r) { return r * panels_ / size * per_panel; };
    return {start(rank), std::min(unit_vectors_, start(rank + 1)), false};
  }

  // The weight rows that vector v holds, in lane order; fewer than `lanes` at the end of a gate.
  std::ptrdiff_t first_row(std::ptrdiff_t v) const {
    return v % gates_ * hidden_ + v / gates_ * lanes_;
  }
  std::ptrdiff_t rows(std::ptrdiff_t v) const {
    return std::min(lanes_, hidden_ - v / gates_ * lanes_);
  }

 private:
  std::ptrdiff_t gates_, hidden_, lanes_, panel_, unit_vectors_, panels_;
};

// Packs a (gates * hidden, K) weight. Looks for a Ctrl-C every 100 us or so.
template <class T>
void pack_weight(const Packing& packing, const MatrixView<const T>& weight, T* packed) {
  constexpr std::ptrdiff_t kTile =
      64;  // columns read of one row at a time, so that reads and writes both stay in L1
  constexpr std::ptrdiff_t kTiles = 64;  // that are packed between two looks for a Ctrl-C
  const std::ptrdiff_t vectors = packing.vectors(), lanes = packing.lanes();
  std::ptrdiff_t tiles = 0;
  for (std::ptrdiff_t v = 0; v < vectors; ++v) {
    const std::ptrdiff_t panel = v / packing.panel() * packing.panel();
    const std::ptrdiff_t k_stride = std::min(packing.panel(), vectors - panel) * lanes;
    T* const to = packed + panel * lanes * weight.cols + (v - panel) * lanes;
    for (std::ptrdiff_t tile = 0; tile < weight.cols; tile += kTile) {
      if (++tiles % kTiles == 0) runtime::checkpoint();
      const std::ptrdiff_t end = std::min(tile + kTile, weight.cols);
      for (std::ptrdiff_t k = tile; packing.rows(v) < lanes && k < end; ++k) {
        std::fill_n(to + k * k_stride, lanes, T{0});
      }
      for (std::ptrdiff_t lane = 0; lane < packing.rows(v); ++lane) {
        for (std::ptrdiff_t k = tile; k < end; ++k) {
          to[k * k_stride + lane] = weight(packing.first_row(v) + lane, k);
        }
      }
    }
  }
}

// Packs the transpose of a packed weight of K columns, as of one gate of K units: one row of source
// vectors after the other, whose lines are read in every column of a panel.
template <class T>
void pack_transposed(const Packing& packing, const T* packed, std::ptrdiff_t k, T* transposed) {
  const std::ptrdiff_t lanes = packing.lanes(), vectors = packing.vectors();
  const std::ptrdiff_t inputs = packing.gates() * packing.hidden();
  const Packing to(1, k, lanes);
  for (std::ptrdiff_t first = 0; first < to.vectors(); first += to.panel()) {
    const std::ptrdiff_t width = std::min(to.panel(), to.vectors() - first) * lanes;
    const std::ptrdiff_t column = first * lanes, cols = std::min(width, k - column);
    T* const panel_to = transposed + column * inputs;
    for (std::ptrdiff_t v = 0; v < vectors; ++v) {
      const std::ptrdiff_t panel = v / packing.panel() * packing.panel();
      const std::ptrdiff_t k_stride = std::min(packing.panel(), vectors - panel) * lanes;
      const T* const from =
          packed + panel * lanes * k + column * k_stride + (v - panel) * lanes;
      for (std::ptrdiff_t lane = 0; lane < packing.rows(v); ++lane) {
        T* const row = panel_to + (packing.first_row(v) + lane) * width;
        for (std::ptrdiff_t c = 0; c < cols; ++c) row[c] = from[c * k_stride + lane];
        std::fill(row + cols, row + width, T{0});
      }
    }
    runtime::checkpoint();
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
      packed[v * packing.lanes() + lane] = (a.data != nullptr ? a(row) : T{0}) + from_b;
    }
  }
}

}  // namespace embedrnn::ops
