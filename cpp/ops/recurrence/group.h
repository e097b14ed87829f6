// The rows that run side by side from their first step to their last, and their memory.
#pragma once

#include <limits>

#include "ops/costs.h"
#include "ops/recurrence/packed_cell.h"
#include "ops/recurrence/source.h"
#include "ops/recurrence/tape.h"
#include "runtime/interrupt.h"

namespace embedrnn::ops {

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
  double flops_ = 0;
};

// Loads the elements from begin to stop of a row of states; those that it does not have are zero.
template <class T>
void load_state(const MatrixView<const T>& from,
                std::ptrdiff_t row,
                std::ptrdiff_t begin,
                std::ptrdiff_t stop,
                T* to) {
  const std::ptrdiff_t n = from.data != nullptr ? std::min(stop, from.cols) : begin;
  for (std::ptrdiff_t u = begin; u < n; ++u) to[u] = from(row, u);
  std::fill(to + std::max(n, begin), to + stop, T{0});
}

template <class T>
class Group {
 public:
  // For so many threads, which share the units of each step.
  Group(const RunArgs<T>& run_args,
        const PackedCell<T>& packed,
        const Source<T>& products_from,
        const Tape<T>& kept,
        const GroupRows& group_rows,
        std::ptrdiff_t group_threads)
      : args(run_args), cell(packed), source(products_from), tape(kept), rows(group_rows),
        threads(group_threads), width(cell.packing().width()), state(cell.packing().state()),
        pairs(std::max(rows.size(), pairs_in_cache())) {}

  // What each thread has for itself.
  struct Own {
    const T** inputs;     // (pairs)
    const T** projected;  // (pairs)
    T** outputs;          // (rows)
    T** kept;             // (rows), where there is a tape
    T* copies;            // (pairs, row width of the source), where it copies
  };

  // Lists all memory.
  void carve(runtime::Carver& carver) {
    for (T*& h : h_) h = carver.take<T>(rows.size(), state);
    c = carver.take<T>((cell.cell().states - 1) * rows.size(), state);
    workspace = carver.take<T>(cell.cell().workspace * rows.size(), state);
    products = carver.take<T>(source.is_made() ? 0 : pairs, width);
    pooled = carver.take<T>(pools() ? rows.size() : 0, state);
    output_copy = carver.take<T>(copies_output() ? rows.size() : 0, cell.hidden());
    owns_ = carver.take<Own>(threads);
    for (std::ptrdiff_t rank = 0; rank < threads; ++rank) {
      const Own own{.inputs = carver.take<const T*>(pairs),
                    .projected = carver.take<const T*>(pairs),
                    .outputs = carver.take<T*>(rows.size()),
                    .kept = carver.take<T*>(tape.is_on() ? rows.size() : 0),
                    .copies = carver.take<T>(source.copies() ? pairs : 0, source.row_width())};
      if (owns_ != nullptr) owns_[rank] = own;
    }
  }

  const Own& own(std::ptrdiff_t rank) const { return owns_[rank]; }

  // Loads the state of every row, hands out that of the rows of no step, and writes the zeros of
  // all padding. Returns how many rows are alive.
  std::ptrdiff_t start() {
    if (pools()) {
      constexpr T kLeast = -std::numeric_limits<T>::infinity();
      std::fill_n(pooled, rows.size() * state, args.pool.is_max ? kLeast : T{0});
    }
    for (std::ptrdiff_t r = 0; r < rows.size(); ++r) {
      load_states(rows[r], 0, r, 0, state);
      if (args.output.data != nullptr && args.output.starts.has_padding()) fill_padding(rows[r]);
    }
    return retire(0, rows.size());
  }

  // Hands out the state of those of the rows `before` that end after so many steps; returns how
  // many are left.
  std::ptrdiff_t retire(std::ptrdiff_t steps, std::ptrdiff_t before) {
    const std::ptrdiff_t alive = rows.alive(steps, before);
    for (std::ptrdiff_t r = alive; r < before; ++r) {
      store_state(h(steps) + r * state, rows[r].batch, args.last[0]);
      if (has_cell_state()) store_state(c + r * state, rows[r].batch, args.last[1]);
      if (pools()) store_pooled(rows[r], pooled + r * state);
    }
    return alive;
  }

