#include "ops/embedding.h"

#include <algorithm>
#include <vector>

#include "runtime/isa.h"
#include "runtime/scratch.h"
#include "runtime/threads.h"

namespace embedrnn::ops {
namespace {

using kernels::RowKernels;

// Indices resolved at a time: 1 MB of row numbers, which bounds the scratch of a call.
constexpr std::ptrdiff_t kBlock = std::ptrdiff_t{1} << 17;

// Bytes moved below which a second thread costs more than it brings (about 200 us of work).
constexpr std::ptrdiff_t kBytesPerThread = std::ptrdiff_t{1} << 21;

// Bytes that one chunk of a gather moves: each chunk starts without rows under way, so not too few;
// a Ctrl-C is seen between two, so not too many.
constexpr std::ptrdiff_t kLeastChunkBytes = std::ptrdiff_t{1} << 19;
constexpr std::ptrdiff_t kMostChunkBytes = std::ptrdiff_t{1} << 22;

class Resolver {
 public:
  Resolver(const RowKernels& kernels,
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

void copy_rows(const GatherArgs& args,
               const RowKernels& kernels,
               std::ptrdiff_t first,
               std::ptrdiff_t count,
               const std::int64_t* rows) {
  kernels.gather({.table = args.table,
                  .table_row_stride = args.table_row_stride,
                  .table_col_stride = args.table_col_stride,
                  .n_rows = args.n_rows,
                  .rows = rows,
                  .n = count,
                  .cols = args.cols,
                  .itemsize = args.itemsize,
                  .out = args.out + first * args.out_row_stride,
                  .out_row_stride = args.out_row_stride,
                  .out_col_stride = args.out_col_stride});
}

std::ptrdiff_t rows_a_chunk(std::ptrdiff_t n, std::ptrdiff_t row_bytes) {
  if (row_bytes == 0 || n * row_bytes < kBytesPerThread) return std::max<std::ptrdiff_t>(1, n);
  const std::ptrdiff_t even = n * row_bytes / (4 * runtime::num_threads());
  return std::max<std::ptrdiff_t>(1,
                                  std::clamp(even, kLeastChunkBytes, kMostChunkBytes) / row_bytes);
}

void run_kernel(const RowKernels& k, const kernels::ScatterAddBlock<float, float>& block) {
  k.scatter_add_f32(block);
}
void run_kernel(const RowKernels& k, const kernels::ScatterAddBlock<float, double>& block) {
  k.scatter_add_f32_f64(block);
}
void run_kernel(const RowKernels& k, const kernels::ScatterAddBlock<double, double>& block) {
  k.scatter_add_f64(block);
}

// What one thread owns of the target: some columns of every row, or every column of some rows.
struct Share {
  std::ptrdiff_t first_col, last_col;
  std::ptrdiff_t first_row, last_row;
};

// Rows of a share at least: every share walks all indices, so small ones cost more than they bring.
constexpr std::ptrdiff_t kLeastShareRows = 64;

// Splits the columns while each share keeps whole cache lines of a row, since that balances
// whatever the indices are; else the rows. Every share walks all indices, in order.
template <class T>
std::vector<Share> split_target(const MatrixView<T>& target, std::ptrdiff_t n) {
  constexpr std::ptrdiff_t kLine = 64 / std::ptrdiff_t{sizeof(T)};
  const std::ptrdiff_t bytes = n * target.cols * std::ptrdiff_t{sizeof(T)};
  const std::ptrdiff_t wanted = bytes < kBytesPerThread ? 1 : runtime::num_threads();
  const std::ptrdiff_t lines = target.cols / kLine;
  const bool by_cols = lines >= wanted;
  const std::ptrdiff_t count =
      by_cols ? wanted : std::clamp<std::ptrdiff_t>(target.rows / kLeastShareRows, 1, wanted);
  const auto part = [&](std::ptrdiff_t all, std::ptrdiff_t index) { return all * index / count; };
  std::vector<Share> shares;
  for (std::ptrdiff_t i = 0; i < count; ++i) {
    if (by_cols) {
      const std::ptrdiff_t last = i + 1 == count ? target.cols : part(lines, i + 1) * kLine;
      shares.push_back({part(lines, i) * kLine, last, 0, target.rows});
    } else {
      shares.push_back({0, target.cols, part(target.rows, i), part(target.rows, i + 1)});
    }
  }
  return shares;
}

template <class T, class U>
void scatter_share(const ScatterAddArgs<T, U>& args,
                   const RowKernels& kernels,
                   const Share& share,
                   std::ptrdiff_t first_update,
                   std::ptrdiff_t n,
                   const std::int64_t* rows) {
  const MatrixView<T>& target = args.target;
  const MatrixView<const U>& updates = args.updates;
  const std::ptrdiff_t cols = share.last_col - share.first_col;
  const std::ptrdiff_t row_bytes = std::max<std::ptrdiff_t>(1, cols * std::ptrdiff_t{sizeof(T)});
  const std::ptrdiff_t step = std::max<std::ptrdiff_t>(1, kMostChunkBytes / row_bytes);
  for_blocks(n, step, [&](std::ptrdiff_t first, std::ptrdiff_t count) {
    run_kernel(kernels,
               kernels::ScatterAddBlock<T, U>{
                   .target = target.data + share.first_col * target.col_stride,
                   .target_row_stride = target.row_stride,
                   .target_col_stride = target.col_stride,
                   .rows = rows + first,
                   .n = count,
                   .cols = cols,
                   .first_row = share.first_row,
                   .last_row = share.last_row,
                   .updates = updates.data + (first_update + first) * updates.row_stride +
                              share.first_col * updates.col_stride,
                   .update_row_stride = updates.row_stride,
                   .update_col_stride = updates.col_stride});
    runtime::checkpoint();
  });
}

}  // namespace

std::ptrdiff_t gather(const GatherArgs& args) {
  const RowKernels& kernels = runtime::kernel_table().rows;
  const Resolver resolve(kernels, args.indices, args.n_rows, args.mode);
  const std::ptrdiff_t step = rows_a_chunk(args.indices.n, args.cols * args.itemsize);
  const auto copy = [&](std::ptrdiff_t first, std::ptrdiff_t count, const std::int64_t* rows) {
    runtime::parallel_for((count + step - 1) / step, [&](std::int64_t chunk) {
      const std::ptrdiff_t begin = chunk * step;
      copy_rows(args, kernels, first + begin, std::min(step, count - begin), rows + begin);
    });
  };
  return for_resolved(resolve, args.indices.n, copy);
}

template <class T, class U>
std::ptrdiff_t scatter_add(const ScatterAddArgs<T, U>& args) {
  const RowKernels& kernels = runtime::kernel_table().rows;
  const Resolver resolve(kernels, args.indices, args.target.rows, IndexMode::kRaise);
  const std::vector<Share> shares = split_target(args.target, args.indices.n);
  const auto add = [&](std::ptrdiff_t first, std::ptrdiff_t count, const std::int64_t* rows) {
    runtime::parallel_for(static_cast<std::int64_t>(shares.size()), [&](std::int64_t chunk) {
      scatter_share(args, kernels, shares[static_cast<std::size_t>(chunk)], first, count, rows);
    });
  };
  return for_resolved(resolve, args.indices.n, add);
}

template std::ptrdiff_t scatter_add(const ScatterAddArgs<float, float>&);
template std::ptrdiff_t scatter_add(const ScatterAddArgs<float, double>&);
template std::ptrdiff_t scatter_add(const ScatterAddArgs<double, double>&);

}  // namespace embedrnn::ops
