// A scatter_add is shared out by what each thread owns of the target.
#include "ops/scatter.h"

#include <algorithm>
#include <array>
#include <type_traits>
#include <vector>

#include "ops/columns.h"
#include "runtime/interrupt.h"
#include "runtime/pool.h"
#include "runtime/thread_count.h"

namespace embedrnn::ops {
namespace {

template <class T, class U>
auto scatter_add_kernel(const kernels::RowKernels& k) {
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
struct Owned {
  Columns cols;
  std::ptrdiff_t first_row, last_row;
};

// The rows that a sample of the indices names, rising. One index of each of so many stretches, not
// always the first: those may be alike, as where each sentence begins with the same token.
using Sample = std::array<std::int64_t, kSampledIndices>;

Sample sample_rows(const Resolver& resolve, std::ptrdiff_t n) {
  constexpr std::uint32_t kScatter = 0x9e3779b9;  // the golden ratio: multiples spread evenly
  Sample rows;
  for (std::ptrdiff_t i = 0; i < kSampledIndices; ++i) {
    const std::ptrdiff_t first = n * i / kSampledIndices,
                         last = std::max(n * (i + 1) / kSampledIndices, first + 1);
    const std::uint32_t scattered = static_cast<std::uint32_t>(i) * kScatter >> 8;
    resolve(first + scattered % (last - first), 1, &rows[static_cast<std::size_t>(i)]);
  }
  std::sort(rows.begin(), rows.end());
  return rows;
}

// Shares of rows that about as many of the sampled indices name; `even` tells whether they are.
struct RowShares {
  std::vector<Owned> shares;
  bool even;
};

RowShares
split_rows(const Sample& sample, std::ptrdiff_t rows, std::ptrdiff_t cols, std::ptrdiff_t threads) {
  const std::ptrdiff_t count = std::min(threads, kSampledIndices / 4);
  RowShares result{{}, true};
  std::ptrdiff_t first = 0;
  for (std::ptrdiff_t i = 1; i <= count; ++i) {
    const std::ptrdiff_t last =
        i == count ? rows : sample[static_cast<std::size_t>(kSampledIndices * i / count)];
    if (first == last) continue;
    const auto named = std::lower_bound(sample.begin(), sample.end(), last) -
                       std::lower_bound(sample.begin(), sample.end(), first);
    result.even &= named * count <= kSampledIndices + kSampledIndices / 2;
    result.shares.push_back({{0, cols}, first, last});
    first = last;
  }
  return result;
}

// Rows, if that divides the work evenly: 0.5 to 0.8 of the time that columns take. Else columns, if
// each share keeps whole cache lines of a row.
template <class T>
std::vector<Owned>
split_target(const MatrixView<T>& target, const Resolver& resolve, std::ptrdiff_t n) {
  constexpr std::ptrdiff_t kItem = sizeof(T);
  const std::ptrdiff_t threads = runtime::num_threads();
  RowShares rows = split_rows(sample_rows(resolve, n), target.rows, target.cols, threads);
  if (rows.even || target.cols * kItem < kLineBytes * threads) return std::move(rows.shares);
  const std::vector<Columns> parts = split_columns(target.data, target.cols, kItem, threads);
  std::vector<Owned> shares;
  shares.reserve(parts.size());
  for (const Columns& cols : parts) shares.push_back({cols, 0, target.rows});
  return shares;
}

// Keeps those of n rows that are owned, and notes their positions; returns how many there are. It
// has no branch, since which rows these are cannot be foretold.
std::ptrdiff_t
keep_own(const Owned& owned, std::ptrdiff_t n, std::int64_t* rows, std::int64_t* positions) {
  const auto size = static_cast<std::uint64_t>(owned.last_row - owned.first_row);
  std::ptrdiff_t count = 0;
  for (std::ptrdiff_t i = 0; i < n; ++i) {
    const std::int64_t row = rows[i];
    rows[count] = row;
    positions[count] = i;
    count += static_cast<std::uint64_t>(row - owned.first_row) < size ? 1 : 0;
  }
  return count;
}

template <class T, class U>
void add_to_owned(const ScatterAddArgs<T, U>& args, const Resolver& resolve, const Owned& owned) {
  const MatrixView<T>& target = args.target;
  const MatrixView<const U>& updates = args.updates;
  const Columns cols = owned.cols;
  const std::ptrdiff_t width = cols.last - cols.first;
  const std::ptrdiff_t row_bytes = width * std::ptrdiff_t{sizeof(T)};
  const bool all_rows = owned.last_row - owned.first_row == target.rows;
  std::int64_t positions[Resolver::kBlock];
  const std::ptrdiff_t most =
      std::clamp<std::ptrdiff_t>(kScatteredBytes / (row_bytes + 1), 1, Resolver::kBlock);
  resolve.for_blocks(
      0,
      args.indices.n,
      [&](std::ptrdiff_t first, std::ptrdiff_t count, std::int64_t* rows) {
        scatter_add_kernel<T, U>(resolve.kernels())(kernels::ScatterAddBlock<T, U>{
            .target = target.data + cols.first * target.col_stride,
            .target_row_stride = target.row_stride,
            .target_col_stride = target.col_stride,
            .ahead = rows_ahead(target.rows, row_bytes, kBytesAhead),
            .rows = rows,
            .positions = all_rows ? nullptr : positions,
            .n = all_rows ? count : keep_own(owned, count, rows, positions),
            .cols = width,
            .updates = updates.data + first * updates.row_stride + cols.first * updates.col_stride,
            .update_row_stride = updates.row_stride,
            .update_col_stride = updates.col_stride});
        runtime::checkpoint();
      },
      most);
}

}  // namespace

template <class T, class U>
std::ptrdiff_t scatter_add(const ScatterAddArgs<T, U>& args) {
  const MatrixView<T>& target = args.target;
  const std::ptrdiff_t n = args.indices.n, row_bytes = target.cols * std::ptrdiff_t{sizeof(T)};
  const Resolver resolve(args.indices, target.rows);
  const std::ptrdiff_t bad = resolve.first_bad();
  if (bad != kAllInRange) return bad;
  if (!is_worth_sharing(n, row_bytes, runtime::num_threads())) {
    add_to_owned(args, resolve, {{0, target.cols}, 0, target.rows});
    return kAllInRange;
  }
  const std::vector<Owned> shares = split_target(target, resolve, n);
  runtime::parallel_for(static_cast<std::int64_t>(shares.size()), [&](std::int64_t chunk) {
    add_to_owned(args, resolve, shares[static_cast<std::size_t>(chunk)]);
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
