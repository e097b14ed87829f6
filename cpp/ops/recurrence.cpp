// Rows are sorted by length once and dealt to groups, one a thread or more; none waits for another.
// Each step runs the rows still alive, which come first, so padding is neither computed nor masked,
// read nor copied. The input product of a tile of steps is made in one go, all its (row, step)
// pairs side by side, straight from the caller's x: blocks stay full however few rows are alive,
// and a single sequence reads its input weights once a tile.
#include "ops/recurrence.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "runtime/scratch.h"
#include "runtime/threads.h"

namespace embedrnn::ops {
namespace {

struct Row {
  std::ptrdiff_t batch;
  std::ptrdiff_t length;
};

// About 200 us of arithmetic: less is not worth a second thread.
constexpr double kFlopsPerThread = 2e7;
// Flops after which a checkpoint is due, some 10 us.
constexpr double kFlopsPerCheckpoint = 1e6;
// Flops of one step of a group at most, some 10 ms: a Ctrl-C is seen between two.
constexpr double kFlopsPerStep = 1e9;
// What a step of a row costs beside its arithmetic, counted as flops.
constexpr double kFlopsOfOverhead = 1e3;
// Bytes of pre-activations in a tile of steps: they are written and read back within L2.
constexpr std::ptrdiff_t kTileBytes = std::ptrdiff_t{1} << 17;
// Pairs of a tile at least: what they share is one reading of the input weights, which for wide
// layers come from L3.
constexpr std::ptrdiff_t kTilePairs = 48;

template <class T>
std::vector<Row> rows_by_length(const RecurrenceArgs<T>& args) {
  std::vector<Row> rows;
  rows.reserve(static_cast<std::size_t>(args.x.batch));
  for (std::ptrdiff_t b = 0; b < args.x.batch; ++b) {
    rows.push_back({b, args.lengths ? static_cast<std::ptrdiff_t>(args.lengths[b]) : args.x.time});
  }
  std::stable_sort(
      rows.begin(), rows.end(), [](const Row& a, const Row& b) { return a.length > b.length; });
  return rows;
}

// Flops of one step of one row.
template <class T>
double flops_a_step(const RecurrenceArgs<T>& args, const Cell<T>& cell) {
  return kFlopsOfOverhead + 2.0 * static_cast<double>(cell.packing.width()) *
                                static_cast<double>(args.x.width + args.output.width);
}

// How many groups to make: as many as the work is worth threads, or more so that none is too large.
template <class T>
std::size_t
group_count(const RecurrenceArgs<T>& args, const Cell<T>& cell, const std::vector<Row>& rows) {
  double flops = 0;
  for (const Row& row : rows) flops += static_cast<double>(row.length) * flops_a_step(args, cell);
  const double worth =
      std::clamp(flops / kFlopsPerThread, 1.0, static_cast<double>(runtime::num_threads()));
  const double step = static_cast<double>(rows.size()) * flops_a_step(args, cell);
  const double groups = std::max(worth, step / kFlopsPerStep);
  return static_cast<std::size_t>(std::min(static_cast<double>(rows.size()), groups));
}

// Rows that one thread takes from their first step to their last.
template <class T>
class RowGroup {
 public:
  RowGroup(const RecurrenceArgs<T>& args, const Cell<T>& cell, std::vector<Row> rows)
      : args_(args), cell_(cell), rows_(std::move(rows)), width_(cell.packing.width()),
        state_(width_ / cell.packing.gates) {
    std::ptrdiff_t steps = 0;
    for (const Row& row : rows_) steps += row.length;
    const std::ptrdiff_t in_cache =
        kTileBytes / std::ptrdiff_t{sizeof(T)} /
        std::max<std::ptrdiff_t>(1, width_ + (copies_x() ? args_.x.width : 0));
    pairs_ = std::max(size(), std::min(std::max(in_cache, kTilePairs), steps));
  }

  std::size_t scratch_bytes() const {
    return 2 * runtime::scratch_bytes<T>(size(), state_) +
           runtime::scratch_bytes<T>(has_cell_state() ? size() : 0, state_) +
           runtime::scratch_bytes<T>(cell_.needs_scratch ? 2 * size() : 0, state_) +
           runtime::scratch_bytes<T>(pairs_, width_) + runtime::scratch_bytes<const T*>(pairs_) +
           runtime::scratch_bytes<T*>(size()) +
           runtime::scratch_bytes<T>(copies_x() ? pairs_ : 0, args_.x.width) +
           runtime::scratch_bytes<T>(copies_output() ? size() : 0, hidden());
  }

