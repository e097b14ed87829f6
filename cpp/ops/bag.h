// Bags of rows: sum, mean and maximum (PyTorch's EmbeddingBag), and the products of their rows with
// a gradient. The sum of the rows of equal indices is one too: what a row-sparse gradient consists
// of.
#pragma once

#include "ops/resolve.h"

namespace embedrnn::ops {

// A table that stores S: float, double, Float16, BFloat16 or Int8Row.
struct BagTable {
  const char* data = nullptr;
  std::ptrdiff_t rows = 0, cols = 0;
  std::ptrdiff_t row_stride = 0;  // in bytes; the columns lie side by side
};

// Which items belong to each bag.
struct Bags {
  IndexView indices;                      // (items)
  const std::int64_t* offsets = nullptr;  // (n + 1), rising from 0 to items
  std::ptrdiff_t n = 0;
};

template <class S>
struct BagSumArgs {
  BagTable table;
  Bags bags;
  const Sum<S>* weights = nullptr;    // (items), or null: ones
  bool mean = false;                  // divide by the number of items, unless there is none
  char* out = nullptr;                // (n, cols), apart from everything else
  std::ptrdiff_t out_row_stride = 0;  // in bytes
};

template <class S>
struct BagMaxArgs {
  BagTable table;
  Bags bags;
  char* out = nullptr;                // (n, cols), apart from everything else
  std::ptrdiff_t out_row_stride = 0;  // in bytes
  std::int64_t* winners = nullptr;    // (n, cols): the item each came from, -1 if none; or null
};

template <class S>
struct BagDotArgs {
  BagTable table;
  Bags bags;
  BagTable gradient;      // (n, cols) of Sum<S>
  Sum<S>* out = nullptr;  // (items)
};

// The position of the first of n offsets that breaks the rule, or kAllInRange: the first is 0, none
// is less than the one before it, and none is more than the number of items.
[[nodiscard]] std::ptrdiff_t
first_bad_offset(const std::int64_t* offsets, std::ptrdiff_t n, std::ptrdiff_t items);

// Leaves the items out that name one row of n_rows, counted from either end: puts the positions of
// the others into kept (items), where each bag begins among those and the last one ends into
// offsets (n + 1), and returns how many they are. Indices out of range stay.
[[nodiscard]] std::ptrdiff_t without_row(const Bags& bags,
                                         std::ptrdiff_t row,
                                         std::ptrdiff_t n_rows,
                                         std::int64_t* kept,
                                         std::int64_t* offsets);

// Each returns kAllInRange, or the position of the first index that is out of range: then the
// output holds nothing of use, but the target of bag_add is as it was. Allocates 8 bytes an item,
// before the first write. Items are summed in rising order, whatever the number of threads.
template <class S>
[[nodiscard]] std::ptrdiff_t bag_sum(const BagSumArgs<S>& args);
template <class S>
[[nodiscard]] std::ptrdiff_t bag_max(const BagMaxArgs<S>& args);
template <class S>
[[nodiscard]] std::ptrdiff_t bag_dot(const BagDotArgs<S>& args);

// target[rows[b]] += the sum of bag b, formed in float and rounded once; O is Float16 or BFloat16.
template <class O>
struct BagAddArgs {
  BagTable updates;  // of float
  Bags bags;
  const std::int64_t* rows = nullptr;  // (n), each within the target and once
  O* target = nullptr;
  std::ptrdiff_t target_row_stride = 0;  // in bytes
};

template <class O>
[[nodiscard]] std::ptrdiff_t bag_add(const BagAddArgs<O>& args);

}  // namespace embedrnn::ops
