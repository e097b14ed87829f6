#include "ops/bag.h"

#include <type_traits>
#include <vector>

#include "runtime/threads.h"

namespace embedrnn::ops {
namespace {

using kernels::BagRows;

// Bytes that one share moves: a Ctrl-C is seen between two, so not too many.
constexpr std::ptrdiff_t kShareBytes = std::ptrdiff_t{1} << 20;
// A longer bag is shared out by columns, though its rows are then walked several times.
constexpr std::ptrdiff_t kLongestBagBytes = std::ptrdiff_t{1} << 26;

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

// One bag, in whole cache lines of each row: as many shares as wanted, if there are so many lines.
void split_columns(std::ptrdiff_t bag,
                   std::ptrdiff_t cols,
                   std::ptrdiff_t wanted,
                   std::vector<Share>& shares) {
  constexpr std::ptrdiff_t kLine = 64;  // columns: one line at least, whatever their size
  const std::ptrdiff_t lines = (cols + kLine - 1) / kLine, count = std::min(lines, wanted);
  for (std::ptrdiff_t i = 0; i < count; ++i) {
    const std::ptrdiff_t first = lines * i / count * kLine;
    const std::ptrdiff_t last = std::min(cols, lines * (i + 1) / count * kLine);
    shares.push_back({bag, bag + 1, first, last});
  }
}

std::ptrdiff_t row_bytes(const BagRows& bags) {
  return std::max<std::ptrdiff_t>(1, bags.table_row_stride);
}

std::ptrdiff_t threads_worth(const BagRows& bags) {
  return is_worth_threads(bags.items, row_bytes(bags)) ? runtime::num_threads() : 1;
}

// How many items make a share.
std::ptrdiff_t share_items(const BagRows& bags) {
  const std::ptrdiff_t full = kShareBytes / row_bytes(bags) + 1;
  return std::clamp(bags.items / (4 * threads_worth(bags)) + 1, (full + 15) / 16, full);
}

// How many items of one bag may be in one share.
std::ptrdiff_t longest_bag(const BagRows& bags) {
  const std::ptrdiff_t threads = threads_worth(bags),
                       longest = kLongestBagBytes / row_bytes(bags) + 1;
  return threads == 1 ? longest : std::min(longest, bags.items / threads + 1);
}

// Consecutive bags of about as many items as fill a share; one of more than `longest` by columns.
std::vector<Share> split_bags(const BagRows& bags, std::ptrdiff_t longest) {
  const std::ptrdiff_t wanted = share_items(bags);
  std::vector<Share> shares;
  for (std::ptrdiff_t first = 0, last = 0; first < bags.last; first = last) {
    last = std::min(bags.last, first + wanted);
    std::ptrdiff_t items = last - first;
    if (bags.offsets != nullptr) {
      const std::int64_t full = bags.offsets[first] + wanted;
      const std::int64_t* const end = bags.offsets + bags.last + 1;
      last = std::max(first + 1,
                      std::upper_bound(bags.offsets + first + 1, end, full) - bags.offsets - 1);
      items = bags.offsets[last] - bags.offsets[first];
    }
    if (last - first == 1 && items > longest) {
      split_columns(first, bags.cols, (items + longest - 1) / longest, shares);
    } else {
      shares.push_back({first, last, 0, bags.cols});
    }
  }
  return shares;
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
  for_shares(split_bags(all.bags, longest_bag(all.bags)), [&](const Share& share) {
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
  for_shares(split_bags(all, all.items), [&](const Share& share) {
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
  for_shares(split_bags(all, all.items), [&](const Share& share) {
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
