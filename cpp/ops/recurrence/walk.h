// One thread's part of the walk of a group of rows: all units, or its share of them.
//
// Each step runs the rows still alive, which come first, so padding is neither computed nor masked,
// read nor copied. The input product of a tile of steps is made in one go, all its (row, step)
// pairs side by side, straight from the caller's x: blocks stay full however few rows are alive,
// and a single sequence reads its input weights once a tile. Who shares the units of a step makes
// the input product of its own units only, so that nobody waits for it.
#pragma once

#include "ops/recurrence/group.h"

namespace embedrnn::ops {

template <class T>
class Walk {
 public:
  Walk(Group<T>& group, std::ptrdiff_t rank, std::ptrdiff_t size)
      : group_(group), own_(group.own(rank)), rank_(rank), size_(size),
        flops_(flops_a_step(group.cell) / static_cast<double>(size)),
        units_(group.cell.packing().units(rank, size)) {}

  // Of the tile under way: the others have made the input products of their units, and have left.
  void take_all_units() {
    units_ = group_.cell.packing().units(0, 1);
    flops_ = flops_a_step(group_.cell);
  }

  // Goes through the tile with those rows that are alive at its begin. Calls behind(step, alive)
  // when its part of a step is done, and leaves if that says false.
  template <class Behind>
  bool run_tile(std::ptrdiff_t alive, const Behind& behind) {
    project(alive);
    const T* const* projected = own_.projected;
    // Behind the last step the leader of a team may already have moved the tile on.
    for (std::ptrdiff_t step = group_.first, end = group_.end; step < end; ++step) {
      alive = group_.rows.alive(step, alive);
      run_step(step, alive, projected);
      if (!behind(step, alive)) return false;
      projected += alive;
      account_.add(static_cast<double>(alive) * flops_);
    }
    return true;
  }

 private:
  // The input products of the tile, of this thread's units: some of them at a time, so that a
  // Ctrl-C is seen soon.
  void project(std::ptrdiff_t alive) {
    const Source<T>& source = group_.source;
    const bool records = group_.tape.records_inputs() && rank_ == 0;  // one thread for all
    std::ptrdiff_t pairs = 0;
    for (std::ptrdiff_t step = group_.first; step < group_.end; ++step) {
      alive = group_.rows.alive(step, alive);
      for (std::ptrdiff_t r = 0; r < alive; ++r, ++pairs) {
        const Row row = group_.rows[r];
        if (source.is_made()) {
          own_.projected[pairs] = source.product(row, step);
          continue;
        }
        own_.projected[pairs] = group_.products + pairs * group_.width;
        own_.inputs[pairs] = source.row(row, step, own_.copies + pairs * source.row_width());
        if (records) group_.tape.record_input(step, group_.rows.number(r), own_.inputs[pairs]);
      }
    }
    if (source.is_made()) return;
    const PackedCell<T>& cell = group_.cell;
    const std::ptrdiff_t calls =
        1 + static_cast<std::ptrdiff_t>(static_cast<double>(pairs) * flops_ / kFlopsPerStep);
    for (std::ptrdiff_t call = 0; call < calls; ++call) {
      if (call > 0) runtime::checkpoint();
      source.multiply(own_.inputs,
                      pairs,
                      cell.packing().units(rank_ * calls + call, size_ * calls),
                      group_.products);
    }
  }

  // Rows whose next step begins from the initial state get this thread's units of it.
  void reset_states(std::ptrdiff_t step, std::ptrdiff_t alive) {
    const std::ptrdiff_t lanes = group_.cell.packing().lanes();
    for (std::ptrdiff_t r = 0; r < group_.rows.alive(step, alive); ++r) {
      const Row row = group_.rows[r];
      if (row.is_reset(group_.args.batch, step))
        group_.load_states(row, step, r, units_.first * lanes, units_.end * lanes);
    }
  }

  void run_step(std::ptrdiff_t step, std::ptrdiff_t alive, const T* const* projected) {
    for (std::ptrdiff_t r = 0; r < alive; ++r) own_.outputs[r] = step_output(r, step);
    const bool keeps = group_.tape.is_on();
    for (std::ptrdiff_t r = 0; keeps && r < alive; ++r)
      own_.kept[r] = group_.tape.kept(step, group_.rows.number(r));
    // Every second step reads the panels backwards: those that a cache still holds come first.
    units_.descending = step % 2 != 0;
    const PackedCell<T>& cell = group_.cell;
    const auto kind = static_cast<std::size_t>(cell.cell().kind);
    cell.kernels().cells[kind].step({.rows = alive,
                                     .hidden = cell.hidden(),
                                     .units = units_,
                                     .weight_hh = cell.weight_hh(),
                                     .bias_hh = cell.bias_hh(),
                                     .diagonal = cell.diagonal(),
                                     .projected = projected,
                                     .h_prev = group_.h(step),
                                     .h_next = group_.h(step + 1),
                                     .c = group_.c,
                                     .workspace = group_.workspace,
                                     .output = own_.outputs,
                                     .kept = keeps ? own_.kept : nullptr});
    if (group_.copies_output()) scatter_output(step, alive);
    if (group_.pools()) {
      cell.kernels().pool({.rows = alive,
                           .hidden = cell.hidden(),
                           .units = units_,
                           .from = group_.h(step + 1),
                           .to = group_.pooled,
                           .is_max = group_.args.pool.is_max});
    }
    if (group_.args.batch.resets.data != nullptr) reset_states(step + 1, alive);
  }

  // Where the kernel puts the output of a row; where none is wanted, the state is written twice.
  T* step_output(std::ptrdiff_t r, std::ptrdiff_t step) const {
    if (group_.args.output.data == nullptr) return group_.h(step + 1) + r * group_.state;
    if (group_.copies_output()) return group_.output_copy + r * group_.cell.hidden();
    return output_row(group_.rows[r], step);
  }

  T* output_row(const Row& row, std::ptrdiff_t step) const {
    return group_.args.output.at(row.batch, group_.time(row, step));
  }

  void scatter_output(std::ptrdiff_t step, std::ptrdiff_t alive) {
    const std::ptrdiff_t lanes = group_.cell.packing().lanes();
    const std::ptrdiff_t end = std::min(units_.end * lanes, group_.cell.hidden());
    for (std::ptrdiff_t r = 0; r < alive; ++r) {
      T* const output = output_row(group_.rows[r], step);
      for (std::ptrdiff_t u = units_.first * lanes; u < end; ++u)
        output[u * group_.args.output.col_stride] = own_.outputs[r][u];
    }
  }

  Group<T>& group_;
  const typename Group<T>::Own& own_;
  const std::ptrdiff_t rank_, size_;
  double flops_;  // of one step of one row, this thread's part
  kernels::UnitRange units_;
  Account account_;
};

}  // namespace embedrnn::ops
