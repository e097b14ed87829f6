#include "ops/bag.h"

#include <type_traits>
#include <vector>

#include "runtime/threads.h"

namespace embedrnn::ops {
namespace {

using kernels::BagRows;

// What one share costs at most, so that a Ctrl-C is seen soon and its row numbers stay in L2, and
// at least.
constexpr std::ptrdiff_t kMostShareCost = std::ptrdiff_t{1} << 20;
constexpr std::ptrdiff_t kLeastShareCost = std::ptrdiff_t{1} << 16;
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

// Some columns of some bags.
struct Share {
  std::ptrdiff_t first_bag, last_bag;
  std::ptrdiff_t first_col, last_col;
};

// The bags of a call, and how they are shared out.
class SharedBags {
 public:
  SharedBags(const BagTable& table, const Bags& bags)
      : resolve_(bags.indices, table.rows),
        rows_(runtime::scratch_bytes<std::int64_t>(bags.indices.n)),
        row_bytes_(std::max<std::ptrdiff_t>(1, table.row_stride)),
        all_{.table = table.data,
             .table_row_stride = table.row_stride,
             .n_rows = table.rows,
             .rows = rows(),
             .items = bags.indices.n,
             .offsets = bags.offsets,
             .first = 0,
             .last = bags.n,
             .cols = table.cols} {}

  std::ptrdiff_t first_bad() const { return resolve_.first_bad(); }

  // Calls body(its bags, share) for each share of whole bags.
  template <class Body>
  void for_whole_bags(const Body& body) const {
    for_shares(split(all_.items), body);
  }

  // The same, but that a share may be some columns of one long bag.
  template <class Body>
  void for_columns(const Body& body) const {
    const std::ptrdiff_t longest = kLongestBagBytes / row_bytes_ + 1,
                         even = all_.items / threads() + 1;
    for_shares(split(threads() == 1 ? longest : std::min(longest, even)), body);
  }

 private:
  std::int64_t* rows() const { return reinterpret_cast<std::int64_t*>(rows_.data()); }
  std::ptrdiff_t begin_of(std::ptrdiff_t bag) const {
    return all_.offsets != nullptr ? all_.offsets[bag] : bag;
  }
  bool has_all_columns(const Share& share) const {
    return share.last_col - share.first_col == all_.cols;
  }
  std::ptrdiff_t threads() const {
    return is_worth_threads(all_.items, row_bytes_) ? runtime::num_threads() : 1;
  }

  // How many items make a share.
  std::ptrdiff_t share_items() const {
    const std::ptrdiff_t most = kMostShareCost / cost_of_rows(1, row_bytes_) + 1;
    if (threads() == 1) return most;
    return std::clamp(
        all_.items / (4 * threads()) + 1, kLeastShareCost / cost_of_rows(1, row_bytes_) + 1, most);
  }

  // Consecutive bags of about as many items as fill a share; one of more than `longest` by columns.
  std::vector<Share> split(std::ptrdiff_t longest) const {
    const std::ptrdiff_t wanted = share_items();
    std::vector<Share> shares;
    for (std::ptrdiff_t first = 0, last = 0; first < all_.last; first = last) {
      last = std::min(all_.last, first + wanted);  // also of empty bags
      if (all_.offsets != nullptr) {
        const std::int64_t full = all_.offsets[first] + wanted;
        const std::int64_t* const end = all_.offsets + last + 1;
        last = std::max(first + 1,
                        std::upper_bound(all_.offsets + first + 1, end, full) - all_.offsets - 1);
      }
      const std::ptrdiff_t items = begin_of(last) - begin_of(first);
      if (last - first == 1 && items > longest) {
        split_columns(first, (items + longest - 1) / longest, shares);
      } else {
        shares.push_back({first, last, 0, all_.cols});
      }
    }
    return shares;
  }

