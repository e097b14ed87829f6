// Indices become row numbers, all of them checked before the first write.
#pragma once

#include <algorithm>

#include "ops/dims.h"
#include "runtime/isa.h"
#include "runtime/scratch.h"

namespace embedrnn::ops {

// What an operation returns when every index is in range; else the position of the first that is
// not.
inline constexpr std::ptrdiff_t kAllInRange = -1;

// What n rows of so many bytes cost, in bytes: a row costs something beside its own, as much as a
// cache line does.
inline std::ptrdiff_t cost_of_rows(std::ptrdiff_t n, std::ptrdiff_t row_bytes) {
  constexpr std::ptrdiff_t kLine = 64;
  return n * (row_bytes + kLine);
}

// Whether that is enough for a second thread, which costs more than it brings below some 15 us.
inline bool is_worth_threads(std::ptrdiff_t n, std::ptrdiff_t row_bytes) {
  return cost_of_rows(n, row_bytes) >= std::ptrdiff_t{1} << 19;
}

class Resolver {
 public:
  Resolver(const IndexView& indices, std::ptrdiff_t n_rows, IndexMode mode = IndexMode::kRaise)
      : kernels_(runtime::kernel_table().rows), indices_(indices), n_rows_(n_rows), mode_(mode) {}

  // The position of the first index out of range, or kAllInRange.
  std::ptrdiff_t first_bad() const {
    if (mode_ != IndexMode::kRaise && n_rows_ > 0) return kAllInRange;
    const std::ptrdiff_t good = kernels_.find_bad[type()](indices_.data, indices_.n, n_rows_);
    return good == indices_.n ? kAllInRange : good;
  }

  // Fills rows with the row numbers of the indices [first, first + n), which have been checked.
  // From one on that another thread has since changed to none of the table they mean row 0.
  void operator()(std::ptrdiff_t first, std::ptrdiff_t n, std::int64_t* rows) const {
    const char* const begin = static_cast<const char*>(indices_.data) + first * indices_.itemsize;
    const std::ptrdiff_t good = kernels_.resolve[type()](begin, n, n_rows_, mode_, rows);
    std::fill(rows + good, rows + n, 0);
  }

  // The most row numbers of a block: they stay in L1.
  static constexpr std::ptrdiff_t kBlock = 2048;

  // Calls body(first, n, rows) for consecutive blocks of the indices [begin, end), which have been
  // checked. The rows are the body's to change.
  template <class Body>
  void for_blocks(std::ptrdiff_t begin, std::ptrdiff_t end, const Body& body) const {
    std::int64_t rows[kBlock];
    for (std::ptrdiff_t first = begin; first < end; first += kBlock) {
      const std::ptrdiff_t n = std::min(kBlock, end - first);
      (*this)(first, n, rows);
      body(first, n, rows);
    }
  }

  const kernels::RowKernels& kernels() const { return kernels_; }

 private:
  int type() const { return static_cast<int>(indices_.type); }

  const kernels::RowKernels& kernels_;
  IndexView indices_;
  std::ptrdiff_t n_rows_;
  IndexMode mode_;
};

}  // namespace embedrnn::ops
