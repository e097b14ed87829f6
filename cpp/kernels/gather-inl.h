// Copies of the rows of a table.
#pragma once

#include "rows-inl.h"
#include "storage-inl.h"

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
  const std::ptrdiff_t ahead = g.ahead;
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

// Copies so many elements of a row, the first of them in column c, that lie apart in the table.
template <int Columns, int Bytes>
EMBEDRNN_INLINE void copy_apart(const GatherBlock& g, std::ptrdiff_t i, std::ptrdiff_t c) {
  const char* const from = g.table + g.rows[i] * g.table_row_stride + c * g.table_col_stride;
  char* const to = g.out + i * g.out_row_stride + c * g.out_col_stride;
  char line[Columns * Bytes];
#pragma GCC unroll 16
  for (int k = 0; k < Columns; ++k)
    __builtin_memcpy(line + k * Bytes, from + k * g.table_col_stride, Bytes);
  if (g.out_col_stride == Bytes) {
    __builtin_memcpy(to, line, sizeof line);
  } else {
    for (int k = 0; k < Columns; ++k)
      __builtin_memcpy(to + k * g.out_col_stride, line + k * Bytes, Bytes);
  }
}

// Rows whose elements lie apart, as those of a Fortran-ordered table do. All rows get some columns
// before any gets the next: the table is then read along its columns, and the output a line at a
// time. A Fortran-ordered table of 30,000 x 128 floats took 0.5 of the time of row after row.
template <int Bytes>
void gather_columns(const GatherBlock& block) noexcept {
  const GatherBlock g = block;  // a copy that no store can change
  constexpr int kColumns = Bytes < 4 ? 16 : 64 / Bytes;
  std::ptrdiff_t c = 0;
  for (; c + kColumns <= g.cols; c += kColumns)
    for (std::ptrdiff_t i = 0; i < g.n; ++i) copy_apart<kColumns, Bytes>(g, i, c);
  for (; c < g.cols; ++c)
    for (std::ptrdiff_t i = 0; i < g.n; ++i) copy_apart<1, Bytes>(g, i, c);
}

void gather_apart(const GatherBlock& g) noexcept {
  switch (g.itemsize) {
  case 1:
    return gather_columns<1>(g);
  case 2:
    return gather_columns<2>(g);
  case 4:
    return gather_columns<4>(g);
  case 8:
    return gather_columns<8>(g);
  default:
    break;
  }
  for (std::ptrdiff_t i = 0; i < g.n; ++i) {
    for (std::ptrdiff_t c = 0; c < g.cols; ++c) {
      __builtin_memcpy(g.out + i * g.out_row_stride + c * g.out_col_stride,
                       g.table + g.rows[i] * g.table_row_stride + c * g.table_col_stride,
                       static_cast<std::size_t>(g.itemsize));
    }
  }
}

void gather(const GatherBlock& g) noexcept {
  const bool whole_rows = g.table_col_stride == g.itemsize && g.out_col_stride == g.itemsize;
  whole_rows ? gather_contiguous(g) : gather_apart(g);
}

// Puts so many numbers of a row where they are wanted.
template <class S>
EMBEDRNN_INLINE void put_columns(const RowReader<S>& row, std::ptrdiff_t cols, float* out) {
  row.columns(0, cols, out);
}

// Halves are rounded from a buffer, which stays in L1.
template <class S, class Half>
EMBEDRNN_INLINE void put_columns(const RowReader<S>& row, std::ptrdiff_t cols, Half* out) {
  constexpr std::ptrdiff_t kColumns = 256;
  alignas(EMBEDRNN_VECTOR_BYTES) float buffer[kColumns];
  for (std::ptrdiff_t first = 0; first < cols; first += kColumns) {
    const std::ptrdiff_t n = cols - first < kColumns ? cols - first : kColumns;
    write_columns(row.columns(first, n, buffer), n, out + first);
  }
}

// Rows stored as S, which come as numbers of O.
template <class S, class O>
void gather_stored(const GatherBlock& block) noexcept {
  const GatherBlock g = block;  // a copy that no store can change
  gather_rows(g, RowReader<S>::bytes(g.cols), [=](char* to, const char* from) {
    put_columns(RowReader<S>(from, 0), g.cols, reinterpret_cast<O*>(to));
  });
}

}  // namespace
}  // namespace embedrnn::kernels
