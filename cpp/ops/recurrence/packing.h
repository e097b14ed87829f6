// Writes weights in the order the kernels read them (kernels/kernels.h), once for many steps.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>

#include "ops/costs.h"
#include "ops/dims.h"
#include "runtime/interrupt.h"
#include "runtime/pool.h"

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

  // Where the first k of a vector stands in a packed weight of K columns, and from there to the
  // next.
  std::ptrdiff_t start(std::ptrdiff_t v, std::ptrdiff_t k) const {
    return (v / panel_ * panel_ * k + v % panel_) * lanes_;
  }
  std::ptrdiff_t k_stride(std::ptrdiff_t v) const {
    return std::min(panel_, vectors() - v / panel_ * panel_) * lanes_;
  }

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

// Shares the packing of n parts of a weight of so many elements among threads. Calls body(part),
// and looks for a Ctrl-C behind some of them.
template <class T, class Body>
void pack_in_parts(std::ptrdiff_t n, std::ptrdiff_t elements, const Body& body) {
  const std::ptrdiff_t bytes = elements * std::ptrdiff_t{sizeof(T)};
  const std::ptrdiff_t chunks = std::min(n, (bytes + kPackedBytes - 1) / kPackedBytes);
  runtime::parallel_for(chunks, [&](std::int64_t chunk) {
    const std::ptrdiff_t end = (chunk + 1) * n / chunks;
    for (std::ptrdiff_t part = chunk * n / chunks; part < end; ++part) body(part);
    runtime::checkpoint();
  });
}

// Packs some columns of the rows of a (gates * hidden, K) weight that vector v holds. The units
// that fill up its lanes get zeros.
template <class T>
void pack_tile(const Packing& packing,
               const MatrixView<const T>& weight,
               const kernels::RecurrentKernels<T>& kernels,
               std::ptrdiff_t v,
               std::ptrdiff_t first,
               std::ptrdiff_t cols,
               T* to,
               std::ptrdiff_t k_stride) {
  const std::ptrdiff_t lanes = packing.lanes(), rows = packing.rows(v);
  for (std::ptrdiff_t k = 0; rows < lanes && k < cols; ++k) {
    std::fill_n(to + k * k_stride, lanes, T{0});
  }
  if (weight.col_stride == 1) {
    kernels.transpose({.from = &weight(packing.first_row(v), first),
                       .from_stride = weight.row_stride,
                       .rows = rows,
                       .cols = cols,
                       .to = to,
                       .to_stride = k_stride});
    return;
  }
  for (std::ptrdiff_t lane = 0; lane < rows; ++lane) {
    for (std::ptrdiff_t k = 0; k < cols; ++k) {
      to[k * k_stride + lane] = weight(packing.first_row(v) + lane, first + k);
    }
  }
}

// Columns read of one row at a time, so that reads and writes both stay in L1.
inline constexpr std::ptrdiff_t kTileColumns = 64;

// Calls body(vector, first column, columns) for each tile of a vector of a weight of K columns.
template <class Body>
void for_each_tile(std::ptrdiff_t k, const Body& body) {
  for (std::ptrdiff_t first = 0; first < k; first += kTileColumns) {
    body(first, std::min(kTileColumns, k - first));
  }
}

template <class T>
void pack_weight(const Packing& packing,
                 const MatrixView<const T>& weight,
                 const kernels::RecurrentKernels<T>& kernels,
                 T* packed) {
  pack_in_parts<T>(packing.vectors(), packing.elements(weight.cols), [&](std::ptrdiff_t v) {
    T* const to = packed + packing.start(v, weight.cols);
    const std::ptrdiff_t k_stride = packing.k_stride(v);
    for_each_tile(weight.cols, [&](std::ptrdiff_t first, std::ptrdiff_t cols) {
      pack_tile(packing, weight, kernels, v, first, cols, to + first * k_stride, k_stride);
    });
  });
}

inline constexpr std::ptrdiff_t kVectorBytes = 64;  // of the widest vectors

// Whether two runs of n elements have the same bytes.
template <class T>
bool same_bytes(const T* a, const T* b, std::ptrdiff_t n) {
  return std::memcmp(a, b, static_cast<std::size_t>(n) * sizeof(T)) == 0;
}

// Whether pack_weight would write what stands there. Writes nothing: what is read has long left the
// caches that a copy would go through.
template <class T>
bool holds_weight(const Packing& packing,
                  const MatrixView<const T>& weight,
                  const kernels::RecurrentKernels<T>& kernels,
                  const T* packed) {
  std::atomic<bool> same{true};
  pack_in_parts<T>(packing.vectors(), packing.elements(weight.cols), [&](std::ptrdiff_t v) {
    const T* const there = packed + packing.start(v, weight.cols);
    const std::ptrdiff_t lanes = packing.lanes(), k_stride = packing.k_stride(v);
    alignas(kVectorBytes) std::array<T, kTileColumns * kVectorBytes / sizeof(T)> tile;
    for_each_tile(weight.cols, [&](std::ptrdiff_t first, std::ptrdiff_t cols) {
      if (!same.load(std::memory_order_relaxed)) return;
      pack_tile(packing, weight, kernels, v, first, cols, tile.data(), lanes);
      for (std::ptrdiff_t k = 0; k < cols; ++k) {
        if (!same_bytes(tile.data() + k * lanes, there + (first + k) * k_stride, lanes))
          same = false;
      }
    });
  });
  return same;
}

// Packs the transpose of a packed weight of K columns, as of one gate of K units.
template <class T>
void pack_transposed(const Packing& packing,
                     const T* packed,
                     std::ptrdiff_t k,
                     const kernels::RecurrentKernels<T>& kernels,
                     T* transposed) {
  const std::ptrdiff_t lanes = packing.lanes(), inputs = packing.gates() * packing.hidden();
  const Packing to(1, k, lanes);
  pack_in_parts<T>(to.panels(), to.elements(inputs), [&](std::ptrdiff_t part) {
    const std::ptrdiff_t first = part * to.panel();
    const std::ptrdiff_t width = to.k_stride(first), column = first * lanes;
    const std::ptrdiff_t cols = std::min(width, k - column);
    T* const panel = transposed + to.start(first, inputs);
    for (std::ptrdiff_t v = 0; v < packing.vectors(); ++v) {
      T* const rows = panel + packing.first_row(v) * width;
      kernels.transpose({.from = packed + packing.start(v, k) + column * packing.k_stride(v),
                         .from_stride = packing.k_stride(v),
                         .rows = cols,
                         .cols = packing.rows(v),
                         .to = rows,
                         .to_stride = width});
      for (std::ptrdiff_t row = 0; cols < width && row < packing.rows(v); ++row)
        std::fill(rows + row * width + cols, rows + (row + 1) * width, T{0});
    }
  });
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
