// Columns of a matrix, shared out.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "ops/costs.h"

namespace embedrnn::ops {

struct Columns {
  std::ptrdiff_t first, last;
};

// At most `count` shares of the columns of rows that begin at `row`, about even, and cut where
// cache lines end: no line belongs to two threads if all rows have the alignment of that one.
inline std::vector<Columns>
split_columns(const void* row, std::ptrdiff_t cols, std::ptrdiff_t itemsize, std::ptrdiff_t count) {
  const std::ptrdiff_t line = std::max<std::ptrdiff_t>(1, kLineBytes / itemsize);
  const auto before =
      static_cast<std::ptrdiff_t>(reinterpret_cast<std::uintptr_t>(row) % kLineBytes) / itemsize;
  std::vector<Columns> shares;
  shares.reserve(static_cast<std::size_t>(count));
  std::ptrdiff_t first = 0;
  for (std::ptrdiff_t i = 1; i <= count; ++i) {
    const std::ptrdiff_t even = cols * i / count;
    const std::ptrdiff_t last = i == count ? cols : even - (even + before) % line;
    if (last <= first) continue;
    shares.push_back({first, last});
    first = last;
  }
  return shares;
}

}  // namespace embedrnn::ops
