#include "ops/embedding.h"

#include <algorithm>
#include <array>
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

// Whether to store past the caches: the output is gone from them before anybody reads it, and the
// table stays. That took 0.6 to 0.7 of the time; from a table of 256 MB it took 1.1.
bool goes_past_caches(const GatherArgs& args) {
  constexpr std::ptrdiff_t kLargeCache = std::ptrdiff_t{1} << 25;
  const std::ptrdiff_t row_bytes = args.cols * args.itemsize;
  return args.old_out && args.indices.n * row_bytes >= kLargeCache &&
         args.n_rows * row_bytes <= kLargeCache;
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
                  .out_col_stride = args.out_col_stride,
                  .past_caches = goes_past_caches(args)});
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

// Shares of columns that end where cache lines do: no line belongs to two threads, if the rows keep
// the alignment of the first.
template <class T>
std::vector<Share> split_columns(const MatrixView<T>& target, std::ptrdiff_t count) {
  constexpr std::ptrdiff_t kLine = 64 / std::ptrdiff_t{sizeof(T)};
  const auto address = reinterpret_cast<std::uintptr_t>(target.data) / sizeof(T);
  const std::ptrdiff_t head = kLine - static_cast<std::ptrdiff_t>(address % kLine);
  const auto bound = [&](std::ptrdiff_t i) {
    const std::ptrdiff_t even = target.cols * i / count;
    return i == 0 || i == count ? even : even - (even + kLine - head) % kLine;
  };
  std::vector<Share> shares;
  for (std::ptrdiff_t i = 0; i < count; ++i)
    shares.push_back({bound(i), bound(i + 1), 0, target.rows});
  return shares;
}

// Shares of rows that about as many of the indices name, going by a sample of them; `even` tells
// whether there are such.
struct RowShares {
  std::vector<Share> shares;
  bool even;
};

constexpr std::ptrdiff_t kSample = 256;

// The rows of some indices, rising. One index of each of so many stretches, not always the first:
// those may be alike, as where each sentence begins with the same token.
std::array<std::int64_t, kSample> sample_rows(const Resolver& resolve, std::ptrdiff_t n) {
  constexpr std::uint32_t kScatter = 0x9e3779b9;  // the golden ratio: multiples spread evenly
  std::array<std::int64_t, kSample> rows;
  for (std::ptrdiff_t i = 0; i < kSample; ++i) {
    const std::ptrdiff_t first = n * i / kSample, last = std::max(n * (i + 1) / kSample, first + 1);
    const std::uint32_t scattered = static_cast<std::uint32_t>(i) * kScatter >> 8;
    resolve(first + scattered % (last - first), 1, &rows[static_cast<std::size_t>(i)]);
  }
  std::sort(rows.begin(), rows.end());
  return rows;
}

template <class T>
RowShares split_rows(const MatrixView<T>& target,
                     const Resolver& resolve,
                     std::ptrdiff_t n,
                     std::ptrdiff_t threads) {
  const auto sample = sample_rows(resolve, n);
  const std::ptrdiff_t count = std::min(threads, kSample / 4);
  RowShares result{{}, true};
  std::ptrdiff_t first = 0;
  for (std::ptrdiff_t i = 1; i <= count; ++i) {
    const std::ptrdiff_t last =
        i == count ? target.rows : sample[static_cast<std::size_t>(kSample * i / count)];
    if (first == last) continue;
    const auto named = std::lower_bound(sample.begin(), sample.end(), last) -
                       std::lower_bound(sample.begin(), sample.end(), first);
    result.even &= named * count <= kSample + kSample / 2;
    result.shares.push_back({0, target.cols, first, last});
    first = last;
  }
  return result;
}

// Every share walks all indices, in order, which takes twice the work to be worth it; and a scalar
// is added in the time it takes to find out whose it is.
template <class T>
bool is_worth_sharing(const MatrixView<T>& target, std::ptrdiff_t n) {
  constexpr std::ptrdiff_t kScalarBytes = 8;
  const std::ptrdiff_t row_bytes = target.cols * std::ptrdiff_t{sizeof(T)};
  return row_bytes > kScalarBytes && is_worth_threads(n / 2, row_bytes) &&
         runtime::num_threads() > 1;
}

// Rows, if that divides the work evenly: 0.5 to 0.8 of the time that columns take. Else columns, if
// each share keeps whole cache lines of a row.
template <class T>
std::vector<Share>
split_target(const MatrixView<T>& target, const Resolver& resolve, std::ptrdiff_t n) {
  constexpr std::ptrdiff_t kLineBytes = 64;
  const std::ptrdiff_t row_bytes = target.cols * std::ptrdiff_t{sizeof(T)};
  const std::ptrdiff_t count = runtime::num_threads();
  const RowShares rows = split_rows(target, resolve, n, count);
  return rows.even || row_bytes < kLineBytes * count ? rows.shares : split_columns(target, count);
}

// Keeps those of n rows that lie in the share, and notes their positions; how many there are. No
// branch: which rows these are cannot be foretold.
std::ptrdiff_t
keep_own(const Share& share, std::ptrdiff_t n, std::int64_t* rows, std::int64_t* positions) {
  const auto owned = static_cast<std::uint64_t>(share.last_row - share.first_row);
  std::ptrdiff_t count = 0;
  for (std::ptrdiff_t i = 0; i < n; ++i) {
    const std::int64_t row = rows[i];
    rows[count] = row;
    positions[count] = i;
    count += static_cast<std::uint64_t>(row - share.first_row) < owned ? 1 : 0;
  }
  return count;
}

template <class T, class U>
void scatter_share(const ScatterAddArgs<T, U>& args, const Resolver& resolve, const Share& share) {
  const MatrixView<T>& target = args.target;
  const MatrixView<const U>& updates = args.updates;
  const bool all_rows = share.last_row - share.first_row == target.rows;
  std::int64_t positions[Resolver::kBlock];
  resolve.for_blocks(
      0, args.indices.n, [&](std::ptrdiff_t first, std::ptrdiff_t count, std::int64_t* rows) {
        scatter_add_kernel<T, U>(resolve.kernels())(kernels::ScatterAddBlock<T, U>{
            .target = target.data + share.first_col * target.col_stride,
            .target_row_stride = target.row_stride,
            .target_col_stride = target.col_stride,
            .n_rows = target.rows,
            .rows = rows,
            .positions = all_rows ? nullptr : positions,
            .n = all_rows ? count : keep_own(share, count, rows, positions),
            .cols = share.last_col - share.first_col,
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
  if (!is_worth_sharing(args.target, args.indices.n)) {
    scatter_share(args, resolve, {0, args.target.cols, 0, args.target.rows});
    return kAllInRange;
  }
  const std::vector<Share> shares = split_target(args.target, resolve, args.indices.n);
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
