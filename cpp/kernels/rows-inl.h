// What the operations on rows of a table share: which row an index means, and which to fetch ahead.
#pragma once

#include "simd-inl.h"
#include "table.h"

namespace embedrnn::kernels {
namespace {

// The row an index means, as a number outside [0, n_rows) if it means none.
template <class I, IndexMode Mode>
EMBEDRNN_INLINE std::int64_t resolve_index(I index, std::int64_t n_rows) {
  constexpr bool kSigned = static_cast<I>(-1) < I{0};
  const std::int64_t i = static_cast<std::int64_t>(index);
  if constexpr (Mode == IndexMode::kRaise) {
    // An unsigned index over 2^63 turns negative here and so stays out of range.
    return kSigned && i < 0 ? i + n_rows : i;
  } else if constexpr (Mode == IndexMode::kClip) {
    if (kSigned && i < 0) return 0;
    return static_cast<std::uint64_t>(i) < static_cast<std::uint64_t>(n_rows) ? i : n_rows - 1;
  } else {
    if (static_cast<std::uint64_t>(i) < static_cast<std::uint64_t>(n_rows)) return i;
    if constexpr (!kSigned) {
      return static_cast<std::int64_t>(static_cast<std::uint64_t>(index) %
                                       static_cast<std::uint64_t>(n_rows));
    }
    const std::int64_t remainder = i % n_rows;
    return remainder < 0 ? remainder + n_rows : remainder;
  }
}

// Calls take(position, row) for each index; whether each has a row. No early exit and no
// comparison, so that the loop vectorises: the top bit of `outside` tells.
template <class I, IndexMode Mode, class Take>
EMBEDRNN_INLINE bool
resolve_each(const I* indices, std::ptrdiff_t n, std::int64_t n_rows, const Take& take) {
  const auto limit = static_cast<std::uint64_t>(n_rows);
  std::uint64_t outside = 0;
  for (std::ptrdiff_t i = 0; i < n; ++i) {
    const std::int64_t row = resolve_index<I, Mode>(indices[i], n_rows);
    take(i, row);
    outside |= static_cast<std::uint64_t>(row) | (limit - 1 - static_cast<std::uint64_t>(row));
  }
  return outside >> 63 == 0;
}

// The position of the first of n rows that the table has not, or n: another thread may have changed
// an index since it was found to have none.
template <class RowAt>
EMBEDRNN_INLINE std::ptrdiff_t
first_outside(std::ptrdiff_t n, std::int64_t n_rows, const RowAt& row_at) {
  std::ptrdiff_t first = 0;
  while (first < n &&
         static_cast<std::uint64_t>(row_at(first)) < static_cast<std::uint64_t>(n_rows))
    ++first;
  return first;
}

template <class I>
std::ptrdiff_t find_bad(const void* indices, std::ptrdiff_t n, std::int64_t n_rows) noexcept {
  const I* const typed = static_cast<const I*>(indices);
  constexpr IndexMode kRaise = IndexMode::kRaise;
  if (resolve_each<I, kRaise>(typed, n, n_rows, [](std::ptrdiff_t, std::int64_t) {})) return n;
  return first_outside(
      n, n_rows, [=](std::ptrdiff_t i) { return resolve_index<I, kRaise>(typed[i], n_rows); });
}

template <class I>
std::ptrdiff_t resolve(const void* indices,
                       std::ptrdiff_t n,
                       std::int64_t n_rows,
                       IndexMode mode,
                       std::int64_t* rows) noexcept {
  const I* typed = static_cast<const I*>(indices);
  const auto keep = [=](std::ptrdiff_t i, std::int64_t row) { rows[i] = row; };
  bool good = false;
  if (n_rows == 0 || mode == IndexMode::kRaise) {
    good = resolve_each<I, IndexMode::kRaise>(typed, n, n_rows, keep);
  } else if (mode == IndexMode::kClip) {
    good = resolve_each<I, IndexMode::kClip>(typed, n, n_rows, keep);
  } else {
    good = resolve_each<I, IndexMode::kWrap>(typed, n, n_rows, keep);
  }
  if (good) return n;
  return first_outside(n, n_rows, [=](std::ptrdiff_t i) { return rows[i]; });
}

// A table that stays in L2 needs no prefetching: for narrow rows the prefetches cost more than the
// copies. Nor does one of up to 4 MB whose rows are summed (7 to 16 % faster without, on Zen 4; a
// gather was 5 % slower).
inline constexpr std::ptrdiff_t kResidentBytes = std::ptrdiff_t{1} << 20;
inline constexpr std::ptrdiff_t kResidentSummedBytes = std::ptrdiff_t{1} << 22;
// Rows to have under way ahead of the one in hand: so many bytes, and not more than so many rows.
inline constexpr std::ptrdiff_t kPrefetchBytes = std::ptrdiff_t{1} << 14;
inline constexpr std::ptrdiff_t kMostRowsAhead = 64;
inline constexpr std::uintptr_t kCacheLine = 64;

// How many rows ahead to prefetch; 0: not at all.
EMBEDRNN_INLINE std::ptrdiff_t
rows_ahead(std::ptrdiff_t row_bytes, std::int64_t n_rows, std::ptrdiff_t resident_bytes) {
  if (n_rows * row_bytes <= resident_bytes || row_bytes == 0) return 0;
  const std::ptrdiff_t rows = kPrefetchBytes / row_bytes;
  return rows < 4 ? 4 : rows > kMostRowsAhead ? kMostRowsAhead : rows;
}

// Fetches every line that the bytes touch: a row that starts within a line ends in one more. Into
// L2: many more misses can be under way there than into L1. Rows of 64 bytes to 1 KB of a table
// beyond L3 took 0.4 to 0.75 of the time (Zen 4), and none took longer; L2 far ahead and then L1
// was no better.
EMBEDRNN_INLINE void prefetch(const char* p, std::ptrdiff_t bytes) {
  constexpr int kIntoL2 = 2;
  const char* const end = p + bytes;
  p -= reinterpret_cast<std::uintptr_t>(p) % kCacheLine;
  for (; p < end; p += kCacheLine) __builtin_prefetch(p, 0, kIntoL2);
}

}  // namespace
}  // namespace embedrnn::kernels
