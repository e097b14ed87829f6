// The rows that run side by side from their first step to their last, and their memory.
#pragma once

#include <algorithm>
#include <utility>
#include <vector>

#include "ops/recurrence.h"
#include "runtime/threads.h"

namespace embedrnn::ops {

struct Row {
  std::ptrdiff_t batch;
  std::ptrdiff_t length;
};

// Counts the work of a thread, and lets a call end every 10 us or so of it.
class Account {
 public:
  void add(double flops) {
    flops_ += flops;
    if (flops_ < kFlopsPerCheckpoint) return;
    flops_ = 0;
    runtime::checkpoint();
  }

 private:
  static constexpr double kFlopsPerCheckpoint = 1e6;
  double flops_ = 0;
};

// What a step of a row costs beside its arithmetic, counted as flops.
inline constexpr double kFlopsOfOverhead = 1e3;

// Flops of one step of one row.
template <class T>
double flops_a_step(const RecurrenceArgs<T>& args, const Cell<T>& cell) {
  return kFlopsOfOverhead + 2.0 * static_cast<double>(cell.packing.width()) *
                                static_cast<double>(args.x.width + args.output.width);
}

template <class T>
class RowGroup {
 public:
  // For a team of so many threads at most.
  RowGroup(const RecurrenceArgs<T>& call,
           const Cell<T>& with,
           std::vector<Row> longest_first,
           int most)
      : args(call), cell(with), rows(std::move(longest_first)), width(cell.packing.width()),
        state(width / cell.packing.gates), most_(most) {
    std::ptrdiff_t steps = 0;
    for (const Row& row : rows) steps += row.length;
    const std::ptrdiff_t in_cache =
        kTileBytes / std::ptrdiff_t{sizeof(T)} /
        std::max<std::ptrdiff_t>(1, width + (copies_x() ? args.x.width : 0));
    pairs = std::max(size(), std::min(std::max(in_cache, kTilePairs), steps));
  }

  std::size_t scratch_bytes() const {
    return 2 * runtime::scratch_bytes<T>(size(), state) +
           runtime::scratch_bytes<T>(has_cell_state() ? size() : 0, state) +
           runtime::scratch_bytes<T>(cell.needs_scratch ? 2 * size() : 0, state) +
           runtime::scratch_bytes<T>(pairs, width) +
           runtime::scratch_bytes<T>(copies_output() ? size() : 0, hidden()) +
           static_cast<std::size_t>(most_) * own_bytes();
  }

  void carve(std::byte* scratch) {
    runtime::Carver carver(scratch);
    for (T*& h : h_) h = carver.take<T>(size(), state);
    c = carver.take<T>(has_cell_state() ? size() : 0, state);
    step_scratch = carver.take<T>(cell.needs_scratch ? 2 * size() : 0, state);
    projected = carver.take<T>(pairs, width);
    output_copy = carver.take<T>(copies_output() ? size() : 0, hidden());
    own_ = carver.take<std::byte>(0);
  }

  // What each thread has for itself.
  struct Own {
    const T** inputs;  // (pairs)
    T** outputs;       // (rows)
    T* x_copy;         // (pairs, I)
  };
  Own own(int rank) const {
    runtime::Carver carver(own_ + static_cast<std::size_t>(rank) * own_bytes());
    Own own{};
    own.inputs = carver.take<const T*>(pairs);
    own.outputs = carver.take<T*>(size());
    own.x_copy = carver.take<T>(copies_x() ? pairs : 0, args.x.width);
    return own;
  }

  // Loads the state of every row, and writes the zeros of its padding.
  void start() {
    Account account;
    for (std::ptrdiff_t r = 0; r < size(); ++r) {
      load_state(args.h_0, row(r).batch, h_[0] + r * state);
      if (has_cell_state()) load_state(args.c_0, row(r).batch, c + r * state);
      for (std::ptrdiff_t t = row(r).length; t < args.output.time; ++t) {
        fill_zero(args.output.row(row(r).batch, t));
        account.add(kFlopsOfOverhead + static_cast<double>(hidden()));
      }
    }
  }

  // Hands out the state of the rows of this length, which are the last of those alive; returns how
  // many are left.
  std::ptrdiff_t retire(std::ptrdiff_t alive, std::ptrdiff_t length) {
    for (; alive > 0 && row(alive - 1).length == length; --alive) {
      const std::ptrdiff_t batch = row(alive - 1).batch, at = (alive - 1) * state;
      store_state(h(length) + at, batch, args.h_n);
      if (has_cell_state()) store_state(c + at, batch, args.c_n);
    }
    return alive;
  }

  std::ptrdiff_t size() const { return static_cast<std::ptrdiff_t>(rows.size()); }
  const Row& row(std::ptrdiff_t r) const { return rows[static_cast<std::size_t>(r)]; }
  std::ptrdiff_t hidden() const { return args.output.width; }
  bool copies_x() const { return args.x.col_stride != 1; }
  bool copies_output() const { return args.output.col_stride != 1; }

  // The state before a step of the walk: one of two buffers, of which the step fills the other.
  T* h(std::ptrdiff_t step) const { return h_[step % 2]; }

  // The time that a row is at in a step of the walk.
  std::ptrdiff_t time(std::ptrdiff_t r, std::ptrdiff_t step) const {
    return args.reverse ? row(r).length - 1 - step : step;
  }

  const RecurrenceArgs<T>& args;
  const Cell<T>& cell;
  const std::vector<Row> rows;        // longest first
  const std::ptrdiff_t width, state;  // of a row of pre-activations, and of a state row
  std::ptrdiff_t pairs;               // (row, step) pairs of a tile of steps at most
  std::ptrdiff_t first = 0, end = 0;  // steps of the tile; the leader of a team sets them
  T* c = nullptr;                     // (rows, state)
  T* step_scratch = nullptr;          // (rows, 2 states)
  T* projected = nullptr;             // (pairs, width)
  T* output_copy = nullptr;           // (rows, H)

 private:
  // Bytes of pre-activations in a tile of steps: they are written and read back within L2.
  static constexpr std::ptrdiff_t kTileBytes = std::ptrdiff_t{1} << 17;
  // Pairs of a tile at least: what they share is one reading of the input weights, which for wide
  // layers come from L3.
  static constexpr std::ptrdiff_t kTilePairs = 48;

  bool has_cell_state() const { return args.c_n.data != nullptr; }

  std::size_t own_bytes() const {
    return runtime::scratch_bytes<const T*>(pairs) + runtime::scratch_bytes<T*>(size()) +
           runtime::scratch_bytes<T>(copies_x() ? pairs : 0, args.x.width);
  }

  void fill_zero(T* output) const {
    if (!copies_output()) {
      std::fill_n(output, hidden(), T{0});
    } else {
      for (std::ptrdiff_t u = 0; u < hidden(); ++u) output[u * args.output.col_stride] = T{0};
    }
  }

  void load_state(const MatrixView<const T>& from, std::ptrdiff_t batch, T* to) const {
    std::fill_n(to, state, T{0});
    for (std::ptrdiff_t u = 0; from.data != nullptr && u < hidden(); ++u) to[u] = from(batch, u);
  }

  void store_state(const T* from, std::ptrdiff_t batch, const MatrixView<T>& to) const {
    for (std::ptrdiff_t u = 0; u < hidden(); ++u) to(batch, u) = from[u];
  }

  int most_;
  T* h_[2] = {nullptr, nullptr};  // (rows, state)
  std::byte* own_ = nullptr;
};

}  // namespace embedrnn::ops
