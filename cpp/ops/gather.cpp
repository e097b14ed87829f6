// A gather is shared out by indices.
#include "ops/gather.h"

#include <atomic>

#include "ops/costs.h"
#include "runtime/pool.h"
#include "runtime/thread_count.h"

namespace embedrnn::ops {

namespace {

auto kernel_of(const kernels::RowKernels& kernels, Rows rows) {
  switch (rows) {
  case Rows::kInt8AsFloat:
    return kernels.gather_int8;
  case Rows::kInt8AsFloat16:
    return kernels.gather_int8_f16;
  case Rows::kInt8AsBFloat16:
    return kernels.gather_int8_bf16;
  case Rows::kAsStored:
    break;
  }
  return kernels.gather;
}

}  // namespace

std::ptrdiff_t gather(const GatherArgs& args) {
  const Resolver resolve(args.indices, args.n_rows, args.mode);
  if (args.old_out) {  // stays as it is if an index is out of range
    const std::ptrdiff_t bad = resolve.first_bad();
    if (bad != kAllInRange) return bad;
  }
  const auto kernel = kernel_of(resolve.kernels(), args.rows);
  const bool int8_rows = args.rows != Rows::kAsStored;
  const std::ptrdiff_t n = args.indices.n, row_bytes = args.cols * args.itemsize;
  const std::ptrdiff_t table_row_bytes = int8_rows ? kInt8RowHeader + args.cols : row_bytes;
  // Rows of numbers made of int8 take more of L1 than they are fetched for.
  const std::ptrdiff_t bytes_ahead =
      int8_rows ? 2 * kBytesAhead * table_row_bytes / (table_row_bytes + row_bytes) : kBytesAhead;
  const std::ptrdiff_t step = rows_a_chunk(n, row_bytes, runtime::num_threads());
  const kernels::GatherBlock all{
      .table = args.table,
      .table_row_stride = args.table_row_stride,
      .table_col_stride = args.table_col_stride,
      .ahead = rows_ahead(args.n_rows, table_row_bytes, bytes_ahead),
      .rows = nullptr,
      .n = 0,
      .cols = args.cols,
      .itemsize = args.itemsize,
      .out = args.out,
      .out_row_stride = args.out_row_stride,
      .out_col_stride = args.out_col_stride,
      .past_caches = goes_past_caches(n * row_bytes, args.n_rows * table_row_bytes, args.old_out)};
  std::atomic<std::ptrdiff_t> seen{kAllInRange};
  runtime::parallel_for((n + step - 1) / step, [&](std::int64_t chunk) {
    const std::ptrdiff_t begin = chunk * step, end = std::min(begin + step, n);
    const std::ptrdiff_t bad = resolve.for_good_blocks(
        begin, end, [&](std::ptrdiff_t first, std::ptrdiff_t count, const std::int64_t* rows) {
          kernels::GatherBlock block = all;
          block.rows = rows;
          block.n = count;
          block.out += first * args.out_row_stride;
          kernel(block);
        });
    if (bad != kAllInRange) seen.store(bad, std::memory_order_relaxed);
  });
  return seen == kAllInRange ? kAllInRange : resolve.first_bad_but(seen);
}

}  // namespace embedrnn::ops
