// What the operations on rows of a table share: which row an index means, and fetching rows ahead.
#pragma once

#include "kernels.h"
#include "simd-inl.h"

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

// The position of the first of n rows that the table does not have, or n. There may be none
// although the loop above found one: another thread may change the indices in between.
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

inline constexpr std::ptrdiff_t kCacheLine = 64;

// Fetches every line that the bytes touch, the last one by name: so rows of one width take as many
// turns wherever they start, which a branch predictor needs. Gathers took 0.77 to 0.98 of the time,
// sums 0.8 to 1 (Zen 3), that it takes to begin at the start of a line and to fetch into L2 alone.
EMBEDRNN_INLINE void prefetch(const char* p, std::ptrdiff_t bytes) {
  constexpr int kIntoL1 = 3;
  const char* const end = p + bytes;
  for (; p < end; p += kCacheLine) __builtin_prefetch(p, 0, kIntoL1);
  __builtin_prefetch(end - 1, 0, kIntoL1);
}

}  // namespace
}  // namespace embedrnn::kernels
