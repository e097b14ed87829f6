// Indices become row numbers, and what has no row is found: before the first write, or on the way
// if the output is new and will not be seen.
#pragma once

#include <algorithm>

#include "ops/costs.h"
#include "ops/dims.h"
#include "runtime/interrupt.h"
#include "runtime/isa.h"
#include "runtime/scratch.h"

namespace embedrnn::ops {

// What an operation returns if every index is in range; otherwise it returns the position of the
// first that is not.
inline constexpr std::ptrdiff_t kAllInRange = -1;

class Resolver {
 public:
  Resolver(const IndexView& indices, std::ptrdiff_t n_rows, IndexMode mode = IndexMode::kRaise)
      : kernels_(runtime::registry().rows), indices_(indices), n_rows_(n_rows), mode_(mode) {}

  // The position of the first index out of range, or kAllInRange. Looks for a Ctrl-C between
  // blocks.
  std::ptrdiff_t first_bad() const {
    if (mode_ != IndexMode::kRaise && n_rows_ > 0) return kAllInRange;
    for (std::ptrdiff_t first = 0; first < indices_.n; first += kBlockOfIndices) {
      if (first > 0) runtime::checkpoint();
      const std::ptrdiff_t n = std::min(kBlockOfIndices, indices_.n - first);
      const std::ptrdiff_t good = kernels_.find_bad[type()](at(first), n, n_rows_);
      if (good != n) return first + good;
    }
    return kAllInRange;
  }

  // Fills rows with the row numbers of the indices [first, first + n), and returns the position of
  // the first that is out of range, or kAllInRange. That one and those behind it become row 0: if
  // they had been checked, and another thread has since changed them, no kernel may read outside
  // the table.
  std::ptrdiff_t operator()(std::ptrdiff_t first, std::ptrdiff_t n, std::int64_t* rows) const {
    const std::ptrdiff_t good = kernels_.resolve[type()](at(first), n, n_rows_, mode_, rows);
    std::fill(rows + good, rows + n, 0);
    return good == n ? kAllInRange : first + good;
  }

  // The first index out of range where one was seen at this position, which another thread may have
  // changed since.
  std::ptrdiff_t first_bad_but(std::ptrdiff_t seen) const {
    const std::ptrdiff_t bad = first_bad();
    return bad != kAllInRange ? bad : seen;
  }

  // The most row numbers of a block: they stay in L1.
  static constexpr std::ptrdiff_t kBlock = 2048;

  // Calls body(first, n, rows) for consecutive blocks of the indices [begin, end), which have been
  // checked. The rows are the body's to change. No block has more than `most` of them.
  template <class Body>
  void for_blocks(std::ptrdiff_t begin,
                  std::ptrdiff_t end,
                  const Body& body,
                  std::ptrdiff_t most = kBlock) const {
    std::int64_t rows[kBlock];
    for (std::ptrdiff_t first = begin; first < end; first += most) {
      const std::ptrdiff_t n = std::min(most, end - first);
      (*this)(first, n, rows);
      body(first, n, rows);
    }
  }

  // The same of indices that need not have been checked: stops before a block in which one is out
  // of range, and returns its position, or kAllInRange.
  template <class Body>
  std::ptrdiff_t for_good_blocks(std::ptrdiff_t begin, std::ptrdiff_t end, const Body& body) const {
    std::int64_t rows[kBlock];
    for (std::ptrdiff_t first = begin; first < end; first += kBlock) {
      const std::ptrdiff_t n = std::min(kBlock, end - first), bad = (*this)(first, n, rows);
      if (bad != kAllInRange) return bad;
      body(first, n, rows);
    }
    return kAllInRange;
  }

  const kernels::RowKernels& kernels() const { return kernels_; }

 private:
  int type() const { return static_cast<int>(indices_.type); }
  const void* at(std::ptrdiff_t i) const {
    return static_cast<const char*>(indices_.data) + i * indices_.itemsize;
  }

  const kernels::RowKernels& kernels_;
  IndexView indices_;
  std::ptrdiff_t n_rows_;
  IndexMode mode_;
};

}  // namespace embedrnn::ops
