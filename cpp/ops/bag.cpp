#include "ops/bag.h"

#include <type_traits>
#include <vector>

#include "runtime/threads.h"

namespace embedrnn::ops {
namespace {

using kernels::BagRows;

// Bytes that one chunk moves: a Ctrl-C is seen between two, so not too many.
constexpr std::ptrdiff_t kChunkBytes = std::ptrdiff_t{1} << 20;

template <class S>
const auto& bag_kernels() {
  const kernels::AllBagKernels& all = runtime::kernel_table().bags;
  if constexpr (std::is_same_v<S, float>) {
    return all.f32;
  } else if constexpr (std::is_same_v<S, double>) {
    return all.f64;
  } else if constexpr (std::is_same_v<S, Float16>) {
    return all.f16;
  } else if constexpr (std::is_same_v<S, BFloat16>) {
    return all.bf16;
  } else {
    static_assert(std::is_same_v<S, Int8Row>);
    return all.int8;
  }
}

// The row numbers of all items, if all of them are in range.
class ResolvedRows {
 public:
  ResolvedRows(const IndexView& indices, std::ptrdiff_t n_rows)
      : scratch_(runtime::scratch_bytes<std::int64_t>(indices.n)) {
    const Resolver resolve(indices, n_rows);
    bad_ = resolve.first_bad();
    if (bad_ == kAllInRange) resolve(0, indices.n, data());
  }

  std::int64_t* data() const { return reinterpret_cast<std::int64_t*>(scratch_.data()); }
  std::ptrdiff_t bad() const { return bad_; }

