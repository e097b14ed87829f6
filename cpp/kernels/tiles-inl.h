// Columns a tile at a time, so that their sums stay in registers while rows pass.
#pragma once

#include "simd-inl.h"

namespace embedrnn::kernels {
namespace {

// The sums of n columns, in vectors of N lanes: more than Vectors - 1 of them full. The last ends
// where the columns do, so it may share some with the one before: they are summed twice, alike.
template <class T, int N, int Vectors, bool Exact = false>
struct TileSums {
  static constexpr std::ptrdiff_t kMost = std::ptrdiff_t{N} * Vectors;
  Part<T, N> sum[Vectors] = {};
  std::ptrdiff_t n;

  EMBEDRNN_INLINE explicit TileSums(std::ptrdiff_t columns = kMost) : n(columns) {}

  // Known at compile time if Exact.
  EMBEDRNN_INLINE std::ptrdiff_t columns() const { return Exact ? kMost : n; }

  // Calls body(a sum, its first column) for each vector.
  template <class Body>
  EMBEDRNN_INLINE void each(const Body& body) {
#pragma GCC unroll 12
    for (int v = 0; v < Vectors; ++v)
      body(sum[v], v > 0 && v == Vectors - 1 ? columns() - N : std::ptrdiff_t{v} * N);
  }
  EMBEDRNN_INLINE void load(const T* p) {
    each([=](Part<T, N>& s, std::ptrdiff_t at) { s = load_part<N>(p + at); });
  }
  EMBEDRNN_INLINE void add(const T* p) {
    each([=](Part<T, N>& s, std::ptrdiff_t at) { s += load_part<N>(p + at); });
  }
  EMBEDRNN_INLINE void add(T weight, const T* p) {
    each([=](Part<T, N>& s, std::ptrdiff_t at) {
      s = multiply_add(weight, load_part<N>(p + at), s);
    });
  }
  EMBEDRNN_INLINE void divide(T by) {
    each([=](Part<T, N>& s, std::ptrdiff_t) { s /= by; });
  }
  EMBEDRNN_INLINE void store(T* p) {
    each([=](const Part<T, N>& s, std::ptrdiff_t at) { store_part<N>(p + at, s); });
  }
};

// Calls body(Int<N>{}) for the widest N, a power of two up to Widest, that is at most n > 0.
template <int Widest, class Body>
EMBEDRNN_INLINE void with_lanes(std::ptrdiff_t n, const Body& body) {
  if constexpr (Widest == 1) {
    body(Int<1>{});
  } else if (n >= Widest) {
    body(Int<Widest>{});
  } else {
    with_lanes<Widest / 2>(n, body);
  }
}

// The most vectors of a tile: 8 took 1.16 times as long for rows of 12.
inline constexpr int kTileVectors = 12;

// Calls body(sums, first column) for each tile of the columns; `sums` is of the type that keeps
// them in registers. Tiles are about alike. Columns fewer than a vector are one tile of narrower
// ones.
template <class T, class Body>
EMBEDRNN_INLINE void for_tiles(std::ptrdiff_t first, std::ptrdiff_t last, const Body& body) {
  constexpr std::ptrdiff_t kLane = kLanes<T>;
  if (last - first >= kLane) {
    while (first < last) {
      const std::ptrdiff_t left = last - first, vectors = (left + kLane - 1) / kLane;
      const std::ptrdiff_t tiles = (vectors + kTileVectors - 1) / kTileVectors;
      const std::ptrdiff_t taken = (vectors + tiles - 1) / tiles;
      const std::ptrdiff_t n = tiles == 1 ? left : taken * kLane;
      with_constant<kTileVectors>(
          taken, [=](auto count) { body(TileSums<T, kLane, decltype(count)::value>(n), first); });
      first += n;
    }
  } else if (first < last) {
    const std::ptrdiff_t n = last - first;
    with_lanes<kLane / 2>(n, [=](auto lanes) {
      constexpr int kNarrow = decltype(lanes)::value;
      with_constant<2>(n > kNarrow ? 2 : 1, [=](auto count) {
        body(TileSums<T, kNarrow, decltype(count)::value>(n), first);
      });
    });
  }
}

// The same, but that how many columns a tile has is known at compile time, which code that converts
// them needs: whole vectors, and for the rest either the last vector of the columns, of which some
// come twice, or a tile of narrower ones for each part.
template <class T, class Body>
EMBEDRNN_INLINE void
for_exact_tiles(std::ptrdiff_t first, std::ptrdiff_t last, bool may_repeat, const Body& body) {
  constexpr int kLane = kLanes<T>;
  const bool repeats = may_repeat && last - first >= kLane;
  while (last - first >= kLane) {
    const std::ptrdiff_t vectors = (last - first) / kLane;
    const std::ptrdiff_t tiles = (vectors + kTileVectors - 1) / kTileVectors;
    with_constant<kTileVectors>((vectors + tiles - 1) / tiles, [&](auto count) {
      using Sums = TileSums<T, kLane, decltype(count)::value, true>;
      body(Sums{}, first);
      first += Sums::kMost;
    });
  }
  if (repeats && first < last) return body(TileSums<T, kLane, 1, true>{}, last - kLane);
  for_parts<kLane / 2>(last - first, [&](auto lanes, std::ptrdiff_t at) {
    body(TileSums<T, decltype(lanes)::value, 1, true>{}, first + at);
  });
}

}  // namespace
}  // namespace embedrnn::kernels
