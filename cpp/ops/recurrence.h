// The walk over time that every recurrent cell shares: lengths, row order, threads, scratch and the
// input product.
//
// Rows are sorted by length once and dealt to one group a thread; a group never waits for another.
// Each step runs the rows still alive, which come first, so padding is neither computed nor masked,
// read nor copied. The input product of a tile of steps is made in one go, all its (row, step)
// pairs side by side, straight from the caller's x: blocks stay full however few rows are alive,
// and a single sequence reads its input weights once a tile.
#pragma once

#include <algorithm>
#include <vector>

#include "ops/dims.h"
#include "ops/packing.h"
#include "runtime/scratch.h"
#include "runtime/threads.h"

namespace embedrnn::ops {

template <class T>
struct RecurrenceArgs {
  SequenceView<const T> x;                // (B, T, I)
  const std::int64_t* lengths = nullptr;  // (B), each in [0, T]; null: T for every row
  bool reverse = false;  // from each row's last valid step to its first; outputs stay in time order
  MatrixView<const T> h_0;  // (B, H); no data: zeros
  SequenceView<T> output;   // (B, T, H), apart from every input; zero at padded steps
  MatrixView<T> h_n;        // (B, H): the state at each row's last step, h_0 where the length is 0
};

// Packed weights and the kernel that uses them.
template <class T>
struct InputProjection {
  Packing packing;
  void (*affine)(const kernels::AffineBlock<T>&) noexcept;
  const T* weight;
  const T* bias;
};

// What one step of a cell gets: rows of `packing.width()` pre-activations and states, padded to
// whole vectors.
template <class T>
struct StepFrame {
  std::ptrdiff_t rows;
  const T* projected;
  const T* h_prev;
  T* h_next;
  T* const* output;
};

struct Row {
  std::ptrdiff_t batch;
  std::ptrdiff_t length;
};

// About 200 us of arithmetic: less is not worth a second thread.
inline constexpr double kFlopsPerThread = 2e7;
// Flops between two checkpoints, some 10 us.
inline constexpr double kFlopsPerCheckpoint = 1e6;
// Bytes of pre-activations in a tile of steps: they are written and read back within L2.
inline constexpr std::ptrdiff_t kTileBytes = std::ptrdiff_t{1} << 17;

template <class T>
std::vector<Row> rows_by_length(const RecurrenceArgs<T>& args) {
  std::vector<Row> rows;
  for (std::ptrdiff_t b = 0; b < args.x.batch; ++b) {
    rows.push_back({b, args.lengths ? static_cast<std::ptrdiff_t>(args.lengths[b]) : args.x.time});
  }
  std::stable_sort(
      rows.begin(), rows.end(), [](const Row& a, const Row& b) { return a.length > b.length; });
  return rows;
}

// Flops of one step of one row.
template <class T>
double flops_a_step(const RecurrenceArgs<T>& args, const InputProjection<T>& input) {
  return 2.0 * static_cast<double>(input.packing.width() * (args.x.width + args.output.width));
}

// How many threads the work is worth.
template <class T>
std::size_t group_count(const RecurrenceArgs<T>& args,
                        const InputProjection<T>& input,
                        const std::vector<Row>& rows) {
  double flops = 0;
  for (const Row& row : rows) flops += static_cast<double>(row.length) * flops_a_step(args, input);
  const double worth =
      std::clamp(flops / kFlopsPerThread, 1.0, static_cast<double>(runtime::num_threads()));
  return std::min(rows.size(), static_cast<std::size_t>(worth));
}

// The rows that one thread takes from their first step to their last.
template <class T, class Step>
class RowGroup {
 public:
  RowGroup(const RecurrenceArgs<T>& args,
           const InputProjection<T>& input,
           const Step& step,
           std::vector<Row> rows)
      : args_(args), input_(input), step_(step), rows_(std::move(rows)),
        width_(input.packing.width()) {
    for (const Row& row : rows_) steps_ += row.length;
    const std::ptrdiff_t in_cache =
        kTileBytes / std::max<std::ptrdiff_t>(1, width_ * std::ptrdiff_t{sizeof(T)});
    pairs_ = std::max(size(), std::min(in_cache, steps_));
  }

