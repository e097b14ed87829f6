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

template <class I, IndexMode Mode>
std::ptrdiff_t
resolve_mode(const I* indices, std::ptrdiff_t n, std::int64_t n_rows, std::int64_t* rows) noexcept {
  const auto limit = static_cast<std::uint64_t>(n_rows);
  std::uint64_t outside =
      0;  // its top bit tells; no early exit and no comparison, so that the loop vectorises
  for (std::ptrdiff_t i = 0; i < n; ++i) {
    const std::int64_t row = resolve_index<I, Mode>(indices[i], n_rows);
    rows[i] = row;
    outside |= static_cast<std::uint64_t>(row) | (limit - 1 - static_cast<std::uint64_t>(row));
  }
  if (outside >> 63 == 0) return n;
  std::ptrdiff_t first = 0;
  while (static_cast<std::uint64_t>(rows[first]) < limit) ++first;
  return first;
}

template <class I>
std::ptrdiff_t resolve(const void* indices,
                       std::ptrdiff_t n,
                       std::int64_t n_rows,
                       IndexMode mode,
                       std::int64_t* rows) noexcept {
  const I* typed = static_cast<const I*>(indices);
  if (n_rows == 0 || mode == IndexMode::kRaise)
    return resolve_mode<I, IndexMode::kRaise>(typed, n, n_rows, rows);
  if (mode == IndexMode::kClip) return resolve_mode<I, IndexMode::kClip>(typed, n, n_rows, rows);
  return resolve_mode<I, IndexMode::kWrap>(typed, n, n_rows, rows);
}

// A table that stays in L2 needs no prefetching: for narrow rows the prefetches cost more than the
// copies.
inline constexpr std::ptrdiff_t kResidentBytes = std::ptrdiff_t{1} << 19;
// Bytes of rows to have under way ahead of the one in hand. On a table beyond L3 that saves a
// quarter of the time against none; on one in L3, half or twice as many are no different.
inline constexpr std::ptrdiff_t kPrefetchBytes = 4096;
inline constexpr std::ptrdiff_t kPrefetchOutputBytes = 8192;
inline constexpr std::uintptr_t kCacheLine = 64;

// How many rows ahead to prefetch; 0: not at all.
EMBEDRNN_INLINE std::ptrdiff_t rows_ahead(std::ptrdiff_t row_bytes, std::int64_t n_rows) {
  if (n_rows * row_bytes <= kResidentBytes || row_bytes == 0) return 0;
  const std::ptrdiff_t rows = kPrefetchBytes / row_bytes;
  return rows < 2 ? 2 : rows > 32 ? 32 : rows;
}

// Fetches every line that the bytes touch: a row that starts within a line ends in one more.
template <bool Write>
EMBEDRNN_INLINE void prefetch(const char* p, std::ptrdiff_t bytes) {
  const char* const end = p + bytes;
  p -= reinterpret_cast<std::uintptr_t>(p) % kCacheLine;
  for (; p < end; p += kCacheLine) __builtin_prefetch(p, Write);
}

}  // namespace
}  // namespace embedrnn::kernels