 private:
  runtime::Scratch scratch_;
  std::ptrdiff_t bad_;
};

BagRows all_bags(const BagTable& table, const Bags& bags, const std::int64_t* rows) {
  return {.table = table.data,
          .table_row_stride = table.row_stride,
          .n_rows = table.rows,
          .rows = rows,
          .items = bags.indices.n,
          .offsets = bags.offsets,
          .first = 0,
          .last = bags.n,
          .cols = table.cols};
}

// Some columns of some bags.
struct Share {
  std::ptrdiff_t first_bag, last_bag;
  std::ptrdiff_t first_col, last_col;
};

// Consecutive bags of about as many items as fill a chunk; a bag is in one share only.
std::vector<Share> split_bags(const BagRows& bags, std::ptrdiff_t items_a_chunk) {
  if (bags.offsets == nullptr) items_a_chunk = std::max<std::ptrdiff_t>(1, items_a_chunk);
  std::vector<Share> shares;
  for (std::ptrdiff_t first = 0; first < bags.last;) {
    std::ptrdiff_t last = std::min(bags.last, first + items_a_chunk);
    if (bags.offsets != nullptr) {
      const std::int64_t* const begin = bags.offsets + first + 1;
      const std::int64_t full = bags.offsets[first] + items_a_chunk;
      last = std::upper_bound(begin, bags.offsets + bags.last, full) - bags.offsets;
    }
    shares.push_back({first, last, 0, bags.cols});
    first = last;
  }
  return shares;
}

// Whether one bag holds so many of the items that threads could not share them evenly.
bool is_lopsided(const BagRows& bags, std::ptrdiff_t threads) {
  std::int64_t most = 1;
  for (std::ptrdiff_t b = 0; bags.offsets != nullptr && b < bags.last; ++b) {
    most = std::max(most, bags.offsets[b + 1] - bags.offsets[b]);
  }
  return most * threads > 2 * bags.items;
}

// Whole cache lines of each row for each thread, if there are so many.
std::vector<Share> split_columns(const BagRows& bags, std::ptrdiff_t threads) {
  constexpr std::ptrdiff_t kLine = 64;  // columns: one line at least, whatever their size
  const std::ptrdiff_t lines = (bags.cols + kLine - 1) / kLine;
  std::vector<Share> shares;
  for (std::ptrdiff_t t = 0; t < threads; ++t) {
    const std::ptrdiff_t first = lines * t / threads * kLine;
    const std::ptrdiff_t last = std::min(bags.cols, lines * (t + 1) / threads * kLine);
    if (first < last) shares.push_back({0, bags.last, first, last});
  }
  return shares;
}

std::ptrdiff_t items_a_chunk(const BagRows& bags) {
  const std::ptrdiff_t row_bytes = std::max<std::ptrdiff_t>(1, bags.table_row_stride);
  const std::ptrdiff_t even = bags.items / (4 * runtime::num_threads());
  return std::clamp<std::ptrdiff_t>(
      even, std::max<std::ptrdiff_t>(1, kChunkBytes / 4 / row_bytes), kChunkBytes / row_bytes + 1);
}

template <class Body>
void for_shares(const std::vector<Share>& shares, const Body& body) {
  runtime::parallel_for(static_cast<std::int64_t>(shares.size()),
                        [&](std::int64_t chunk) { body(shares[static_cast<std::size_t>(chunk)]); });
}

BagRows part_of(BagRows bags, const Share& share) {
  bags.first = share.first_bag;
  bags.last = share.last_bag;
  return bags;
}

template <class T>
void run_sum(const kernels::BagSumBlock<T>& all, void (*kernel)(const kernels::BagSumBlock<T>&)) {
  const std::ptrdiff_t threads =
      all.bags.items * all.bags.table_row_stride < kBytesPerThread ? 1 : runtime::num_threads();
  const bool by_columns = threads > 1 && is_lopsided(all.bags, threads);
  const std::vector<Share> shares =
      by_columns ? split_columns(all.bags, threads) : split_bags(all.bags, items_a_chunk(all.bags));
  for_shares(shares, [&](const Share& share) {
    kernels::BagSumBlock<T> block = all;
    block.bags = part_of(all.bags, share);
    block.first_col = share.first_col;
    block.last_col = share.last_col;
    kernel(block);
  });
}

}  // namespace

template <class S>
std::ptrdiff_t bag_sum(const BagSumArgs<S>& args) {
  const ResolvedRows rows(args.bags.indices, args.table.rows);
  if (rows.bad() != kAllInRange) return rows.bad();
  run_sum<Sum<S>>({.bags = all_bags(args.table, args.bags, rows.data()),
                   .weights = args.weights,
                   .mean = args.mean,
                   .first_col = 0,
                   .last_col = args.table.cols,
                   .out = args.out,
                   .out_row_stride = args.out_row_stride,
                   .out_rows = nullptr},
                  bag_kernels<S>().sum);
  return kAllInRange;
}

template <class O>
std::ptrdiff_t bag_add(const BagAddArgs<O>& args) {
  const ResolvedRows rows(args.bags.indices, args.updates.rows);
  if (rows.bad() != kAllInRange) return rows.bad();
  const kernels::AllBagKernels& kernels = runtime::kernel_table().bags;
  run_sum<float>({.bags = all_bags(args.updates, args.bags, rows.data()),
                  .weights = nullptr,
                  .mean = false,
                  .first_col = 0,
                  .last_col = args.updates.cols,
                  .out = reinterpret_cast<char*>(args.target),
                  .out_row_stride = args.target_row_stride,
                  .out_rows = args.rows},
                 std::is_same_v<O, Float16> ? kernels.add_to_f16 : kernels.add_to_bf16);
  return kAllInRange;
}

template <class S>
std::ptrdiff_t bag_max(const BagMaxArgs<S>& args) {
  const ResolvedRows rows(args.bags.indices, args.table.rows);
  if (rows.bad() != kAllInRange) return rows.bad();
  const BagRows all = all_bags(args.table, args.bags, rows.data());
  for_shares(split_bags(all, items_a_chunk(all)), [&](const Share& share) {
    bag_kernels<S>().max({.bags = part_of(all, share),
                          .out = args.out,
                          .out_row_stride = args.out_row_stride,
                          .winners = args.winners});
  });
  return kAllInRange;
}

template <class S>
std::ptrdiff_t bag_dot(const BagDotArgs<S>& args) {
  const ResolvedRows rows(args.bags.indices, args.table.rows);
  if (rows.bad() != kAllInRange) return rows.bad();
  const BagRows all = all_bags(args.table, args.bags, rows.data());
  for_shares(split_bags(all, items_a_chunk(all)), [&](const Share& share) {
    bag_kernels<S>().dot({.bags = part_of(all, share), .gradient = args.gradient, .out = args.out});
  });
  return kAllInRange;
}

template std::ptrdiff_t bag_sum(const BagSumArgs<float>&);
template std::ptrdiff_t bag_sum(const BagSumArgs<double>&);
template std::ptrdiff_t bag_sum(const BagSumArgs<Float16>&);
template std::ptrdiff_t bag_sum(const BagSumArgs<BFloat16>&);
template std::ptrdiff_t bag_sum(const BagSumArgs<Int8Row>&);
template std::ptrdiff_t bag_max(const BagMaxArgs<float>&);
template std::ptrdiff_t bag_max(const BagMaxArgs<double>&);
template std::ptrdiff_t bag_max(const BagMaxArgs<Float16>&);
template std::ptrdiff_t bag_max(const BagMaxArgs<BFloat16>&);
template std::ptrdiff_t bag_max(const BagMaxArgs<Int8Row>&);
template std::ptrdiff_t bag_dot(const BagDotArgs<float>&);
template std::ptrdiff_t bag_dot(const BagDotArgs<double>&);
template std::ptrdiff_t bag_dot(const BagDotArgs<Float16>&);
template std::ptrdiff_t bag_dot(const BagDotArgs<BFloat16>&);
template std::ptrdiff_t bag_dot(const BagDotArgs<Int8Row>&);
template std::ptrdiff_t bag_add(const BagAddArgs<Float16>&);
template std::ptrdiff_t bag_add(const BagAddArgs<BFloat16>&);

}  // namespace embedrnn::ops
