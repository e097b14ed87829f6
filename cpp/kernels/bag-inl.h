// Bags of rows: their sum, mean or maximum, and the products of their rows with a gradient.
#pragma once

#include "rows-inl.h"
#include "storage-inl.h"
#include "tiles-inl.h"

namespace embedrnn::kernels {
namespace {

// Columns that are taken at a time while the rows of a bag pass.
template <class T>
inline constexpr std::ptrdiff_t kTileColumns = kTileVectors * kLanes<T>;

// The items of one bag.
struct Items {
  std::ptrdiff_t begin, end;
};

EMBEDRNN_INLINE Items items_of(const BagRows& b, std::ptrdiff_t bag) {
  return {b.offsets[bag], b.offsets[bag + 1]};
}

// Calls body(i, reader of the columns from `first` on) for the items of a bag, and fetches n
// columns from there of the rows to come, of this bag or the next ones: those of the tile in hand
// alone, so that fetching and adding keep pace. All columns in the first tile took 1.1 to 1.3 times
// as long. Takes the bags by value, to keep them in registers.
template <class S, class Body>
EMBEDRNN_INLINE void
for_items(const BagRows b, Items items, std::ptrdiff_t first, std::ptrdiff_t n, const Body& body) {
  const std::ptrdiff_t bytes = RowReader<S>::bytes(n);
  const char* const columns = b.table + (first > 0 ? RowReader<S>::bytes(first) : 0);
  const std::ptrdiff_t last_ahead = b.ahead > 0 ? b.items - b.ahead : 0;
  for (std::ptrdiff_t i = items.begin; i < items.end; ++i) {
    if (i < last_ahead) prefetch(columns + b.rows[i + b.ahead] * b.table_row_stride, bytes);
    body(i, RowReader<S>(b.table + b.rows[i] * b.table_row_stride, first));
  }
}

// How the sum of each bag begins and ends, asked once for all bags: asking for each took 0.1 of the
// time of bags of one narrow row.
struct Ends {
  bool from_zero;  // else from what another piece of the bag summed, or from what the output holds
  bool as_summed;  // else as the mean, or as what the next piece begins from
};

template <class S, class O, class Sums>
EMBEDRNN_INLINE void sum_tile(
    const BagSumBlock<Sum<S>>& b, Ends ends, std::ptrdiff_t bag, Sums sums, std::ptrdiff_t first) {
  using T = Sum<S>;
  const std::ptrdiff_t n = sums.columns();
  alignas(EMBEDRNN_VECTOR_BYTES) T buffer[Sums::kMost];
  const std::ptrdiff_t out_row = b.out_rows != nullptr ? b.out_rows[bag] : bag;
  O* const out = reinterpret_cast<O*>(b.out + out_row * b.out_row_stride) + first;
  const Items items = items_of(b.bags, bag);
  if (!ends.from_zero) {
    if (b.before != nullptr) {
      sums.load(b.before + (first - b.first_col));
    } else {
      sums.load(RowReader<O>(reinterpret_cast<const char*>(out), 0).columns(0, n, buffer));
    }
  }
  if (const T* const weights = b.weights; weights != nullptr) {
    for_items<S>(b.bags, items, first, Sums::kMost, [&](std::ptrdiff_t i, const RowReader<S>& row) {
      sums.add(weights[i], row.columns(0, n, buffer));
    });
  } else {
    for_items<S>(b.bags, items, first, Sums::kMost, [&](std::ptrdiff_t, const RowReader<S>& row) {
      sums.add(row.columns(0, n, buffer));
    });
  }
  if (!ends.as_summed) {
    if (b.after != nullptr) return sums.store(b.after + (first - b.first_col));
    const std::ptrdiff_t count = b.items_before + items.end - items.begin;
    if (count > 0) sums.divide(static_cast<T>(count));
  }
  if constexpr (sizeof(O) == sizeof(T)) {
    sums.store(out);
  } else {
    sums.store(buffer);
    write_columns(buffer, n, out);
  }
}

// The end of the bags from `first` on that are summed a tile at a time together, so that a tile's
// width is asked for once: all of them if there is but one tile, else some whose rows stay in L1.
template <class S>
EMBEDRNN_INLINE std::ptrdiff_t end_of_block(const BagSumBlock<Sum<S>>& b, std::ptrdiff_t first) {
  constexpr std::ptrdiff_t kBytes = std::ptrdiff_t{1} << 12;
  const std::ptrdiff_t cols = b.last_col - b.first_col, row_bytes = RowReader<S>::bytes(cols);
  if (cols <= kTileColumns<Sum<S>>) return b.bags.last;
  const std::int64_t* const offsets = b.bags.offsets;
  std::ptrdiff_t last = first + 1;
  while (last < b.bags.last && (offsets[last + 1] - offsets[first]) * row_bytes <= kBytes) ++last;
  return last;
}

template <class S, class O = typename RowReader<S>::Output>
void bag_sum(const BagSumBlock<Sum<S>>& b) noexcept {
  using T = Sum<S>;
  const Ends ends{b.before == nullptr && b.out_rows == nullptr, b.after == nullptr && !b.mean};
  for (std::ptrdiff_t first_bag = b.bags.first, last_bag; first_bag < b.bags.last;
       first_bag = last_bag) {
    last_bag = end_of_block<S>(b, first_bag);
    const auto sum = [&](auto sums, std::ptrdiff_t first) EMBEDRNN_INLINE_LAMBDA {
      for (std::ptrdiff_t bag = first_bag; bag < last_bag; ++bag)
        sum_tile<S, O>(b, ends, bag, sums, first);
    };
    if constexpr (sizeof(S) == sizeof(T) && sizeof(O) == sizeof(T)) {
      for_tiles<T>(b.first_col, b.last_col, sum);
    } else {
      for_exact_tiles<T>(b.first_col, b.last_col, b.out_rows == nullptr, sum);
    }
  }
}

// Keeps the first of equal values, and the first NaN, as numpy.maximum does; `winner` is its item.
template <class T>
EMBEDRNN_INLINE void keep_greater(T x, std::ptrdiff_t i, T& most, std::ptrdiff_t& winner) {
  const bool greater = x > most || (x != x && most == most);
  most = greater ? x : most;
  winner = greater ? i : winner;
}

template <class S>
EMBEDRNN_INLINE void
max_tile(const BagMaxBlock& b, std::ptrdiff_t bag, std::ptrdiff_t first, std::ptrdiff_t n) {
  using T = Sum<S>;
  using O = typename RowReader<S>::Output;
  alignas(EMBEDRNN_VECTOR_BYTES) T buffer[kTileColumns<T>], most[kTileColumns<T>] = {};
  std::ptrdiff_t winner[kTileColumns<T>];
  const Items items = items_of(b.bags, bag);
  O* const out = reinterpret_cast<O*>(b.out + bag * b.out_row_stride) + first;
  std::int64_t* const winners =
      b.winners != nullptr ? b.winners + bag * b.bags.cols + first : nullptr;
  for (std::ptrdiff_t c = 0; c < n; ++c) winner[c] = b.goes_on && winners ? winners[c] : -1;
  if (b.goes_on) {
    const T* const before =
        RowReader<O>(reinterpret_cast<const char*>(out), 0).columns(0, n, buffer);
    for (std::ptrdiff_t c = 0; c < n; ++c) most[c] = before[c];
  }
  const std::ptrdiff_t first_of_all = b.goes_on ? -1 : items.begin;
  for_items<S>(b.bags, items, first, n, [&](std::ptrdiff_t i, const RowReader<S>& row) {
    const T* const values = row.columns(0, n, buffer);
    if (i == first_of_all) {
      for (std::ptrdiff_t c = 0; c < n; ++c) most[c] = values[c];
      for (std::ptrdiff_t c = 0; c < n; ++c) winner[c] = i;
    } else {
      for (std::ptrdiff_t c = 0; c < n; ++c) keep_greater(values[c], i, most[c], winner[c]);
    }
  });
  write_columns(most, n, out);
  if (winners == nullptr) return;
  for (std::ptrdiff_t c = 0; c < n; ++c) winners[c] = winner[c];
}

template <class S>
void bag_max(const BagMaxBlock& b) noexcept {
  constexpr std::ptrdiff_t kColumns = kTileColumns<Sum<S>>;
  const std::ptrdiff_t cols = b.bags.cols;
  for (std::ptrdiff_t bag = b.bags.first; bag < b.bags.last; ++bag) {
    for (std::ptrdiff_t first = 0; first < cols; first += kColumns) {
      max_tile<S>(b, bag, first, cols - first < kColumns ? cols - first : kColumns);
    }
  }
}

// The sum of a[c] * b[c], in a fixed number of interleaved partial sums: the same bits at any
// vector width.
template <class T>
struct Dot {
  static constexpr std::ptrdiff_t kParts = 64 / std::ptrdiff_t{sizeof(T)};
  T part[kParts] = {};

