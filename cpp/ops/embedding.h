// Rows of a table: gather (numpy.take along axis 0) and scatter_add (numpy.add.at).
#pragma once

#include "ops/resolve.h"

namespace embedrnn::ops {

// Rows of `cols` elements of `itemsize` bytes; the bytes are moved, whatever they mean. Strides in
// bytes.
struct GatherArgs {
  const char* table = nullptr;
  std::ptrdiff_t n_rows = 0, cols = 0, itemsize = 0;
  std::ptrdiff_t table_row_stride = 0, table_col_stride = 0;
  IndexView indices;
  IndexMode mode = IndexMode::kRaise;
  char* out = nullptr;  // (n, cols), apart from the table and the indices
  std::ptrdiff_t out_row_stride = 0, out_col_stride = 0;
  // Whether it has been used before. The pages of a new one are cleared, in cache, as they are
  // first touched.
  bool old_out = false;
};

// out[i] = table[indices[i]]. Returns the position of the first index out of range, and then has
// written nothing, or kAllInRange. Allocates at most 1 MB, before the first write.
[[nodiscard]] std::ptrdiff_t gather(const GatherArgs& args);

template <class T, class U>
struct ScatterAddArgs {
  MatrixView<T> target;         // (V, cols)
  IndexView indices;            // (n)
  MatrixView<const U> updates;  // (n, cols), strides of 0 allowed; apart from the target
};

// target[indices[i]] += updates[i] for i rising, each sum formed in U: the bits of numpy.add.at at
// any thread count. Returns and allocates as gather does.
template <class T, class U>
[[nodiscard]] std::ptrdiff_t scatter_add(const ScatterAddArgs<T, U>& args);

}  // namespace embedrnn::ops