  std::size_t scratch_bytes() const {
    return 2 * runtime::scratch_bytes<T>(size() * width_) +
           runtime::scratch_bytes<T>(pairs_ * width_) + runtime::scratch_bytes<const T*>(pairs_) +
           runtime::scratch_bytes<T*>(size()) +
           runtime::scratch_bytes<T>(copies_x() ? pairs_ * args_.x.width : 0) +
           runtime::scratch_bytes<T>(copies_output() ? size() * args_.output.width : 0);
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
  bool copies_x() const { return args_.x.col_stride != 1; }
  bool copies_output() const { return args_.output.col_stride != 1; }

  // The time that a row is at in a step of the walk.
  std::ptrdiff_t time(std::ptrdiff_t r, std::ptrdiff_t step) const {
    return args_.reverse ? row(r).length - 1 - step : step;
  }

  void carve(std::byte* scratch) {
    runtime::Carver carver(scratch);
    h_prev_ = carver.take<T>(size() * width_);
    h_next_ = carver.take<T>(size() * width_);
    projected_ = carver.take<T>(pairs_ * width_);
    inputs_ = carver.take<const T*>(pairs_);
    outputs_ = carver.take<T*>(size());
    x_copy_ = copies_x() ? carver.take<T>(pairs_ * args_.x.width) : nullptr;
    output_copy_ = copies_output() ? carver.take<T>(size() * args_.output.width) : nullptr;
  }

  void start_row(std::ptrdiff_t r) {
    T* const h = h_prev_ + r * width_;
    for (std::ptrdiff_t u = 0; u < args_.output.width; ++u)
      h[u] = args_.h_0.data ? args_.h_0(row(r).batch, u) : T{0};
    for (std::ptrdiff_t t = row(r).length; t < args_.output.time; ++t) {
      T* const output = args_.output.row(row(r).batch, t);
      for (std::ptrdiff_t u = 0; u < args_.output.width; ++u)
        output[u * args_.output.col_stride] = T{0};
    }
  }

  // Lets go of the rows of this length, which are the last, and hands out their state.
  void retire(std::ptrdiff_t length) {
    for (; alive_ > 0 && row(alive_ - 1).length == length; --alive_) {
      const T* const h = h_prev_ + (alive_ - 1) * width_;
      for (std::ptrdiff_t u = 0; u < args_.output.width; ++u)
        args_.h_n(row(alive_ - 1).batch, u) = h[u];
    }
  }

  // The input product of the steps [first, end) of every row that lives so long, step after step.
  void project(std::ptrdiff_t first, std::ptrdiff_t end) {
    std::ptrdiff_t pairs = 0, alive = alive_;
    for (std::ptrdiff_t step = first; step < end; ++step) {
      while (row(alive - 1).length <= step) --alive;
      for (std::ptrdiff_t r = 0; r < alive; ++r, ++pairs)
        inputs_[pairs] = input_row(r, step, pairs);
    }
    input_.affine({.inputs = inputs_,
                   .m = pairs,
                   .k = args_.x.width,
                   .vectors = input_.packing.vectors(),
                   .weight = input_.weight,
                   .bias = input_.bias,
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
      outputs_[r] = copies_output() ? output_copy_ + r * args_.output.width
                                    : args_.output.row(row(r).batch, time(r, step));
    }
    step_(StepFrame<T>{alive_, projected, h_prev_, h_next_, outputs_});
    std::swap(h_prev_, h_next_);
    if (copies_output()) scatter_output(step);
    flops_since_checkpoint_ += static_cast<double>(alive_) * flops_a_step(args_, input_);
    if (flops_since_checkpoint_ < kFlopsPerCheckpoint) return;
    flops_since_checkpoint_ = 0;
    runtime::checkpoint();
  }

  void scatter_output(std::ptrdiff_t step) {
    for (std::ptrdiff_t r = 0; r < alive_; ++r) {
      T* const output = args_.output.row(row(r).batch, time(r, step));
      for (std::ptrdiff_t u = 0; u < args_.output.width; ++u)
        output[u * args_.output.col_stride] = outputs_[r][u];
    }
  }

  const RecurrenceArgs<T>& args_;
  const InputProjection<T>& input_;
  const Step& step_;
  std::vector<Row> rows_;  // longest first
  std::ptrdiff_t width_;   // of a row of states or pre-activations
  std::ptrdiff_t steps_ = 0;
  std::ptrdiff_t pairs_;  // (row, step) pairs of a tile
  std::ptrdiff_t alive_ = 0;
  double flops_since_checkpoint_ = 0;
  T *h_prev_ = nullptr, *h_next_ = nullptr;  // (rows, width)
  T* projected_ = nullptr;                   // (pairs, width)
  const T** inputs_ = nullptr;               // (pairs)
  T** outputs_ = nullptr;                    // (rows)
  T *x_copy_ = nullptr, *output_copy_ = nullptr;
};

// Runs step(StepFrame<T>) over all rows. Allocates once, before the first write.
template <class T, class Step>
void run_recurrence(const RecurrenceArgs<T>& args,
                    const InputProjection<T>& input,
                    const Step& step) {
  const std::vector<Row> rows = rows_by_length(args);
  const std::size_t count = group_count(args, input, rows);
  std::vector<RowGroup<T, Step>> groups;
  std::vector<std::size_t> offsets{0};
  for (std::size_t g = 0; g < count; ++g) {
    std::vector<Row> dealt;  // in turn, so that every group gets long rows and short ones
    for (std::size_t r = g; r < rows.size(); r += count) dealt.push_back(rows[r]);
    groups.emplace_back(args, input, step, std::move(dealt));
    offsets.push_back(offsets.back() + groups.back().scratch_bytes());
  }
  const runtime::Scratch scratch(offsets.back());
  runtime::parallel_for(static_cast<std::int64_t>(count), [&](std::int64_t chunk) {
    const auto g = static_cast<std::size_t>(chunk);
    groups[g].run(scratch.data() + offsets[g]);
  });
}

}  // namespace embedrnn::ops
