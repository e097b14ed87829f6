// What operations cost, and from where on another way is worth it: every constant that was tuned by
// measuring, and the rules that read it.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>

namespace embedrnn::ops {

// --- Rows of a table. Costs are counted in bytes.

inline constexpr std::ptrdiff_t kLineBytes = 64;

// What n rows of so many bytes cost: a row costs something beside its own bytes, as much as a cache
// line does.
inline std::ptrdiff_t cost_of_rows(std::ptrdiff_t n, std::ptrdiff_t row_bytes) {
  return n * (row_bytes + kLineBytes);
}

// Whether that is enough for a second thread, which costs more than it brings below some 15 us.
inline bool is_worth_threads(std::ptrdiff_t n, std::ptrdiff_t row_bytes) {
  return cost_of_rows(n, row_bytes) >= std::ptrdiff_t{1} << 19;
}

// Bytes of a row that takes one load or sum.
inline constexpr std::ptrdiff_t kScalarBytes = 8;

// A table of so many bytes stays in L2 and needs no prefetching: for narrow rows the prefetches
// cost more than the copies.
inline constexpr std::ptrdiff_t kResidentBytes = std::ptrdiff_t{1} << 20;
// The core itself has many loads of scalars under way, as many as L3 asks for: fetching those of 4
// MB took 1.4 times as long, not fetching those of 16 MB 1.2 times, and of 120 MB 1.5 (Zen 5).
inline constexpr std::ptrdiff_t kResidentScalars = std::ptrdiff_t{1} << 23;

// Bytes of the rows that are fetched ahead of the one in hand. On Zen 3, 16 KB took 1.05 to 1.2
// times as long as 4 KB; on Zen 5, 4 KB took 1.2 times as long as 8 KB in large tables. Of a bag
// they come a tile of columns at a time, and so from more rows.
inline constexpr std::ptrdiff_t kBytesAhead = std::ptrdiff_t{1} << 13;
inline constexpr std::ptrdiff_t kBagBytesAhead = std::ptrdiff_t{1} << 14;

// How many rows that is, 0 if a kernel fetches none. Narrow rows pass fast, so many of them are
// under way: with 16 at most, rows of 64 to 128 bytes took 1.3 to 2 times as long (Zen 5).
inline std::ptrdiff_t
rows_ahead(std::ptrdiff_t n_rows, std::ptrdiff_t row_bytes, std::ptrdiff_t bytes_ahead) {
  constexpr std::ptrdiff_t kLeast = 4, kMost = 128;
  const std::ptrdiff_t resident = row_bytes <= kScalarBytes ? kResidentScalars : kResidentBytes;
  if (row_bytes == 0 || n_rows * row_bytes <= resident) return 0;
  return std::clamp(bytes_ahead / row_bytes, kLeast, kMost);
}

// How many rows one chunk of a gather copies. Each chunk starts without rows under way, so not too
// few; a Ctrl-C is seen between two, so not too many.
inline std::ptrdiff_t
rows_a_chunk(std::ptrdiff_t n, std::ptrdiff_t row_bytes, std::ptrdiff_t threads) {
  constexpr std::ptrdiff_t kLeast = std::ptrdiff_t{1} << 16, kMost = std::ptrdiff_t{1} << 22;
  if (!is_worth_threads(n, row_bytes)) return std::max<std::ptrdiff_t>(1, n);
  const std::ptrdiff_t bytes = std::clamp(n * row_bytes / (4 * threads), kLeast, kMost);
  return std::max<std::ptrdiff_t>(1, bytes / std::max<std::ptrdiff_t>(1, row_bytes));
}

// Whether a gather stores past the caches: an output of this size is gone from them before anybody
// reads it, and the table stays. That took 0.6 to 0.7 of the time, but 1.1 from a table of 256 MB.
// The pages of a new output are cleared, in cache, when they are first touched.
inline bool goes_past_caches(std::ptrdiff_t out_bytes, std::ptrdiff_t table_bytes, bool old_out) {
  constexpr std::ptrdiff_t kLargeCache = std::ptrdiff_t{1} << 25;
  return old_out && out_bytes >= kLargeCache && table_bytes <= kLargeCache;
}

// Whether a scatter_add is worth sharing: every thread walks all indices, which takes twice the
// work to be worth it, and a scalar is added in the time it takes to find out whose it is.
inline bool is_worth_sharing(std::ptrdiff_t n, std::ptrdiff_t row_bytes, std::ptrdiff_t threads) {
  return threads > 1 && row_bytes > kScalarBytes && is_worth_threads(n / 2, row_bytes);
}

// Bytes of the target that one block of a scatter_add changes at most, but for one row of more: a
// Ctrl-C is seen between two.
inline constexpr std::ptrdiff_t kScatteredBytes = std::ptrdiff_t{1} << 22;

// Indices, offsets or keys that a plain loop goes through between two looks for a Ctrl-C, some 50
// us of work; in scattered order they take ten times as long.
inline constexpr std::ptrdiff_t kBlockOfIndices = std::ptrdiff_t{1} << 16;

// Rows of a table for each index, up to which they are numbered by a mark for each row.
inline constexpr std::ptrdiff_t kRowsAnIndex = 64;

// Indices of a scatter_add that are looked at to share out the rows that they name.
inline constexpr std::ptrdiff_t kSampledIndices = 256;

// The most items that a kernel takes of a bag in one go: so many that a Ctrl-C is seen soon and
// their row numbers stay in L2.
inline std::ptrdiff_t items_a_piece(std::ptrdiff_t row_bytes) {
  return (std::ptrdiff_t{1} << 20) / cost_of_rows(1, row_bytes) + 1;
}

// The most columns of a bag in pieces: their sums wait for the next piece on the stack.
inline constexpr std::ptrdiff_t kPieceColumns = 2048;

// How many items make a share of bags: no more than a piece, and at least so many that a share is
// worth handing out.
inline std::ptrdiff_t
items_a_share(std::ptrdiff_t items, std::ptrdiff_t row_bytes, std::ptrdiff_t threads) {
  constexpr std::ptrdiff_t kLeast = std::ptrdiff_t{1} << 16;
  const std::ptrdiff_t most = items_a_piece(row_bytes);
  const std::ptrdiff_t least = kLeast / cost_of_rows(1, row_bytes) + 1;
  return threads == 1 ? most : std::clamp(items / (4 * threads) + 1, least, most);
}

// The most items of a bag that is not shared out by columns, for which its rows are walked several
// times: 64 MB of them, or as many as each thread has.
inline std::ptrdiff_t
items_of_long_bag(std::ptrdiff_t items, std::ptrdiff_t row_bytes, std::ptrdiff_t threads) {
  const std::ptrdiff_t longest = (std::ptrdiff_t{1} << 26) / row_bytes + 1;
  return threads == 1 ? longest : std::min(longest, items / threads + 1);
}

// Bytes that a step of an optimiser moves of a row: parameter and states, read and written, and the
// gradient. This is what its threads and chunks are dealt by.
inline std::ptrdiff_t
bytes_of_step(std::ptrdiff_t param_bytes, std::ptrdiff_t state_bytes, std::ptrdiff_t grad_bytes) {
  return 2 * (param_bytes + state_bytes) + grad_bytes;
}

// How many times that a row takes which may have to make up for so many steps: a Ctrl-C is seen
// between two chunks. No more, for most rows have missed few.
inline std::ptrdiff_t steps_of_lagging_row(std::ptrdiff_t steps) {
  constexpr std::ptrdiff_t kMost = 64;
  return std::min(steps, kMost);
}

// Columns of a row of a dense step, which goes by elements: an array of any shape is stepped as
// rows of so many, and those that are left.
inline constexpr std::ptrdiff_t kElementsARow = 1024;

// --- The recurrence

// About 80 us of arithmetic: less is not worth a second thread.
inline constexpr double kFlopsPerThread = 8e6;
// Rows that keep the arithmetic of a thread busy while it reads the weights of a step. With fewer
// the reading is what takes time, and threads that share it gain more than threads with rows apart.
inline constexpr std::ptrdiff_t kRowsPerThread = 3;
// Flops of one step of a group at most, some 10 ms: a Ctrl-C is seen between two.
inline constexpr double kFlopsPerStep = 1e9;
// Flops of one step that are worth waiting for each other behind it, some 1.5 us.
inline constexpr double kFlopsPerMeeting = 8e4;
// How long a team waits beside half of its time, for whose part of a step takes so many flops: what
// the part takes of a large layer, whose weights come from memory, and some time more.
inline std::chrono::nanoseconds patience_of_team(double flops) {
  constexpr double kFlopsPerNanosecond = 4;
  return std::chrono::microseconds(200) +
         std::chrono::nanoseconds(static_cast<std::int64_t>(flops / kFlopsPerNanosecond));
}
// In how many parts, by units, the product of so many rows is made, for a Ctrl-C to be seen soon.
inline std::ptrdiff_t
calls_of_product(std::ptrdiff_t rows, std::ptrdiff_t inputs, std::ptrdiff_t outputs) {
  const double flops = 2.0 * static_cast<double>(rows * inputs) * static_cast<double>(outputs);
  return 1 + static_cast<std::ptrdiff_t>(flops / kFlopsPerStep);
}
// What a step of a row costs beside its arithmetic, counted as flops.
inline constexpr double kFlopsOfOverhead = 1e3;
// Flops between two looks for a Ctrl-C, some 10 us.
inline constexpr double kFlopsPerCheckpoint = 1e6;
// Bytes of a weight that a thread packs in one go, some 20 us: a smaller one is not worth sharing.
inline constexpr std::ptrdiff_t kPackedBytes = std::ptrdiff_t{1} << 19;
// Bytes of padding that are filled between two looks for a Ctrl-C.
inline constexpr std::ptrdiff_t kZeroedBytes = std::ptrdiff_t{1} << 17;
// Steps of the first tile of a team: who comes late joins in the second.
inline constexpr std::ptrdiff_t kFirstSteps = 4;
// Bytes of input products in a tile of steps: they are written and read back within L2.
inline constexpr std::ptrdiff_t kTileBytes = std::ptrdiff_t{1} << 17;
// Pairs of a tile at least: what they share is one reading of the input weights, which for wide
// layers come from L3.
inline constexpr std::ptrdiff_t kTilePairs = 48;

// Distinct tokens whose input products are made in one go.
inline constexpr std::ptrdiff_t kDistinctRows = 48;
// The most bytes of such products in a call: it keeps them until it ends.
inline constexpr double kMostDistinctBytes = 1 << 28;

// Whether so many tokens are worth to have the input products, of so many bytes, of the distinct
// ones made first. What is saved is the arithmetic of the others; a product that was made costs
// about as much to read again as so many of its multiplications.
inline bool is_worth_distinct(std::ptrdiff_t tokens,
                              std::ptrdiff_t distinct,
                              std::ptrdiff_t inputs,
                              std::ptrdiff_t product_bytes) {
  constexpr double kInputsOfReading = 8;
  const auto all = static_cast<double>(tokens), once = static_cast<double>(distinct);
  const auto k = static_cast<double>(inputs);
  return once * static_cast<double>(product_bytes) <= kMostDistinctBytes &&
         once * k + all * kInputsOfReading < all * k;
}

// Bytes of the gradients of pre-activations in a tile of steps of a backward pass, and pairs of it
// at least: so many share one walk through the gradients of the weights.
inline constexpr std::ptrdiff_t kBackTileBytes = std::ptrdiff_t{1} << 20;
inline constexpr std::ptrdiff_t kBackTilePairs = 256;
// Elements of a gradient that are added to those of the distinct tokens in one go.
inline constexpr std::ptrdiff_t kTokenColumns = 256;
// Pairs whose inputs get their gradients in one go.
inline constexpr std::ptrdiff_t kInputPairs = 96;

}  // namespace embedrnn::ops
