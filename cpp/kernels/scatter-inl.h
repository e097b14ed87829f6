// Updates of the rows of a table.
#pragma once

#include "rows-inl.h"
#include "tiles-inl.h"

namespace embedrnn::kernels {
namespace {

// to[c] += from[c]; U is the type the sum is formed in. A from_stride of 0 adds the same number to
// every column.
template <class T, class U>
EMBEDRNN_INLINE void add_row(T* to,
                             std::ptrdiff_t to_stride,
                             const U* from,
                             std::ptrdiff_t from_stride,
                             std::ptrdiff_t cols) {
  for (std::ptrdiff_t c = 0; c < cols; ++c) {
    T& sum = to[c * to_stride];
    sum = static_cast<T>(sum + from[c * from_stride]);
  }
}

// Calls add(row of the target, update) for each item; `Picked`: there are positions. A function of
// its own, for its loop needs all the registers.
template <bool Picked, class T, class U, class Add>
EMBEDRNN_NOINLINE void scatter_items(const ScatterAddBlock<T, U> s, const Add add) {
  const std::ptrdiff_t row_bytes = s.cols * std::ptrdiff_t{sizeof(T)};
  const std::ptrdiff_t ahead = s.ahead;
  const auto add_item = [=](std::ptrdiff_t i) {
    const std::ptrdiff_t position = Picked ? s.positions[i] : i;
    add(s.target + s.rows[i] * s.target_row_stride, s.updates + position * s.update_row_stride);
  };
  std::ptrdiff_t i = 0;
  for (; ahead > 0 && i + ahead < s.n; ++i) {
    const T* const next = s.target + s.rows[i + ahead] * s.target_row_stride;
    prefetch(reinterpret_cast<const char*>(next), row_bytes);
    if constexpr (Picked) {  // no stream that the processor would follow by itself
      const U* const from = s.updates + s.positions[i + ahead] * s.update_row_stride;
      prefetch(reinterpret_cast<const char*>(from), row_bytes);
    }
    add_item(i);
  }
  for (; i < s.n; ++i) add_item(i);
}

template <class T, class U, class Add>
EMBEDRNN_INLINE void scatter_each(const ScatterAddBlock<T, U>& s, const Add& add) {
  s.positions != nullptr ? scatter_items<true>(s, add) : scatter_items<false>(s, add);
}

template <int N, class T>
EMBEDRNN_INLINE void add_part(T* to, const T* from) {
  store_part<N>(to, load_part<N>(to) + load_part<N>(from));
}

// Items whose rows come one by one, in any order.
template <class T>
EMBEDRNN_INLINE void scatter_distinct(const ScatterAddBlock<T, T>& s) {
  constexpr int kLane = kLanes<T>;
  const std::ptrdiff_t cols = s.cols;
  if (cols >= kLane) {
    return scatter_each(s, [=](T* to, const T* from) {
      std::ptrdiff_t c = 0;
      for (; c + kLane <= cols; c += kLane) add_part<kLane>(to + c, from + c);
      for_parts<kLane / 2>(cols - c, [=](auto lanes, std::ptrdiff_t at) {
        add_part<decltype(lanes)::value>(to + c + at, from + c + at);
      });
    });
  }
  // Rows narrower than a vector take a pass over all of them for each part: nothing is left to
  // decide row by row.
  for_parts<kLane / 2>(cols, [=](auto lanes, std::ptrdiff_t at) {
    scatter_each(
        s, [=](T* to, const T* from) { add_part<decltype(lanes)::value>(to + at, from + at); });
  });
}

// Items of which many in a row name the same one: their sum stays in registers, where it would wait
// for each store on its way through memory.
template <class T>
EMBEDRNN_INLINE void scatter_runs(const ScatterAddBlock<T, T> s) {
  for (std::ptrdiff_t first = 0, last = 0; first < s.n; first = last) {
    const std::int64_t row = s.rows[first];
    while (last < s.n && s.rows[last] == row) ++last;
    T* const to = s.target + row * s.target_row_stride;
    for_tiles<T>(0, s.cols, [=](auto sums, std::ptrdiff_t at) EMBEDRNN_INLINE_LAMBDA {
      sums.load(to + at);
      for (std::ptrdiff_t i = first; i < last; ++i) {
        const std::ptrdiff_t position = s.positions != nullptr ? s.positions[i] : i;
        sums.add(s.updates + position * s.update_row_stride + at);
      }
      sums.store(to + at);
    });
  }
}

// Whether at least two thirds of the items name the row of the one before. Where fewer do, each end
// of a run is a branch mispredicted: Zipf's law took twice as long in runs as one by one.
template <class T>
EMBEDRNN_INLINE bool come_in_runs(const ScatterAddBlock<T, T>& s) {
  std::int64_t repeats = 0;
  for (std::ptrdiff_t i = 1; i < s.n; ++i) repeats += s.rows[i] == s.rows[i - 1] ? 1 : 0;
  return 3 * repeats >= 2 * s.n;
}

template <class T, class U>
void scatter_add(const ScatterAddBlock<T, U>& s) noexcept {
  const std::ptrdiff_t to_stride = s.target_col_stride, from_stride = s.update_col_stride;
  const std::ptrdiff_t cols = s.cols;
  if constexpr (sizeof(T) == sizeof(U)) {
    if (to_stride == 1 && from_stride == 1)
      return come_in_runs(s) ? scatter_runs(s) : scatter_distinct(s);
  }
  if (to_stride == 1)
    return scatter_each(s, [=](T* to, const U* from) { add_row(to, 1, from, from_stride, cols); });
  scatter_each(s, [=](T* to, const U* from) { add_row(to, to_stride, from, from_stride, cols); });
}

}  // namespace
}  // namespace embedrnn::kernels
