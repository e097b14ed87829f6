// Which updates go to which row: the rows that are named, and where each of them is.
#pragma once

#include "ops/resolve.h"

namespace embedrnn::ops {

struct GroupArgs {
  IndexView indices;             // (n)
  std::ptrdiff_t n_rows = 0;     // of the table that they name rows of
  std::int64_t* rows = nullptr;  // (n): the distinct rows, rising; filled as far as there are any
  std::int64_t* positions = nullptr;  // (n): the indices that name each of them, rising in a row
  std::int64_t* offsets = nullptr;    // (n + 1): where the positions of each row begin, and the end
};

struct Grouped {
  std::ptrdiff_t bad;    // the first index out of range, or kAllInRange
  std::ptrdiff_t count;  // of distinct rows
};

// Sorts the indices by row, those of a row in their order. Writes nothing if one is out of range.
// Allocates 16 bytes an index, or 32 where 2^32 are too few for them or for the rows.
[[nodiscard]] Grouped group_rows(const GroupArgs& args);

// Numbers the distinct rows, rising, and writes which of them each index names: rows and numbers,
// (n) each, of which nothing is of use if an index is out of range. Otherwise as group_rows().
[[nodiscard]] Grouped number_rows(const IndexView& indices,
                                  std::ptrdiff_t n_rows,
                                  std::int64_t* rows,
                                  std::int64_t* numbers);

}  // namespace embedrnn::ops
