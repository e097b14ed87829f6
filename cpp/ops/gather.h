// Rows of a table: numpy.take along axis 0.
#pragma once

#include <cstdint>

#include "ops/resolve.h"

namespace embedrnn::ops {

// What becomes of a row: its bytes are moved, whatever they mean, or int8 rows come as numbers.
enum class Rows : std::uint8_t { kAsStored, kInt8AsFloat, kInt8AsFloat16, kInt8AsBFloat16 };

// Rows of `cols` elements. Strides in bytes.
struct GatherArgs {
  const char* table = nullptr;
  std::ptrdiff_t n_rows = 0, cols = 0;
  std::ptrdiff_t itemsize = 0;  // of an element of `out`
  std::ptrdiff_t table_row_stride = 0, table_col_stride = 0;
  Rows rows = Rows::kAsStored;
  IndexView indices;
  IndexMode mode = IndexMode::kRaise;
  char* out = nullptr;  // (n, cols), apart from the table and the indices
  std::ptrdiff_t out_row_stride = 0, out_col_stride = 0;
  bool old_out = false;  // whether `out` has been written to before, and may be looked at later
};

// out[i] = table[indices[i]]. Returns kAllInRange, or the position of the first index that is
// out of range: then nothing has been written if `out` is old, and a new one, for which the indices
// are read only once, holds nothing of use. Allocates nothing.
[[nodiscard]] std::ptrdiff_t gather(const GatherArgs& args);

}  // namespace embedrnn::ops