  // One bag, in whole cache lines of each row: as many shares as wanted, if there are so many
  // lines.
  void split_columns(std::ptrdiff_t bag, std::ptrdiff_t wanted, std::vector<Share>& shares) const {
    constexpr std::ptrdiff_t kLine = 64;  // columns: one line at least, whatever their size
    const std::ptrdiff_t lines = (all_.cols + kLine - 1) / kLine, count = std::min(lines, wanted);
    for (std::ptrdiff_t i = 0; i < count; ++i) {
      const std::ptrdiff_t first = lines * i / count * kLine;
      const std::ptrdiff_t last = std::min(all_.cols, lines * (i + 1) / count * kLine);
      shares.push_back({bag, bag + 1, first, last});
    }
  }

  // The bags of a share; they end with its items, since no other row numbers need be there yet.
  BagRows part(const Share& share) const {
    BagRows bags = all_;
    bags.first = share.first_bag;
    bags.last = share.last_bag;
    bags.items = begin_of(share.last_bag);
    return bags;
  }

  void resolve(const Share& share) const {
    const std::ptrdiff_t begin = begin_of(share.first_bag);
    resolve_(begin, begin_of(share.last_bag) - begin, rows() + begin);
  }

  // Who sums a share finds its row numbers, if they are needed for no other share.
  template <class Body>
  void for_shares(const std::vector<Share>& shares, const Body& body) const {
    for (const Share& share : shares)
      if (!has_all_columns(share) && share.first_col == 0) resolve(share);
    runtime::parallel_for(static_cast<std::int64_t>(shares.size()), [&](std::int64_t chunk) {
      const Share& share = shares[static_cast<std::size_t>(chunk)];
      if (has_all_columns(share)) resolve(share);
      body(part(share), share);
    });
  }

  Resolver resolve_;
  runtime::Scratch rows_;
  std::ptrdiff_t row_bytes_;
  BagRows all_;
};

}  // namespace

template <class S>
std::ptrdiff_t bag_sum(const BagSumArgs<S>& args) {
  const SharedBags bags(args.table, args.bags);
  const std::ptrdiff_t bad = bags.first_bad();
  if (bad != kAllInRange) return bad;
  bags.for_columns([&](const BagRows& part, const Share& share) {
    bag_kernels<S>().sum({.bags = part,
                          .weights = args.weights,
                          .mean = args.mean,
                          .first_col = share.first_col,
                          .last_col = share.last_col,
                          .out = args.out,
                          .out_row_stride = args.out_row_stride,
                          .out_rows = nullptr});
  });
  return kAllInRange;
}

template <class O>
std::ptrdiff_t bag_add(const BagAddArgs<O>& args) {
  const SharedBags bags(args.updates, args.bags);
  const std::ptrdiff_t bad = bags.first_bad();
  if (bad != kAllInRange) return bad;
  const kernels::AllBagKernels& kernels = runtime::kernel_table().bags;
  const auto add = std::is_same_v<O, Float16> ? kernels.add_to_f16 : kernels.add_to_bf16;
  bags.for_columns([&](const BagRows& part, const Share& share) {
    add({.bags = part,
         .weights = nullptr,
         .mean = false,
         .first_col = share.first_col,
         .last_col = share.last_col,
         .out = reinterpret_cast<char*>(args.target),
         .out_row_stride = args.target_row_stride,
         .out_rows = args.rows});
  });
  return kAllInRange;
}

template <class S>
std::ptrdiff_t bag_max(const BagMaxArgs<S>& args) {
  const SharedBags bags(args.table, args.bags);
  const std::ptrdiff_t bad = bags.first_bad();
  if (bad != kAllInRange) return bad;
  bags.for_whole_bags([&](const BagRows& part, const Share&) {
    bag_kernels<S>().max({.bags = part,
                          .out = args.out,
                          .out_row_stride = args.out_row_stride,
                          .winners = args.winners});
  });
  return kAllInRange;
}

template <class S>
std::ptrdiff_t bag_dot(const BagDotArgs<S>& args) {
  const SharedBags bags(args.table, args.bags);
  const std::ptrdiff_t bad = bags.first_bad();
  if (bad != kAllInRange) return bad;
  bags.for_whole_bags([&](const BagRows& part, const Share&) {
    bag_kernels<S>().dot({.bags = part, .gradient = args.gradient, .out = args.out});
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
