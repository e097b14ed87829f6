// Rows of a table: gather and scatter_add.
#pragma once

#include "rows-inl.h"
#include "tiles-inl.h"

namespace embedrnn::kernels {
namespace {

using ByteVec = VectorTypes<unsigned char>::Unaligned;

// Copies so many whole vectors, all loads before all stores.
template <int Vectors>
EMBEDRNN_INLINE void copy_vectors(char* to, const char* from) {
  constexpr std::ptrdiff_t kStep = EMBEDRNN_VECTOR_BYTES;
  ByteVec v[Vectors];
  for (int i = 0; i < Vectors; ++i) v[i] = *reinterpret_cast<const ByteVec*>(from + i * kStep);
  for (int i = 0; i < Vectors; ++i) *reinterpret_cast<ByteVec*>(to + i * kStep) = v[i];
}

// Copies at least one vector; the last may overlap the one before, so there is no byte tail. Four
// loads before four stores: 10 to 15 % faster in L2 than one by one, where a load may look as if it
// read what a store still holds. memcpy and rep movsb were no better at 512 to 3,072 bytes,
// and fetching the output ahead no longer gained anything.
EMBEDRNN_INLINE void copy_long(char* to, const char* from, std::ptrdiff_t bytes) {
  constexpr std::ptrdiff_t kStep = EMBEDRNN_VECTOR_BYTES;
  std::ptrdiff_t at = 0;
  for (; at + 4 * kStep <= bytes; at += 4 * kStep) copy_vectors<4>(to + at, from + at);
  for (; at + kStep <= bytes; at += kStep) copy_vectors<1>(to + at, from + at);
  if (at < bytes) copy_vectors<1>(to + bytes - kStep, from + bytes - kStep);
}

// Copies n to 2 n bytes as two runs of n that may overlap.
template <int N>
EMBEDRNN_INLINE void copy_two(char* to, const char* from, std::ptrdiff_t bytes) {
  char head[N], tail[N];
  __builtin_memcpy(head, from, N);
  __builtin_memcpy(tail, from + bytes - N, N);
  __builtin_memcpy(to, head, N);
  __builtin_memcpy(to + bytes - N, tail, N);
}

EMBEDRNN_INLINE void copy_short(char* to, const char* from, std::ptrdiff_t bytes) {
  if (bytes >= 32) {
    copy_two<32>(to, from, bytes);
  } else if (bytes >= 16) {
    copy_two<16>(to, from, bytes);
  } else if (bytes >= 8) {
    copy_two<8>(to, from, bytes);
  } else if (bytes >= 4) {
    copy_two<4>(to, from, bytes);
  } else {
    for (std::ptrdiff_t i = 0; i < bytes; ++i) to[i] = from[i];
  }
}

// Takes the block by value: one that a store could change would be read again at every row.
template <class Copy>
EMBEDRNN_INLINE void gather_rows(const GatherBlock g, std::ptrdiff_t row_bytes, const Copy& copy) {
  const std::ptrdiff_t ahead = rows_ahead(row_bytes, g.n_rows, kResidentBytes);
  const auto copy_row = [=](std::ptrdiff_t i) {
    copy(g.out + i * g.out_row_stride, g.table + g.rows[i] * g.table_row_stride);
  };
  std::ptrdiff_t i = 0;
  for (; ahead > 0 && i + ahead < g.n; ++i) {
    prefetch(g.table + g.rows[i + ahead] * g.table_row_stride, row_bytes);
    copy_row(i);
  }
  for (; i < g.n; ++i) copy_row(i);
}

inline constexpr std::ptrdiff_t kStreamBytes = 16;

// For an output that no cache will hold: it is not read before it is written. An output in L3 took
// 20 % longer.
EMBEDRNN_INLINE void copy_past_caches(char* to, const char* from, std::ptrdiff_t bytes) {
  typedef long long Unaligned __attribute__((vector_size(16), aligned(1), may_alias));
  for (std::ptrdiff_t at = 0; at < bytes; at += kStreamBytes)
    stream(to + at, *reinterpret_cast<const Unaligned*>(from + at));
}

// Whether every row of the output can be stored so.
EMBEDRNN_INLINE bool fits_streams(const GatherBlock& g, std::ptrdiff_t row_bytes) {
  const auto address = reinterpret_cast<std::uintptr_t>(g.out);
  const auto all = address | static_cast<std::uintptr_t>(g.out_row_stride | row_bytes);
  return all % kStreamBytes == 0;
}

// Rows of one small element, such as a column or a table of scalars. Nothing is fetched ahead: the
// core has more of these loads under way by itself, and prefetching doubled the time on a table in
// L3.
template <int Bytes>
void gather_elements(const GatherBlock& block) noexcept {
  const GatherBlock g = block;  // a copy that no store can change
  if (g.table_row_stride == Bytes && g.out_row_stride == Bytes) {
    for (std::ptrdiff_t i = 0; i < g.n; ++i) {
      __builtin_memcpy(g.out + i * Bytes, g.table + g.rows[i] * Bytes, Bytes);
    }
    return;
  }
  for (std::ptrdiff_t i = 0; i < g.n; ++i) {
    __builtin_memcpy(g.out + i * g.out_row_stride, g.table + g.rows[i] * g.table_row_stride, Bytes);
  }
}

void gather_contiguous(const GatherBlock& g) noexcept {
  const std::ptrdiff_t bytes = g.cols * g.itemsize;
  switch (bytes) {
  case 1:
    return gather_elements<1>(g);
  case 2:
    return gather_elements<2>(g);
  case 4:
    return gather_elements<4>(g);
  case 8:
    return gather_elements<8>(g);
  case 16:
    return gather_elements<16>(g);
  default:
    break;
  }
  constexpr std::ptrdiff_t kStep = EMBEDRNN_VECTOR_BYTES, kMost = 8;
  if (g.past_caches && fits_streams(g, bytes)) {
    gather_rows(g, bytes, [=](char* to, const char* from) { copy_past_caches(to, from, bytes); });
    stream_fence();
  } else if (bytes % kStep == 0 && bytes / kStep <= kMost && bytes > 0) {
    // Most widths are such: no loop over the row, and nothing to decide in it.
    with_constant<kMost>(bytes / kStep, [&](auto n) {
      constexpr int kVectors = decltype(n)::value;
      gather_rows(g, kVectors * kStep, copy_vectors<kVectors>);
    });
  } else if (bytes >= kStep) {
    gather_rows(g, bytes, [=](char* to, const char* from) { copy_long(to, from, bytes); });
  } else {
    gather_rows(g, bytes, [=](char* to, const char* from) { copy_short(to, from, bytes); });
  }
}

void gather(const GatherBlock& g) noexcept {
  if (g.table_col_stride == g.itemsize && g.out_col_stride == g.itemsize)
    return gather_contiguous(g);
  for (std::ptrdiff_t i = 0; i < g.n; ++i) {
    for (std::ptrdiff_t c = 0; c < g.cols; ++c) {
      __builtin_memcpy(g.out + i * g.out_row_stride + c * g.out_col_stride,
                       g.table + g.rows[i] * g.table_row_stride + c * g.table_col_stride,
                       static_cast<std::size_t>(g.itemsize));
    }
  }
}

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
  const std::ptrdiff_t ahead = rows_ahead(row_bytes, s.n_rows, kResidentSummedBytes);
  const auto add_item = [=](std::ptrdiff_t i) {
    const std::ptrdiff_t position = Picked ? s.positions[i] : i;
    add(s.target + s.rows[i] * s.target_row_stride, s.updates + position * s.update_row_stride);
  };
  std::ptrdiff_t i = 0;
  for (; ahead > 0 && i + ahead < s.n; ++i) {
    const T* const next = s.target + s.rows[i + ahead] * s.target_row_stride;
    prefetch(reinterpret_cast<const char*>(next), row_bytes);
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