  void run(std::byte* scratch) {
    carve(scratch);
    for (std::ptrdiff_t r = 0; r < size(); ++r) start_row(r);
    alive_ = size();
    retire(0);
    for (std::ptrdiff_t step = 0; alive_ > 0;) {
      const std::ptrdiff_t end = std::min(step + pairs_ / alive_, rows_.front().length);
      project(step, end);
      const T* projected = projected_;
      for (; step < end; ++step) {
        run_step(step, projected);
        projected += alive_ * width_;
        retire(step + 1);
      }
    }
  }

 private:
  std::ptrdiff_t size() const { return static_cast<std::ptrdiff_t>(rows_.size()); }
  const Row& row(std::ptrdiff_t r) const { return rows_[static_cast<std::size_t>(r)]; }
  std::ptrdiff_t hidden() const { return args_.output.width; }
  bool has_cell_state() const { return args_.c_n.data != nullptr; }
  bool copies_x() const { return args_.x.col_stride != 1; }
  bool copies_output() const { return args_.output.col_stride != 1; }

  // The time that a row is at in a step of the walk.
  std::ptrdiff_t time(std::ptrdiff_t r, std::ptrdiff_t step) const {
    return args_.reverse ? row(r).length - 1 - step : step;
  }

  void carve(std::byte* scratch) {
    runtime::Carver carver(scratch);
    h_prev_ = carver.take<T>(size(), state_);
    h_next_ = carver.take<T>(size(), state_);
    c_ = carver.take<T>(has_cell_state() ? size() : 0, state_);
    step_scratch_ = carver.take<T>(cell_.needs_scratch ? 2 * size() : 0, state_);
    projected_ = carver.take<T>(pairs_, width_);
    inputs_ = carver.take<const T*>(pairs_);
    outputs_ = carver.take<T*>(size());
    x_copy_ = carver.take<T>(copies_x() ? pairs_ : 0, args_.x.width);
    output_copy_ = carver.take<T>(copies_output() ? size() : 0, hidden());
  }

  void start_row(std::ptrdiff_t r) {
    load_state(args_.h_0, row(r).batch, h_prev_ + r * state_);
    if (has_cell_state()) load_state(args_.c_0, row(r).batch, c_ + r * state_);
    for (std::ptrdiff_t t = row(r).length; t < args_.output.time; ++t) {
      T* const output = args_.output.row(row(r).batch, t);
      if (copies_output()) {
        for (std::ptrdiff_t u = 0; u < hidden(); ++u) output[u * args_.output.col_stride] = T{0};
      } else {
        std::fill_n(output, hidden(), T{0});
      }
      account(kFlopsOfOverhead + static_cast<double>(hidden()));
    }
  }

  // Counts work towards the next checkpoint.
  void account(double flops) {
    flops_since_checkpoint_ += flops;
    if (flops_since_checkpoint_ < kFlopsPerCheckpoint) return;
    flops_since_checkpoint_ = 0;
    runtime::checkpoint();
  }

  void load_state(const MatrixView<const T>& from, std::ptrdiff_t batch, T* to) const {
    std::fill_n(to, state_, T{0});
    for (std::ptrdiff_t u = 0; from.data != nullptr && u < hidden(); ++u) to[u] = from(batch, u);
  }

  void store_state(const T* from, std::ptrdiff_t batch, const MatrixView<T>& to) const {
    for (std::ptrdiff_t u = 0; u < hidden(); ++u) to(batch, u) = from[u];
  }

  // Lets go of the rows of this length, which are the last, and hands out their state.
  void retire(std::ptrdiff_t length) {
    for (; alive_ > 0 && row(alive_ - 1).length == length; --alive_) {
      const std::ptrdiff_t batch = row(alive_ - 1).batch, at = (alive_ - 1) * state_;
      store_state(h_prev_ + at, batch, args_.h_n);
      if (has_cell_state()) store_state(c_ + at, batch, args_.c_n);
    }
  }

