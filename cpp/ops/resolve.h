// Indices become row numbers, all of them before the first write.
#pragma once

#include <algorithm>

#include "ops/dims.h"
#include "runtime/isa.h"
#include "runtime/scratch.h"

namespace embedrnn::ops {

// What an operation returns when every index is in range; else the position of the first that is
// not.
inline constexpr std::ptrdiff_t kAllInRange = -1;

// Indices resolved at a time: 1 MB of row numbers, which bounds the scratch of a call.
inline constexpr std::ptrdiff_t kBlock = std::ptrdiff_t{1} << 17;

// Bytes moved below which a second thread costs more than it brings (about 200 us of work).
inline constexpr std::ptrdiff_t kBytesPerThread = std::ptrdiff_t{1} << 21;

class Resolver {
 public:
  Resolver(const kernels::RowKernels& kernels,
           const IndexView& indices,
           std::ptrdiff_t n_rows,
           IndexMode mode)
      : resolve_(kernels.resolve[static_cast<int>(indices.type)]), indices_(indices),
        n_rows_(n_rows), mode_(mode) {}

  // Fills rows with the row numbers of the indices [first, first + n); returns the first bad
  // position or kAllInRange.
  std::ptrdiff_t operator()(std::ptrdiff_t first, std::ptrdiff_t n, std::int64_t* rows) const {
    const char* begin = static_cast<const char*>(indices_.data) + first * indices_.itemsize;
    const std::ptrdiff_t good = resolve_(begin, n, n_rows_, mode_, rows);
    return good == n ? kAllInRange : first + good;
  }

 private:
  kernels::ResolveIndices resolve_;
  IndexView indices_;
  std::ptrdiff_t n_rows_;
  IndexMode mode_;
};

// Calls body(first, n) for consecutive blocks of at most `size` of n.
template <class Body>
void for_blocks(std::ptrdiff_t n, std::ptrdiff_t size, const Body& body) {
  for (std::ptrdiff_t first = 0; first < n; first += size) body(first, std::min(size, n - first));
}

// Calls body(first, count, rows) for consecutive blocks of resolved indices, once all are known to
// be in range; else returns the position of the first that is not.
template <class Body>
std::ptrdiff_t for_resolved(const Resolver& resolve, std::ptrdiff_t n, const Body& body) {
  const runtime::Scratch scratch(runtime::scratch_bytes<std::int64_t>(std::min(n, kBlock)));
  std::int64_t* const rows = reinterpret_cast<std::int64_t*>(scratch.data());
  std::ptrdiff_t bad = kAllInRange;
  const auto check = [&](std::ptrdiff_t first, std::ptrdiff_t count) {
    if (bad == kAllInRange) bad = resolve(first, count, rows);
  };
  // A single block is resolved once. More are checked first and then resolved again: an index that
  // another thread changes between the two still cannot lead out of the table.
  if (n > kBlock) for_blocks(n, kBlock, check);
  for_blocks(n, kBlock, [&](std::ptrdiff_t first, std::ptrdiff_t count) {
    check(first, count);
    if (bad == kAllInRange) body(first, count, rows);
  });
  return bad;
}

}  // namespace embedrnn::ops