  EMBEDRNN_INLINE void add(const T* a, const T* b, std::ptrdiff_t n) {
    std::ptrdiff_t c = 0;
    for (; c + kParts <= n; c += kParts) {
      for (std::ptrdiff_t p = 0; p < kParts; ++p) part[p] += a[c + p] * b[c + p];
    }
    for (std::ptrdiff_t p = 0; c + p < n; ++p) part[p] += a[c + p] * b[c + p];
  }
  EMBEDRNN_INLINE T sum() {
    for (std::ptrdiff_t half = kParts / 2; half > 0; half /= 2) {
      for (std::ptrdiff_t p = 0; p < half; ++p) part[p] += part[p + half];
    }
    return part[0];
  }
};

template <class S>
void bag_dot(const BagDotBlock<Sum<S>>& b) noexcept {
  using T = Sum<S>;
  constexpr std::ptrdiff_t kColumns = kTileColumns<T>;
  alignas(EMBEDRNN_VECTOR_BYTES) T buffer[kColumns];
  for (std::ptrdiff_t bag = b.bags.first; bag < b.bags.last; ++bag) {
    const auto* const gradient =
        reinterpret_cast<const T*>(b.gradient + bag * b.gradient_row_stride);
    for_items<S>(b.bags,
                 items_of(b.bags, bag),
                 0,
                 b.bags.cols,
                 [&](std::ptrdiff_t i, const RowReader<S>& row) {
                   Dot<T> dot;
                   for (std::ptrdiff_t first = 0; first < b.bags.cols; first += kColumns) {
                     const std::ptrdiff_t left = b.bags.cols - first,
                                          n = left < kColumns ? left : kColumns;
                     dot.add(gradient + first, row.columns(first, n, buffer), n);
                   }
                   b.out[i] = dot.sum();
                 });
  }
}

}  // namespace
}  // namespace embedrnn::kernels