  // The input product of the steps [first, end) of every row that lives so long, step after step.
  void project(std::ptrdiff_t first, std::ptrdiff_t end) {
    std::ptrdiff_t pairs = 0, alive = alive_;
    for (std::ptrdiff_t step = first; step < end; ++step) {
      while (row(alive - 1).length <= step) --alive;
      for (std::ptrdiff_t r = 0; r < alive; ++r, ++pairs) {
        inputs_[pairs] = input_row(r, step, pairs);
      }
    }
    cell_.affine({.inputs = inputs_,
                  .m = pairs,
                  .k = args_.x.width,
                  .gates = cell_.packing.gates,
                  .vectors = cell_.packing.vectors(),
                  .weight = cell_.weight_ih,
                  .bias = cell_.bias,
                  .out = projected_});
  }

  const T* input_row(std::ptrdiff_t r, std::ptrdiff_t step, std::ptrdiff_t pair) {
    const T* const x = args_.x.row(row(r).batch, time(r, step));
    if (!copies_x()) return x;
    T* const copy = x_copy_ + pair * args_.x.width;
    for (std::ptrdiff_t i = 0; i < args_.x.width; ++i) copy[i] = x[i * args_.x.col_stride];
    return copy;
  }

  void run_step(std::ptrdiff_t step, const T* projected) {
    for (std::ptrdiff_t r = 0; r < alive_; ++r) {
      outputs_[r] = copies_output() ? output_copy_ + r * hidden()
                                    : args_.output.row(row(r).batch, time(r, step));
    }
    cell_.step({.rows = alive_,
                .hidden = hidden(),
                .weight_hh = cell_.weight_hh,
                .bias_hh = cell_.bias_hh,
                .projected = projected,
                .h_prev = h_prev_,
                .h_next = h_next_,
                .c = c_,
                .scratch = step_scratch_,
                .output = outputs_});
    std::swap(h_prev_, h_next_);
    if (copies_output()) scatter_output(step);
    account(static_cast<double>(alive_) * flops_a_step(args_, cell_));
  }

  void scatter_output(std::ptrdiff_t step) {
    for (std::ptrdiff_t r = 0; r < alive_; ++r) {
      T* const output = args_.output.row(row(r).batch, time(r, step));
      for (std::ptrdiff_t u = 0; u < hidden(); ++u) {
        output[u * args_.output.col_stride] = outputs_[r][u];
      }
    }
  }

  const RecurrenceArgs<T>& args_;
  const Cell<T>& cell_;
  std::vector<Row> rows_;         // longest first
  std::ptrdiff_t width_, state_;  // of a row of pre-activations, and of a state row
  std::ptrdiff_t pairs_;          // (row, step) pairs of a tile
  std::ptrdiff_t alive_ = 0;
  double flops_since_checkpoint_ = 0;
  T *h_prev_ = nullptr, *h_next_ = nullptr;  // (rows, state)
  T* c_ = nullptr;                           // (rows, state)
  T* step_scratch_ = nullptr;                // (rows, 2 states)
  T* projected_ = nullptr;                   // (pairs, width)
  const T** inputs_ = nullptr;               // (pairs)
  T** outputs_ = nullptr;                    // (rows)
  T *x_copy_ = nullptr, *output_copy_ = nullptr;
};

}  // namespace

template <class T>
void run_recurrence(const RecurrenceArgs<T>& args, const Cell<T>& cell) {
  const std::vector<Row> rows = rows_by_length(args);
  const std::size_t count = group_count(args, cell, rows);
  std::vector<RowGroup<T>> groups;
  std::vector<std::size_t> offsets{0};
  for (std::size_t g = 0; g < count; ++g) {
    std::vector<Row> dealt;  // in turn, so that every group gets long rows and short ones
    for (std::size_t r = g; r < rows.size(); r += count) dealt.push_back(rows[r]);
    groups.emplace_back(args, cell, std::move(dealt));
    offsets.push_back(offsets.back() + groups.back().scratch_bytes());
  }
  const runtime::Scratch scratch(offsets.back());
  runtime::parallel_for(static_cast<std::int64_t>(count), [&](std::int64_t chunk) {
    const auto g = static_cast<std::size_t>(chunk);
    groups[g].run(scratch.data() + offsets[g]);
  });
}

template void run_recurrence(const RecurrenceArgs<float>&, const Cell<float>&);
template void run_recurrence(const RecurrenceArgs<double>&, const Cell<double>&);

}  // namespace embedrnn::ops
