// A radix sort of the indices by the row they name.
#include "ops/coalesce.h"

#include <array>
#include <bit>
#include <utility>

#include "runtime/interrupt.h"

namespace embedrnn::ops {
namespace {

// Two passes sort a table of 4 million rows, and the counts of a pass stay in L1.
constexpr int kDigitBits = 11;

// A row number above, the position of its index below.
template <class Key>
struct Keys {
  static constexpr int kPositionBits = 4 * sizeof(Key);

  static Key make(std::int64_t row, std::ptrdiff_t position) {
    return static_cast<Key>(row) << kPositionBits | static_cast<Key>(position);
  }
  static std::int64_t row(Key key) { return static_cast<std::int64_t>(key >> kPositionBits); }
  static std::int64_t position(Key key) {
    return static_cast<std::int64_t>(key & ((Key{1} << kPositionBits) - 1));
  }
};

// Calls body(i) for each i below n, and looks for a Ctrl-C between blocks of them.
template <class Body>
void for_each_below(std::ptrdiff_t n, const Body& body) {
  for (std::ptrdiff_t first = 0; first < n; first += kBlockOfIndices) {
    if (first > 0) runtime::checkpoint();
    const std::ptrdiff_t end = std::min(first + kBlockOfIndices, n);
    for (std::ptrdiff_t i = first; i < end; ++i) body(i);
  }
}

// One pass of a radix sort, stable.
template <class Key>
void sort_by_digit(const Key* from, std::ptrdiff_t n, int shift, int bits, Key* to) {
  std::array<std::ptrdiff_t, std::size_t{1} << kDigitBits> next{};
  const auto digit = [=](Key key) {
    return static_cast<std::size_t>(key >> shift) & ((std::size_t{1} << bits) - 1);
  };
  for_each_below(n, [&](std::ptrdiff_t i) { ++next[digit(from[i])]; });
  std::ptrdiff_t sum = 0;
  for (std::ptrdiff_t& count : next) sum += std::exchange(count, sum);
  for_each_below(n, [&](std::ptrdiff_t i) { to[next[digit(from[i])]++] = from[i]; });
}

// Returns where the sorted keys are: in `keys` or in `other`. Only the digits in which the rows
// differ are sorted by.
template <class Key>
const Key* sort_by_row(Key* keys, std::ptrdiff_t n, Key* other) {
  std::int64_t all = 0, before = 0;
  bool rising = true;
  for_each_below(n, [&](std::ptrdiff_t i) {
    const std::int64_t row = Keys<Key>::row(keys[i]);
    all |= row;
    rising &= row >= before;
    before = row;
  });
  if (rising) return keys;
  const int row_bits = static_cast<int>(std::bit_width(static_cast<std::uint64_t>(all)));
  const int passes = (row_bits + kDigitBits - 1) / kDigitBits;
  for (int pass = 0; pass < passes; ++pass) {
    const int first = row_bits * pass / passes, last = row_bits * (pass + 1) / passes;
    sort_by_digit(keys, n, Keys<Key>::kPositionBits + first, last - first, other);
    std::swap(keys, other);
  }
  return keys;
}

template <class Key>
std::ptrdiff_t write_groups(const Key* keys, const GroupArgs& args) {
  std::ptrdiff_t count = 0;
  std::int64_t before = -1;
  args.offsets[0] = 0;
  for_each_below(args.indices.n, [&](std::ptrdiff_t i) {
    const std::int64_t row = Keys<Key>::row(keys[i]);
    args.positions[i] = Keys<Key>::position(keys[i]);
    count += row != before;  // no branch: whether a row goes on cannot be foretold
    args.rows[count - 1] = row;
    args.offsets[count] = i + 1;
    before = row;
  });
  return count;
}

template <class Key>
std::ptrdiff_t
write_numbers(const Key* keys, std::ptrdiff_t n, std::int64_t* rows, std::int64_t* numbers) {
  std::ptrdiff_t count = 0;
  std::int64_t before = -1;
  for_each_below(n, [&](std::ptrdiff_t i) {
    const std::int64_t row = Keys<Key>::row(keys[i]);
    count += row != before;
    rows[count - 1] = row;
    numbers[Keys<Key>::position(keys[i])] = count - 1;
    before = row;
  });
  return count;
}

// Calls write(keys) with those of the indices, sorted; it returns how many rows they name.
template <class Key, class Write>
Grouped sorted_by_row(const IndexView& indices, std::ptrdiff_t n_rows, const Write& write) {
  const std::ptrdiff_t n = indices.n;
  const runtime::Scratch scratch(2 * runtime::scratch_bytes<Key>(n));
  runtime::Carver carver(scratch);
  Key* const keys = carver.take<Key>(n);
  Key* const other = carver.take<Key>(n);
  const Resolver resolve(indices, n_rows);
  const std::ptrdiff_t bad = resolve.for_good_blocks(
      0, n, [&](std::ptrdiff_t first, std::ptrdiff_t count, const std::int64_t* rows) {
        for (std::ptrdiff_t i = 0; i < count; ++i)
          keys[first + i] = Keys<Key>::make(rows[i], first + i);
        runtime::checkpoint();
      });
  if (bad != kAllInRange) return {bad, 0};
  return {kAllInRange, write(sort_by_row(keys, n, other))};
}

// Calls write(keys) as sorted_by_row() does, with keys that hold the rows and the indices.
template <class Write>
Grouped with_keys(const IndexView& indices, std::ptrdiff_t n_rows, const Write& write) {
  constexpr std::ptrdiff_t kNarrow = std::ptrdiff_t{1} << 32;
  const bool narrow = indices.n < kNarrow && n_rows <= kNarrow;
  return narrow ? sorted_by_row<std::uint64_t>(indices, n_rows, write)
                : sorted_by_row<unsigned __int128>(indices, n_rows, write);
}

}  // namespace

Grouped group_rows(const GroupArgs& args) {
  return with_keys(
      args.indices, args.n_rows, [&](const auto* keys) { return write_groups(keys, args); });
}

Grouped number_rows(const IndexView& indices,
                    std::ptrdiff_t n_rows,
                    std::int64_t* rows,
                    std::int64_t* numbers) {
  return with_keys(indices, n_rows, [&](const auto* keys) {
    return write_numbers(keys, indices.n, rows, numbers);
  });
}

}  // namespace embedrnn::ops
