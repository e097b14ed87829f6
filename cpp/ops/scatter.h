// Updates of the rows of a table: numpy.add.at.
#pragma once

#include "ops/resolve.h"

namespace embedrnn::ops {

template <class T, class U>
struct ScatterAddArgs {
  MatrixView<T> target;         // (V, cols)
  IndexView indices;            // (n)
  MatrixView<const U> updates;  // (n, cols), strides of 0 allowed; apart from the target
};

// target[indices[i]] += updates[i] for i rising, each sum formed in U: the bits of numpy.add.at at
// any thread count. Returns the position of the first index out of range, and then has written
// nothing, or kAllInRange. Allocates a list of shares, before the first write.
template <class T, class U>
[[nodiscard]] std::ptrdiff_t scatter_add(const ScatterAddArgs<T, U>& args);

}  // namespace embedrnn::ops
