#include "ops/embedding.h"

#include <algorithm>
#include <vector>

#include "runtime/isa.h"
#include "runtime/scratch.h"
#include "runtime/threads.h"

namespace embedrnn::ops {
namespace {

using kernels::RowKernels;

// Indices resolved at a time: few enough for the stack and L1, many enough to pay for the calls.
constexpr std::ptrdiff_t kBlock = 1024;

// Bytes moved below which a second thread costs more than it brings (about 200 us of work).
constexpr std::ptrdiff_t kBytesPerThread = std::ptrdiff_t{1} << 21;

// Bytes moved by one chunk: a few for each thread, and a Ctrl-C seen between two.
constexpr std::ptrdiff_t kBytesPerChunk = std::ptrdiff_t{1} << 19;

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

// Calls body(first, n) for consecutive blocks of [begin, end).
template <class Body>
void for_blocks(std::ptrdiff_t begin, std::ptrdiff_t end, const Body& body) {
  for (std::ptrdiff_t first = begin; first < end; first += kBlock)
    body(first, std::min(kBlock, end - first));
}

class Gather {
 public:
  explicit Gather(const GatherArgs& args)
      : args_(args), kernels_(runtime::kernel_table().rows),
        resolve_(kernels_, args.indices, args.n_rows, args.mode) {}

  std::ptrdiff_t run() const {
    const std::ptrdiff_t n = args_.indices.n;
    if (n <= kBlock) return run_one_block();
    if (const std::ptrdiff_t bad = first_bad(); bad != kAllInRange) return bad;
    const std::ptrdiff_t row_bytes = std::max<std::ptrdiff_t>(args_.cols * args_.itemsize, 1);
    const std::ptrdiff_t bytes_a_chunk =
        n * row_bytes < kBytesPerThread ? n * row_bytes : kBytesPerChunk;
    const std::ptrdiff_t rows_a_chunk = (bytes_a_chunk / row_bytes + kBlock - 1) / kBlock * kBlock;
    runtime::parallel_for((n + rows_a_chunk - 1) / rows_a_chunk, [&](std::int64_t chunk) {
      const std::ptrdiff_t begin = chunk * rows_a_chunk;
      for_blocks(begin,
                 std::min(n, begin + rows_a_chunk),
                 [&](std::ptrdiff_t first, std::ptrdiff_t count) {
                   std::int64_t rows[kBlock];
                   // Resolved a second time rather than kept: from L1 it costs less than an array
                   // of all row numbers. An index that another thread has changed since the check
                   // is left out, not followed out of the table.
                   if (resolve_(first, count, rows) == kAllInRange) copy(first, count, rows);
                 });
    });
    return kAllInRange;
  }

 private:
  std::ptrdiff_t run_one_block() const {
    std::int64_t rows[kBlock];
    const std::ptrdiff_t bad = resolve_(0, args_.indices.n, rows);
    if (bad == kAllInRange) copy(0, args_.indices.n, rows);
    return bad;
  }

  std::ptrdiff_t first_bad() const {
    std::ptrdiff_t bad = kAllInRange;
    for_blocks(0, args_.indices.n, [&](std::ptrdiff_t first, std::ptrdiff_t count) {
      std::int64_t rows[kBlock];
      if (bad == kAllInRange) bad = resolve_(first, count, rows);
    });
    return bad;
  }

  void copy(std::ptrdiff_t first, std::ptrdiff_t count, const std::int64_t* rows) const {
    kernels_.gather({.table = args_.table,
                     .table_row_stride = args_.table_row_stride,
                     .table_col_stride = args_.table_col_stride,
                     .n_rows = args_.n_rows,
                     .rows = rows,
                     .n = count,
                     .cols = args_.cols,
                     .itemsize = args_.itemsize,
                     .out = args_.out + first * args_.out_row_stride,
                     .out_row_stride = args_.out_row_stride,
                     .out_col_stride = args_.out_col_stride});
  }

  const GatherArgs& args_;
  const RowKernels& kernels_;
  Resolver resolve_;
};

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

// Splits the columns while each share keeps whole cache lines of a row, since that balances
// whatever the indices are; else the rows. Every share walks all indices, in order.
template <class T>
std::vector<Share> split_target(const MatrixView<T>& target, std::ptrdiff_t n) {
  constexpr std::ptrdiff_t kLine = 64 / std::ptrdiff_t{sizeof(T)};
  const std::ptrdiff_t bytes = n * target.cols * std::ptrdiff_t{sizeof(T)};
  const std::ptrdiff_t threads = bytes < kBytesPerThread ? 1 : runtime::num_threads();
  const std::ptrdiff_t lines = target.cols / kLine;
  const bool by_cols = lines >= threads;
  std::vector<Share> shares;
  for (std::ptrdiff_t i = 0; i < threads; ++i) {
    const auto part = [&](std::ptrdiff_t all, std::ptrdiff_t index) {
      return all * index / threads;
    };
    if (by_cols) {
      const std::ptrdiff_t last = i + 1 == threads ? target.cols : part(lines, i + 1) * kLine;
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
                   const std::int64_t* rows) {
  const MatrixView<T>& target = args.target;
  const MatrixView<const U>& updates = args.updates;
  for_blocks(0, args.indices.n, [&](std::ptrdiff_t first, std::ptrdiff_t count) {
    run_kernel(
        kernels,
        kernels::ScatterAddBlock<T, U>{.target = target.data + share.first_col * target.col_stride,
                                       .target_row_stride = target.row_stride,
                                       .target_col_stride = target.col_stride,
                                       .rows = rows + first,
                                       .n = count,
                                       .cols = share.last_col - share.first_col,
                                       .first_row = share.first_row,
                                       .last_row = share.last_row,
                                       .updates = updates.data + first * updates.row_stride +
                                                  share.first_col * updates.col_stride,
                                       .update_row_stride = updates.row_stride,
                                       .update_col_stride = updates.col_stride});
    runtime::checkpoint();
  });
}

}  // namespace

std::ptrdiff_t gather(const GatherArgs& args) { return Gather(args).run(); }

template <class T, class U>
std::ptrdiff_t scatter_add(const ScatterAddArgs<T, U>& args) {
  const RowKernels& kernels = runtime::kernel_table().rows;
  const std::ptrdiff_t n = args.indices.n;
  const runtime::Scratch scratch(runtime::scratch_bytes<std::int64_t>(n));
  std::int64_t* const rows = runtime::Carver(scratch.data()).take<std::int64_t>(n);
  const Resolver resolve(kernels, args.indices, args.target.rows, IndexMode::kRaise);
  if (const std::ptrdiff_t bad = resolve(0, n, rows); bad != kAllInRange) return bad;
  const std::vector<Share> shares = split_target(args.target, n);
  runtime::parallel_for(static_cast<std::int64_t>(shares.size()), [&](std::int64_t chunk) {
    scatter_share(args, kernels, shares[static_cast<std::size_t>(chunk)], rows);
  });
  return kAllInRange;
}

template std::ptrdiff_t scatter_add(const ScatterAddArgs<float, float>&);
template std::ptrdiff_t scatter_add(const ScatterAddArgs<float, double>&);
template std::ptrdiff_t scatter_add(const ScatterAddArgs<double, double>&);

}  // namespace embedrnn::ops
