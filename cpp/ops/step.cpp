// One time step. Threads share the rows, or where those are few, the units; states are copied in
// and out, so that outputs may overlap inputs.
#include <algorithm>

#include "ops/recurrence.h"
#include "runtime/threads.h"

namespace embedrnn::ops {
namespace {

// What a step needs beside the packed weights.
template <class T>
class StepMemory {
 public:
  StepMemory(const StepArgs<T>& args, const Cell<T>& cell)
      : args_(args), cell_(cell), rows_(args.h_out.rows), width_(cell.packing.width()),
        state_(width_ / cell.packing.gates) {}

  std::size_t scratch_bytes() const {
    return 2 * runtime::scratch_bytes<T>(rows_, state_) +
           runtime::scratch_bytes<T>(has_cell_state() ? rows_ : 0, state_) +
           runtime::scratch_bytes<T>(cell_.needs_scratch ? 2 * rows_ : 0, state_) +
           runtime::scratch_bytes<T>(rows_, width_) + runtime::scratch_bytes<const T*>(rows_) +
           runtime::scratch_bytes<T*>(rows_) +
           runtime::scratch_bytes<T>(copies_x() ? rows_ : 0, args_.x.cols);
  }

  void load(std::byte* scratch) {
    carve(scratch);
    for (std::ptrdiff_t r = 0; r < rows_; ++r) {
      load_state(args_.h, r, h_prev_);
      if (has_cell_state()) load_state(args_.c, r, c_);
      inputs_[r] = input_row(r);
      outputs_[r] = h_next_ + r * state_;
    }
  }

  // Makes some units of the rows [first, end).
  void run(std::ptrdiff_t first, std::ptrdiff_t end, const kernels::UnitRange& units) const {
    const std::ptrdiff_t state = first * state_;
    cell_.affine({.inputs = inputs_ + first,
                  .m = end - first,
                  .k = args_.x.cols,
                  .gates = cell_.packing.gates,
                  .vectors = cell_.packing.vectors(),
                  .units = units,
                  .weight = cell_.weight_ih,
                  .bias = cell_.bias,
                  .out = projected_ + first * width_});
    cell_.step({.rows = end - first,
                .hidden = hidden(),
                .units = units,
                .weight_hh = cell_.weight_hh,
                .bias_hh = cell_.bias_hh,
                .projected = projected_ + first * width_,
                .h_prev = h_prev_ + state,
                .h_next = h_next_ + state,
                .c = c_ + (has_cell_state() ? state : 0),
                .scratch = step_scratch_ + (cell_.needs_scratch ? 2 * state : 0),
                .output = outputs_ + first});
  }

  void store() const {
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
    for (std::ptrdiff_t u = 0; u < hidden(); ++u) to[u] = from(r, u);
    std::fill(to + hidden(), to + state_, T{0});
  }

  void store_state(const T* from, std::ptrdiff_t r, const MatrixView<T>& to) const {
    for (std::ptrdiff_t u = 0; u < hidden(); ++u) to(r, u) = from[r * state_ + u];
  }

  const T* input_row(std::ptrdiff_t r) const {
    if (!copies_x()) return args_.x.data + r * args_.x.row_stride;
    T* const copy = x_copy_ + r * args_.x.cols;
    for (std::ptrdiff_t i = 0; i < args_.x.cols; ++i) copy[i] = args_.x(r, i);
    return copy;
  }

  const StepArgs<T>& args_;
  const Cell<T>& cell_;
  std::ptrdiff_t rows_, width_, state_;
  T *h_prev_ = nullptr, *h_next_ = nullptr, *c_ = nullptr;  // (rows, state)
  T* step_scratch_ = nullptr;                               // (rows, 2 states)
  T* projected_ = nullptr;                                  // (rows, width)
  const T** inputs_ = nullptr;                              // (rows)
  T** outputs_ = nullptr;                                   // (rows)
  T* x_copy_ = nullptr;                                     // (rows, I)
};

}  // namespace

template <class T>
void run_step(const StepArgs<T>& args, const Cell<T>& cell, runtime::KeptScratch& scratch) {
  const Packing& packing = cell.packing;
  const std::ptrdiff_t rows = args.h_out.rows;
  const double flops = 2.0 * static_cast<double>(rows) * static_cast<double>(packing.width()) *
                       static_cast<double>(args.x.cols + args.h_out.cols);
  const auto worth = static_cast<std::ptrdiff_t>(
      std::clamp(flops / kFlopsPerThread, 1.0, static_cast<double>(runtime::num_threads())));
  const bool share_units = rows < kRowsPerThread * worth && !cell.needs_scratch;
  const std::ptrdiff_t threads =
      std::min(worth, std::max<std::ptrdiff_t>(1, share_units ? packing.panels() : rows));
  StepMemory<T> memory(args, cell);
  scratch.with(memory.scratch_bytes(), [&](std::byte* data) {
    memory.load(data);
    runtime::parallel_for(threads, [&](std::int64_t thread) {
      if (share_units) {
        memory.run(0, rows, packing.units(thread, threads));
      } else {
        memory.run(rows * thread / threads, rows * (thread + 1) / threads, packing.units(0, 1));
      }
    });
    memory.store();
  });
}

template void run_step(const StepArgs<float>&, const Cell<float>&, runtime::KeptScratch&);
template void run_step(const StepArgs<double>&, const Cell<double>&, runtime::KeptScratch&);

}  // namespace embedrnn::ops
