// Bags of rows: their sum, mean or maximum, and the products of their rows with a gradient.
#pragma once

#include "rows-inl.h"
#include "storage-inl.h"
#include "tiles-inl.h"

namespace embedrnn::kernels {
namespace {

// Columns that are taken at a time while the rows of a bag pass.
template <class T>
inline constexpr std::ptrdiff_t kTileColumns = 8 * kLanes<T>;

// The items of one bag.
struct Items {
  std::ptrdiff_t begin, end;
};

EMBEDRNN_INLINE Items items_of(const BagRows& b, std::ptrdiff_t bag) {
  return b.offsets != nullptr ? Items{b.offsets[bag], b.offsets[bag + 1]} : Items{bag, bag + 1};
}

template <class S>
EMBEDRNN_INLINE std::ptrdiff_t rows_ahead(const BagRows& b) {
  return rows_ahead(RowReader<S>::bytes(b.cols), b.n_rows, kResidentSummedBytes);
}

// Calls body(i, reader of the columns from `first` on) for the items of a bag. In the first tile of
// columns it also fetches the rows to come, of this bag or the next ones. Takes the bags by value,
// to keep them in registers.
template <class S, class Body>
EMBEDRNN_INLINE void for_items(
    const BagRows b, Items items, std::ptrdiff_t first, std::ptrdiff_t ahead, const Body& body) {
  const std::ptrdiff_t row_bytes = RowReader<S>::bytes(b.cols);
  const std::ptrdiff_t last_ahead = ahead > 0 ? b.items - ahead : 0;
  for (std::ptrdiff_t i = items.begin; i < items.end; ++i) {
    if (i < last_ahead) prefetch(b.table + b.rows[i + ahead] * b.table_row_stride, row_bytes);
    body(i, RowReader<S>(b.table + b.rows[i] * b.table_row_stride, first));
  }
}

template <class S, class O, class Sums>
EMBEDRNN_INLINE void sum_tile(const BagSumBlock<Sum<S>>& b,
                              std::ptrdiff_t bag,
                              Sums sums,
                              std::ptrdiff_t first,
                              std::ptrdiff_t ahead) {
  using T = Sum<S>;
  const std::ptrdiff_t n = sums.columns();
  alignas(EMBEDRNN_VECTOR_BYTES) T buffer[Sums::kMost];
  const std::ptrdiff_t out_row = b.out_rows != nullptr ? b.out_rows[bag] : bag;
  O* const out = reinterpret_cast<O*>(b.out + out_row * b.out_row_stride) + first;
  const Items items = items_of(b.bags, bag);
  if (b.out_rows != nullptr) {
    sums.load(RowReader<O>(reinterpret_cast<const char*>(out), 0).columns(0, n, buffer));
  }
  if (const T* const weights = b.weights; weights != nullptr) {
    for_items<S>(b.bags, items, first, ahead, [&](std::ptrdiff_t i, const RowReader<S>& row) {
      sums.add(weights[i], row.columns(0, n, buffer));
    });
  } else {
    for_items<S>(b.bags, items, first, ahead, [&](std::ptrdiff_t, const RowReader<S>& row) {
      sums.add(row.columns(0, n, buffer));
    });
  }
  if (b.mean && items.end > items.begin) sums.divide(static_cast<T>(items.end - items.begin));
  if constexpr (sizeof(O) == sizeof(T)) {
    sums.store(out);
  } else {
    sums.store(buffer);
    write_columns(buffer, n, out);
  }
}

template <class S, class O = typename RowReader<S>::Output>
void bag_sum(const BagSumBlock<Sum<S>>& b) noexcept {
  using T = Sum<S>;
  const std::ptrdiff_t ahead = rows_ahead<S>(b.bags);
  for (std::ptrdiff_t bag = b.bags.first; bag < b.bags.last; ++bag) {
    const auto sum = [&](auto sums, std::ptrdiff_t first) EMBEDRNN_INLINE_LAMBDA {
      sum_tile<S, O>(b, bag, sums, first, first == b.first_col ? ahead : 0);
    };
    if constexpr (sizeof(S) == sizeof(T) && sizeof(O) == sizeof(T)) {
      for_tiles<T>(b.first_col, b.last_col, sum);
    } else {
      for_exact_tiles<T>(b.first_col, b.last_col, b.out_rows == nullptr, sum);
    }
  }
}

// Bags of one row each are written as they are read. A sum from zero has the same bits if no column
// is a -0, and without an offset of -0 none is.
void bag_sum_int8(const BagSumBlock<float>& b) noexcept {
  if (b.bags.offsets != nullptr || b.weights != nullptr || b.out_rows != nullptr)
    return bag_sum<Int8Row>(b);
  const std::ptrdiff_t ahead = rows_ahead<Int8Row>(b.bags);
  const auto write = [=](std::ptrdiff_t i, RowReader<Int8Row> row) {
    row.offset += 0.0f;
    float* const out = reinterpret_cast<float*>(b.out + i * b.out_row_stride);
    row.columns(0, b.last_col - b.first_col, out + b.first_col);
  };
  for_items<Int8Row>(b.bags, {b.bags.first, b.bags.last}, b.first_col, ahead, write);
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
  for (std::ptrdiff_t c = 0; c < n; ++c) winner[c] = -1;
  for_items<S>(b.bags, items, first, 0, [&](std::ptrdiff_t i, const RowReader<S>& row) {
    const T* const values = row.columns(0, n, buffer);
    if (i == items.begin) {
      for (std::ptrdiff_t c = 0; c < n; ++c) most[c] = values[c];
      for (std::ptrdiff_t c = 0; c < n; ++c) winner[c] = i;
    } else {
      for (std::ptrdiff_t c = 0; c < n; ++c) keep_greater(values[c], i, most[c], winner[c]);
    }
  });
  write_columns(most, n, reinterpret_cast<O*>(b.out + bag * b.out_row_stride) + first);
  if (b.winners == nullptr) return;
  for (std::ptrdiff_t c = 0; c < n; ++c) b.winners[bag * b.bags.cols + first + c] = winner[c];
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
  const std::ptrdiff_t ahead = rows_ahead<S>(b.bags);
  for (std::ptrdiff_t bag = b.bags.first; bag < b.bags.last; ++bag) {
    const T* const gradient = b.gradient + bag * b.bags.cols;
    for_items<S>(
        b.bags, items_of(b.bags, bag), 0, ahead, [&](std::ptrdiff_t i, const RowReader<S>& row) {
          Dot<T> dot;
          for (std::ptrdiff_t first = 0; first < b.bags.cols; first += kColumns) {
            const std::ptrdiff_t left = b.bags.cols - first, n = left < kColumns ? left : kColumns;
            dot.add(gradient + first, row.columns(first, n, buffer), n);
          }
          b.out[i] = dot.sum();
        });
  }
}

}  // namespace
}  // namespace embedrnn::kernels
