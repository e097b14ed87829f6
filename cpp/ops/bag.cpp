// How bags are shared out among threads, a long one by columns, and in which pieces the kernels
// take them: so many items at a time that a Ctrl-C is seen soon.
#include "ops/bag.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <type_traits>
#include <utility>
#include <vector>

#include "ops/columns.h"
#include "runtime/interrupt.h"
#include "runtime/pool.h"
#include "runtime/thread_count.h"

namespace embedrnn::ops {
namespace {

using kernels::BagRows;

template <class S>
const auto& bag_kernels() {
  const kernels::AllBagKernels& all = runtime::registry().bags;
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

// Bytes of a row of a table that stores S; 1 of one without columns, to divide by.
template <class S>
std::ptrdiff_t bytes_of_row(std::ptrdiff_t cols) {
  const std::ptrdiff_t bytes =
      std::is_same_v<S, Int8Row> ? kInt8RowHeader + cols : cols * std::ptrdiff_t{sizeof(S)};
  return std::max<std::ptrdiff_t>(1, bytes);
}

// Some columns of consecutive bags.
struct BagShare {
  std::ptrdiff_t first_bag, last_bag;
  Columns cols;
};

// What a kernel takes in one go: consecutive bags, or some items of one.
struct Piece {
  BagRows bags;
  std::ptrdiff_t first_bag;     // which is the first of `bags`
  std::ptrdiff_t items_before;  // of that bag, in the pieces before
  bool ends;                    // whether no other piece of it follows
};

// Where the sums of a bag in pieces wait for the next one: each piece reads one row and writes the
// other. On the stack of who sums, since nothing may be allocated there.
template <class T>
class WaitingSums {
 public:
  const T* before(const Piece& piece) const {
    return piece.items_before > 0 ? rows_[1 - written_].data() : nullptr;
  }
  T* after(const Piece& piece) { return piece.ends ? nullptr : rows_[written_].data(); }
  void swap() { written_ = 1 - written_; }

 private:
  std::array<T, kPieceColumns> rows_[2];
  std::size_t written_ = 0;
};

// The bags of a call, and how they are shared out.
class SharedBags {
 public:
  SharedBags(const BagTable& table, std::ptrdiff_t row_bytes, const Bags& bags)
      : resolve_(bags.indices, table.rows),
        rows_(runtime::scratch_bytes<std::int64_t>(bags.indices.n)), row_bytes_(row_bytes),
        all_{.table = table.data,
             .table_row_stride = table.row_stride,
             .ahead = rows_ahead(table.rows, row_bytes_, kBagBytesAhead),
             .rows = rows(),
             .items = bags.indices.n,
             .offsets = bags.offsets,
             .first = 0,
             .last = bags.n,
             .cols = table.cols} {}

  std::ptrdiff_t first_bad() const { return resolve_.first_bad(); }

  // Calls body(piece) for the pieces of all bags, those of one bag in turn. Here and below the
  // indices need not have been checked: returns the position of the first that is out of range, or
  // kAllInRange; then body() has not seen its share.
  template <class Body>
  std::ptrdiff_t for_whole_bags(const Body& body) const {
    return for_shares(split([](std::ptrdiff_t) { return 1; }),
                      [&](const BagShare& share) { for_pieces(share, body); });
  }

  // Calls body(share) for the shares of all bags, of which some may be columns of one long bag: no
  // more than kPieceColumns of one in pieces.
  template <class Body>
  std::ptrdiff_t for_columns(const Body& body) const {
    const std::ptrdiff_t longest = items_of_long_bag(all_.items, row_bytes_, threads());
    constexpr std::ptrdiff_t kMost = kPieceColumns - kLineBytes;  // a share ends with a cache line
    const auto parts_of = [&](std::ptrdiff_t items) {
      const std::ptrdiff_t parts = (items + longest - 1) / longest;
      const bool is_in_pieces = items > items_a_piece(row_bytes_);
      return is_in_pieces ? std::max(parts, (all_.cols + kMost - 1) / kMost) : parts;
    };
    return for_shares(split(parts_of), body);
  }

  // Calls body(piece) for the pieces of a share: all of its bags at once, unless it is a long one.
  template <class Body>
  void for_pieces(const BagShare& share, const Body& body) const {
    BagRows bags = part(share);
    const std::int64_t begin = bags.offsets[0];
    const std::ptrdiff_t taken_bytes =
        row_bytes_ * bags.cols / std::max<std::ptrdiff_t>(1, all_.cols);
    const std::ptrdiff_t n = bags.items - begin, most = items_a_piece(taken_bytes);
    if (bags.last > 1 || n <= most) return body(Piece{bags, share.first_bag, 0, true});
    std::array<std::int64_t, 2> ends;
    bags.offsets = ends.data();
    for (std::ptrdiff_t before = 0; before < n; before += most) {
      if (before > 0) runtime::checkpoint();
      const std::ptrdiff_t behind = std::min(before + most, n);
      ends = {begin + before, begin + behind};
      body(Piece{bags, share.first_bag, before, behind == n});
    }
  }

 private:
  std::int64_t* rows() const { return reinterpret_cast<std::int64_t*>(rows_.data()); }
  bool has_all_columns(const BagShare& share) const {
    return share.cols.last - share.cols.first == all_.cols;
  }
  std::ptrdiff_t threads() const {
    return is_worth_threads(all_.items, row_bytes_) ? runtime::num_threads() : 1;
  }

  // Consecutive bags of about as many items as fill a share; one bag of so many items in
  // parts_of(items) shares of its columns.
  template <class PartsOf>
  std::vector<BagShare> split(const PartsOf& parts_of) const {
    const std::ptrdiff_t wanted = items_a_share(all_.items, row_bytes_, threads());
    const std::int64_t* const offsets = all_.offsets;
    std::vector<BagShare> shares;
    for (std::ptrdiff_t first = 0, last = 0; first < all_.last; first = last) {
      const std::ptrdiff_t most = std::min(all_.last, first + wanted);  // also of empty bags
      const std::int64_t* const behind =
          std::upper_bound(offsets + first + 1, offsets + most + 1, offsets[first] + wanted);
      last = std::max(first + 1, behind - offsets - 1);
      const std::ptrdiff_t parts = last - first == 1 ? parts_of(offsets[last] - offsets[first]) : 1;
      if (parts > 1) {
        for (const Columns& cols : split_columns(nullptr, all_.cols, sizeof(float), parts))
          shares.push_back({first, last, cols});
      } else {
        shares.push_back({first, last, {0, all_.cols}});
      }
    }
    return shares;
  }

  // The bags of a share; they end with its items, since no other row numbers need be there yet.
  BagRows part(const BagShare& share) const {
    BagRows bags = all_;
    bags.offsets += share.first_bag;
    bags.last = share.last_bag - share.first_bag;
    bags.items = all_.offsets[share.last_bag];
    bags.cols = share.cols.last - share.cols.first;
    return bags;
  }

  std::ptrdiff_t resolve(const BagShare& share) const {
    const std::ptrdiff_t end = all_.offsets[share.last_bag];
    for (std::ptrdiff_t first = all_.offsets[share.first_bag]; first < end;) {
      const std::ptrdiff_t n = std::min(kBlockOfIndices, end - first);
      const std::ptrdiff_t bad = resolve_(first, n, rows() + first);
      if (bad != kAllInRange) return bad;
      first += n;
      if (first < end) runtime::checkpoint();
    }
    return kAllInRange;
  }

  // Who sums a share finds its row numbers, if they are needed for no other share.
  template <class Body>
  std::ptrdiff_t for_shares(const std::vector<BagShare>& shares, const Body& body) const {
    for (const BagShare& share : shares) {
      if (has_all_columns(share) || share.cols.first > 0) continue;
      const std::ptrdiff_t bad = resolve(share);
      if (bad != kAllInRange) return resolve_.first_bad_but(bad);
    }
    std::atomic<std::ptrdiff_t> seen{kAllInRange};
    runtime::parallel_for(static_cast<std::int64_t>(shares.size()), [&](std::int64_t chunk) {
      const BagShare& share = shares[static_cast<std::size_t>(chunk)];
      const std::ptrdiff_t bad = has_all_columns(share) ? resolve(share) : kAllInRange;
      if (bad != kAllInRange) return seen.store(bad, std::memory_order_relaxed);
      body(share);
    });
    return seen == kAllInRange ? kAllInRange : resolve_.first_bad_but(seen);
  }

  Resolver resolve_;
  runtime::Scratch rows_;
  std::ptrdiff_t row_bytes_;
  BagRows all_;
};

// Puts the positions in [first, last) of indices that are neither of two into kept, and returns how
// many they are.
template <class I>
std::ptrdiff_t positions_of_others(const IndexView& indices,
                                   std::ptrdiff_t first,
                                   std::ptrdiff_t last,
                                   std::int64_t one,
                                   std::int64_t other,
                                   std::int64_t* kept) {
  const I* const at = static_cast<const I*>(indices.data);
  std::ptrdiff_t n = 0;
  for (std::ptrdiff_t i = first; i < last; ++i) {
    kept[n] = i;  // which the next one overwrites if it is not to stay
    n += !std::cmp_equal(at[i], one) && !std::cmp_equal(at[i], other);
  }
  return n;
}

// In the order of IndexType.
constexpr decltype(&positions_of_others<std::int64_t>) kPositionsOfOthers[] = {
    positions_of_others<std::int8_t>,
    positions_of_others<std::int16_t>,
    positions_of_others<std::int32_t>,
    positions_of_others<std::int64_t>,
    positions_of_others<std::uint8_t>,
    positions_of_others<std::uint16_t>,
    positions_of_others<std::uint32_t>,
    positions_of_others<std::uint64_t>,
};

}  // namespace

std::ptrdiff_t without_row(const Bags& bags,
                           std::ptrdiff_t row,
                           std::ptrdiff_t n_rows,
                           std::int64_t* kept,
                           std::int64_t* offsets) {
  const auto positions = kPositionsOfOthers[static_cast<int>(bags.indices.type)];
  std::ptrdiff_t n = 0;
  for (std::ptrdiff_t first = 0; first < bags.indices.n; first += kBlockOfIndices) {
    if (first > 0) runtime::checkpoint();
    const std::ptrdiff_t last = std::min(first + kBlockOfIndices, bags.indices.n);
    n += positions(bags.indices, first, last, row, row - n_rows, kept + n);
  }
  std::int64_t* begin = kept;
  for (std::ptrdiff_t b = 0; b <= bags.n; ++b) {
    begin = std::lower_bound(begin, kept + n, bags.offsets[b]);
    offsets[b] = begin - kept;
  }
  return n;
}

std::ptrdiff_t
first_bad_offset(const std::int64_t* offsets, std::ptrdiff_t n, std::ptrdiff_t items) {
  std::int64_t before = 0;
  for (std::ptrdiff_t i = 0; i < n; ++i) {
    const std::int64_t offset = offsets[i];
    if (i == 0 ? offset != 0 : (offset < before || offset > items)) return i;
    before = offset;
  }
  return kAllInRange;
}

template <class S>
std::ptrdiff_t bag_sum(const BagSumArgs<S>& args) {
  const SharedBags bags(args.table, bytes_of_row<S>(args.table.cols), args.bags);
  return bags.for_columns([&](const BagShare& share) {
    WaitingSums<Sum<S>> sums;
    bags.for_pieces(share, [&](const Piece& piece) {
      bag_kernels<S>().sum({.bags = piece.bags,
                            .weights = args.weights,
                            .mean = args.mean,
                            .first_col = share.cols.first,
                            .last_col = share.cols.last,
                            .out = args.out + piece.first_bag * args.out_row_stride,
                            .out_row_stride = args.out_row_stride,
                            .out_rows = nullptr,
                            .before = sums.before(piece),
                            .after = sums.after(piece),
                            .items_before = piece.items_before});
      sums.swap();
    });
  });
}

template <class O>
std::ptrdiff_t bag_add(const BagAddArgs<O>& args) {
  const SharedBags bags(args.updates, bytes_of_row<float>(args.updates.cols), args.bags);
  const std::ptrdiff_t bad = bags.first_bad();  // before anything is added
  if (bad != kAllInRange) return bad;
  const kernels::AllBagKernels& kernels = runtime::registry().bags;
  const auto add = std::is_same_v<O, Float16> ? kernels.add_to_f16 : kernels.add_to_bf16;
  return bags.for_columns([&](const BagShare& share) {
    WaitingSums<float> sums;
    bags.for_pieces(share, [&](const Piece& piece) {
      add({.bags = piece.bags,
           .weights = nullptr,
           .mean = false,
           .first_col = share.cols.first,
           .last_col = share.cols.last,
           .out = reinterpret_cast<char*>(args.target),
           .out_row_stride = args.target_row_stride,
           .out_rows = args.rows + piece.first_bag,
           .before = sums.before(piece),
           .after = sums.after(piece),
           .items_before = piece.items_before});
      sums.swap();
    });
  });
}

template <class S>
std::ptrdiff_t bag_max(const BagMaxArgs<S>& args) {
  const SharedBags bags(args.table, bytes_of_row<S>(args.table.cols), args.bags);
  return bags.for_whole_bags([&](const Piece& piece) {
    std::int64_t* const winners =
        args.winners != nullptr ? args.winners + piece.first_bag * args.table.cols : nullptr;
    bag_kernels<S>().max({.bags = piece.bags,
                          .out = args.out + piece.first_bag * args.out_row_stride,
                          .out_row_stride = args.out_row_stride,
                          .winners = winners,
                          .goes_on = piece.items_before > 0});
  });
}

template <class S>
std::ptrdiff_t bag_dot(const BagDotArgs<S>& args) {
  const SharedBags bags(args.table, bytes_of_row<S>(args.table.cols), args.bags);
  return bags.for_whole_bags([&](const Piece& piece) {
    const char* const gradient = args.gradient.data + piece.first_bag * args.gradient.row_stride;
    bag_kernels<S>().dot({.bags = piece.bags,
                          .gradient = gradient,
                          .gradient_row_stride = args.gradient.row_stride,
                          .out = args.out});
  });
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