  // Loads the initial state of a row as that before a step, of it the elements from begin to stop.
  void load_states(const Row& row,
                   std::ptrdiff_t step,
                   std::ptrdiff_t r,
                   std::ptrdiff_t begin,
                   std::ptrdiff_t stop) const {
    load_state(args.initial[0], row.batch, begin, stop, h(step) + r * state);
    if (has_cell_state()) load_state(args.initial[1], row.batch, begin, stop, c + r * state);
  }

  bool has_cell_state() const { return cell.cell().states > 1; }
  bool pools() const { return args.pool.data != nullptr; }
  bool copies_output() const { return args.output.data != nullptr && args.output.col_stride != 1; }

  // The hidden state before a step of the walk: one of two buffers, of which the step fills the
  // other.
  T* h(std::ptrdiff_t step) const { return h_[step % 2]; }

  std::ptrdiff_t time(const Row& row, std::ptrdiff_t step) const {
    return row.time(args.batch, step);
  }

  const RunArgs<T>& args;
  const PackedCell<T>& cell;
  const Source<T>& source;
  const Tape<T>& tape;
  const GroupRows rows;
  const std::ptrdiff_t threads;
  const std::ptrdiff_t width, state;  // of a row of pre-activations, and of a state row
  const std::ptrdiff_t pairs;         // (row, step) pairs of a tile of steps at most
  std::ptrdiff_t first = 0, end = 0;  // steps of the tile; the leader of a team sets them
  T* c = nullptr;                     // (rows, state), of cells that have two states
  T* workspace = nullptr;             // as kernels::CellStep has it
  T* products = nullptr;              // (pairs, width): the input products of the tile, if made
  T* pooled = nullptr;                // (rows, state): of the steps so far
  T* output_copy = nullptr;           // (rows, H)

 private:
  std::ptrdiff_t pairs_in_cache() const {
    const std::ptrdiff_t row_elements =
        std::max<std::ptrdiff_t>(1, width + (source.copies() ? source.row_width() : 0));
    const std::ptrdiff_t in_cache = kTileBytes / std::ptrdiff_t{sizeof(T)} / row_elements;
    return std::min(std::max(in_cache, kTilePairs), rows.pairs());
  }

  void fill_padding(const Row& row) {
    std::ptrdiff_t time = 0;
    for (std::ptrdiff_t step = 0; step <= row.length; ++step) {
      const std::ptrdiff_t until =
          step < row.length ? args.output.starts.time(row.batch, step) : args.batch.time;
      fill_zero(row, time, until);
      time = until + 1;
    }
  }

  // The outputs of some steps. Side by side they are filled in one go: row by row the zeros of an
  // output larger than the caches took twice as long.
  void fill_zero(const Row& row, std::ptrdiff_t time, std::ptrdiff_t until) {
    const Sequences<T>& output = args.output;
    const std::ptrdiff_t hidden = cell.hidden();
    const bool whole = output.col_stride == 1 && output.step_stride == hidden;
    const std::ptrdiff_t steps =
        whole ? kZeroedBytes / (hidden * std::ptrdiff_t{sizeof(T)}) + 1 : 1;
    for (; time < until; time += steps) {
      const std::ptrdiff_t n = std::min(steps, until - time);
      T* const to = output.at_time(row.batch, time);
      if (output.col_stride == 1) {
        std::fill_n(to, n * hidden, T{0});
      } else {
        for (std::ptrdiff_t u = 0; u < hidden; ++u) to[u * output.col_stride] = T{0};
      }
      account_.add(kFlopsOfOverhead + static_cast<double>(n * hidden));
    }
  }

  void store_state(const T* from, std::ptrdiff_t batch, const MatrixView<T>& to) const {
    for (std::ptrdiff_t u = 0; u < cell.hidden(); ++u) to(batch, u) = from[u];
  }

  void store_pooled(const Row& row, const T* from) const {
    T* const to = args.pool.data + row.batch * args.pool.row_stride;
    const T steps = args.pool.is_max ? T{1} : static_cast<T>(row.length);
    for (std::ptrdiff_t u = 0; u < cell.hidden(); ++u)
      to[u] = row.length > 0 ? from[u] / steps : T{0};
  }

  T* h_[2] = {nullptr, nullptr};  // (rows, state)
  Account account_;
  Own* owns_ = nullptr;  // (threads)
};

}  // namespace embedrnn::ops
