// One time step. Rows are independent, so each thread takes a range of them, as in a walk.
#include <algorithm>

#include "ops/recurrence.h"
#include "runtime/threads.h"

namespace embedrnn::ops {
namespace {

// About 200 us of arithmetic: less is not worth a second thread.
constexpr double kFlopsPerThread = 2e7;

// The rows of one thread: the state padded to whole vectors, and what the kernels write.
template <class T>
class StepRows {
 public:
  StepRows(const StepArgs<T>& args, const Cell<T>& cell, std::ptrdiff_t first, std::ptrdiff_t end)
      : args_(args), cell_(cell), first_(first), rows_(end - first), width_(cell.packing.width()),
        state_(width_ / cell.packing.gates) {}

  std::size_t scratch_bytes() const {
    return 2 * runtime::scratch_bytes<T>(rows_, state_) +
           runtime::scratch_bytes<T>(has_cell_state() ? rows_ : 0, state_) +
           runtime::scratch_bytes<T>(cell_.needs_scratch ? 2 * rows_ : 0, state_) +
           runtime::scratch_bytes<T>(rows_, width_) + runtime::scratch_bytes<const T*>(rows_) +
           runtime::scratch_bytes<T*>(rows_) +
           runtime::scratch_bytes<T>(copies_x() ? rows_ : 0, args_.x.cols);
  }

  // All that the caller gave is read before the first result is written.
  void run(std::byte* scratch) {
    carve(scratch);
    for (std::ptrdiff_t r = 0; r < rows_; ++r) {
      load_state(args_.h, r, h_prev_);
      if (has_cell_state()) load_state(args_.c, r, c_);
      inputs_[r] = input_row(r);
      outputs_[r] = h_next_ + r * state_;
    }
    project();
    cell_.step({.rows = rows_,
                .hidden = hidden(),
                .weight_hh = cell_.weight_hh,
                .bias_hh = cell_.bias_hh,
                .projected = projected_,
                .h_prev = h_prev_,
                .h_next = h_next_,
                .c = c_,
                .scratch = step_scratch_,
                .output = outputs_});
    for (std::ptrdiff_t r = 0; r < rows_; ++r) {
      store_state(h_next_, r, args_.h_out);
      if (has_cell_state()) store_state(c_, r, args_.c_out);
    }
  }

 private:
  std::ptrdiff_t hidden() const { return args_.h_out.cols; }
  bool has_cell_state() const { return args_.c_out.data != nullptr; }
  bool copies_x() const { return args_.x.col_stride != 1; }

  void carve(std::byte* scratch) {
    runtime::Carver carver(scratch);
    h_prev_ = carver.take<T>(rows_, state_);
    h_next_ = carver.take<T>(rows_, state_);
    c_ = carver.take<T>(has_cell_state() ? rows_ : 0, state_);
    step_scratch_ = carver.take<T>(cell_.needs_scratch ? 2 * rows_ : 0, state_);
    projected_ = carver.take<T>(rows_, width_);
    inputs_ = carver.take<const T*>(rows_);
    outputs_ = carver.take<T*>(rows_);
    x_copy_ = carver.take<T>(copies_x() ? rows_ : 0, args_.x.cols);
  }

  void load_state(const MatrixView<const T>& from, std::ptrdiff_t r, T* to) const {
    to += r * state_;
    for (std::ptrdiff_t u = 0; u < hidden(); ++u) to[u] = from(first_ + r, u);
    std::fill(to + hidden(), to + state_, T{0});
  }

  void store_state(const T* from, std::ptrdiff_t r, const MatrixView<T>& to) const {
    for (std::ptrdiff_t u = 0; u < hidden(); ++u) to(first_ + r, u) = from[r * state_ + u];
  }

  const T* input_row(std::ptrdiff_t r) const {
    if (!copies_x()) return &args_.x(first_ + r, 0);
    T* const copy = x_copy_ + r * args_.x.cols;
    for (std::ptrdiff_t i = 0; i < args_.x.cols; ++i) copy[i] = args_.x(first_ + r, i);
    return copy;
  }

  void project() const {
    cell_.affine({.inputs = inputs_,
                  .m = rows_,
                  .k = args_.x.cols,
                  .gates = cell_.packing.gates,
                  .vectors = cell_.packing.vectors(),
                  .weight = cell_.weight_ih,
                  .bias = cell_.bias,
                  .out = projected_});
  }

  const StepArgs<T>& args_;
  const Cell<T>& cell_;
  std::ptrdiff_t first_, rows_, width_, state_;
  T *h_prev_ = nullptr, *h_next_ = nullptr, *c_ = nullptr;  // (rows, state)
  T* step_scratch_ = nullptr;                               // (rows, 2 states)
  T* projected_ = nullptr;                                  // (rows, width)
  const T** inputs_ = nullptr;                              // (rows)
  T** outputs_ = nullptr;                                   // (rows)
  T* x_copy_ = nullptr;                                     // (rows, I)
};

}  // namespace

template <class T>
void run_step(const StepArgs<T>& args, const Cell<T>& cell, runtime::KeptScratch& kept) {
  const std::ptrdiff_t rows = args.h_out.rows;
  const double flops = 2.0 * static_cast<double>(rows) * static_cast<double>(cell.packing.width()) *
                       static_cast<double>(args.x.cols + args.h_out.cols);
  const auto worth = static_cast<std::ptrdiff_t>(flops / kFlopsPerThread);
  const std::ptrdiff_t groups = std::clamp<std::ptrdiff_t>(
      worth,
      1,
      std::min<std::ptrdiff_t>(std::max<std::ptrdiff_t>(rows, 1), runtime::num_threads()));
  const std::ptrdiff_t share = (rows + groups - 1) / groups;
  const auto group = [&](std::int64_t g) {
    const std::ptrdiff_t first = std::min(rows, static_cast<std::ptrdiff_t>(g) * share);
    return StepRows<T>(args, cell, first, std::min(rows, first + share));
  };
  const std::size_t bytes = group(0).scratch_bytes();
  kept.with(static_cast<std::size_t>(groups) * bytes, [&](std::byte* scratch) {
    runtime::parallel_for(groups, [&](std::int64_t g) {
      group(g).run(scratch + static_cast<std::size_t>(g) * bytes);
    });
  });
}

template void run_step(const StepArgs<float>&, const Cell<float>&, runtime::KeptScratch&);
template void run_step(const StepArgs<double>&, const Cell<double>&, runtime::KeptScratch&);

}  // namespace embedrnn::ops
