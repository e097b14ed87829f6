#include "ops/embedding.h"

#include <type_traits>
#include <vector>

#include "ops/resolve.h"
#include "runtime/threads.h"

namespace embedrnn::ops {
namespace {

using kernels::RowKernels;

// Bytes that one chunk of a gather moves: each chunk starts without rows under way, so not too few;
// a Ctrl-C is seen between two, so not too many.
constexpr std::ptrdiff_t kLeastChunkBytes = std::ptrdiff_t{1} << 16;
constexpr std::ptrdiff_t kMostChunkBytes = std::ptrdiff_t{1} << 22;

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
  if (row_bytes == 0 || !is_worth_threads(n, row_bytes)) return std::max<std::ptrdiff_t>(1, n);
  const std::ptrdiff_t even = n * row_bytes / (4 * runtime::num_threads());
  return std::max<std::ptrdiff_t>(1,
                                  std::clamp(even, kLeastChunkBytes, kMostChunkBytes) / row_bytes);
}

template <class T, class U>
auto scatter_add_kernel(const RowKernels& k) {
  if constexpr (std::is_same_v<U, float>) {
    return k.scatter_add_f32;
  } else if constexpr (std::is_same_v<T, float>) {
    return k.scatter_add_f32_f64;
  } else if constexpr (std::is_same_v<T, double>) {
    return k.scatter_add_f64;
  } else if constexpr (std::is_same_v<T, std::uint8_t>) {
    return k.scatter_add_u8;
  } else if constexpr (std::is_same_v<T, std::uint16_t>) {
    return k.scatter_add_u16;
  } else if constexpr (std::is_same_v<T, std::uint32_t>) {
    return k.scatter_add_u32;
  } else {
    static_assert(std::is_same_v<T, std::uint64_t>);
    return k.scatter_add_u64;
  }
}

// What one thread owns of the target: some columns of every row, or every column of some rows.
struct Share {
  std::ptrdiff_t first_col, last_col;
  std::ptrdiff_t first_row, last_row;
};

// Bytes of updates below which the target is not shared: every share reads all indices, and which
// rows are its own cannot be foretold.
constexpr std::ptrdiff_t kLeastSharedBytes = std::ptrdiff_t{1} << 21;

// Rows of a share at least: every share walks all indices, so small ones cost more than they bring.
constexpr std::ptrdiff_t kLeastShareRows = 64;

// Splits the columns while each share keeps whole cache lines of a row, since that balances
// whatever the indices are; else the rows. Every share walks all indices, in order.
template <class T>
std::vector<Share> split_target(const MatrixView<T>& target, std::ptrdiff_t n) {
  constexpr std::ptrdiff_t kLine = 64 / std::ptrdiff_t{sizeof(T)};
  const std::ptrdiff_t row_bytes = target.cols * std::ptrdiff_t{sizeof(T)};
  const std::ptrdiff_t wanted = n * row_bytes < kLeastSharedBytes ? 1 : runtime::num_threads();
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
void scatter_share(const ScatterAddArgs<T, U>& args, const Resolver& resolve, const Share& share) {
  const MatrixView<T>& target = args.target;
  const MatrixView<const U>& updates = args.updates;
  const std::ptrdiff_t cols = share.last_col - share.first_col;
  resolve.for_blocks(
      0, args.indices.n, [&](std::ptrdiff_t first, std::ptrdiff_t count, const std::int64_t* rows) {
        scatter_add_kernel<T, U>(resolve.kernels())(kernels::ScatterAddBlock<T, U>{
            .target = target.data + share.first_col * target.col_stride,
            .target_row_stride = target.row_stride,
            .target_col_stride = target.col_stride,
            .rows = rows,
            .n = count,
            .cols = cols,
            .first_row = share.first_row,
            .last_row = share.last_row,
            .updates =
                updates.data + first * updates.row_stride + share.first_col * updates.col_stride,
            .update_row_stride = updates.row_stride,
            .update_col_stride = updates.col_stride});
        runtime::checkpoint();
      });
}

}  // namespace

std::ptrdiff_t gather(const GatherArgs& args) {
  const Resolver resolve(args.indices, args.n_rows, args.mode);
  const std::ptrdiff_t bad = resolve.first_bad();
  if (bad != kAllInRange) return bad;
  const std::ptrdiff_t n = args.indices.n, step = rows_a_chunk(n, args.cols * args.itemsize);
  runtime::parallel_for((n + step - 1) / step, [&](std::int64_t chunk) {
    const std::ptrdiff_t begin = chunk * step, end = std::min(begin + step, n);
    resolve.for_blocks(
        begin, end, [&](std::ptrdiff_t first, std::ptrdiff_t count, const std::int64_t* rows) {
          copy_rows(args, resolve.kernels(), first, count, rows);
        });
  });
  return kAllInRange;
}

template <class T, class U>
std::ptrdiff_t scatter_add(const ScatterAddArgs<T, U>& args) {
  const Resolver resolve(args.indices, args.target.rows);
  const std::ptrdiff_t bad = resolve.first_bad();
  if (bad != kAllInRange) return bad;
  const std::vector<Share> shares = split_target(args.target, args.indices.n);
  runtime::parallel_for(static_cast<std::int64_t>(shares.size()), [&](std::int64_t chunk) {
    scatter_share(args, resolve, shares[static_cast<std::size_t>(chunk)]);
  });
  return kAllInRange;
}

template std::ptrdiff_t scatter_add(const ScatterAddArgs<float, float>&);
template std::ptrdiff_t scatter_add(const ScatterAddArgs<float, double>&);
template std::ptrdiff_t scatter_add(const ScatterAddArgs<double, double>&);
template std::ptrdiff_t scatter_add(const ScatterAddArgs<std::uint8_t, std::uint8_t>&);
template std::ptrdiff_t scatter_add(const ScatterAddArgs<std::uint16_t, std::uint16_t>&);
template std::ptrdiff_t scatter_add(const ScatterAddArgs<std::uint32_t, std::uint32_t>&);
template std::ptrdiff_t scatter_add(const ScatterAddArgs<std::uint64_t, std::uint64_t>&);

}  // namespace embedrnn::ops
