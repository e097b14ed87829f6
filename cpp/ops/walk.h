// One thread's part of the walk of a group of rows: all units, or its share of them in a team.
//
// Each step runs the rows still alive, which come first, so padding is neither computed nor masked,
// read nor copied. The input product of a tile of steps is made in one go, all its (row, step)
// pairs side by side, straight from the caller's x: blocks stay full however few rows are alive,
// and a single sequence reads its input weights once a tile. A member of a team makes the input
// product of its own units only, so that nobody waits for it.
#pragma once

#include "ops/row_group.h"
#include "runtime/team.h"

namespace embedrnn::ops {

template <class T>
class Walk {
 public:
  Walk(RowGroup<T>& group, runtime::Team& team, int rank, int size)
      : group_(group), team_(team), rank_(rank), size_(size), own_(group.own(rank)),
        units_(group.cell.packing.units(rank, size)) {}

  // Goes through the tile with those rows that are alive at its begin; false if it was given up.
  bool run_tile(std::ptrdiff_t alive) {
    project(alive);
    const T* projected = group_.projected;
    for (std::ptrdiff_t step = group_.first, end = group_.end; step < end; ++step) {
      while (group_.row(alive - 1).length <= step) --alive;
      run_step(step, alive, projected);
      if (!team_.arrive(rank_, size_, step)) return false;
      projected += alive * group_.width;
      if (rank_ == 0) group_.retire(alive, step + 1);
      account_.add(static_cast<double>(alive) * flops_a_step(group_.args, group_.cell) / size_);
    }
    return true;
  }

 private:
  void project(std::ptrdiff_t alive) {
    std::ptrdiff_t pairs = 0;
    for (std::ptrdiff_t step = group_.first; step < group_.end; ++step) {
      while (group_.row(alive - 1).length <= step) --alive;
      for (std::ptrdiff_t r = 0; r < alive; ++r, ++pairs) {
        own_.inputs[pairs] = input_row(r, step, pairs);
      }
    }
    const Packing& packing = group_.cell.packing;
    group_.cell.affine({.inputs = own_.inputs,
                        .m = pairs,
                        .k = group_.args.x.width,
                        .gates = packing.gates,
                        .vectors = packing.vectors(),
                        .units = units_,
                        .weight = group_.cell.weight_ih,
                        .bias = group_.cell.bias,
                        .out = group_.projected});
  }

  const T* input_row(std::ptrdiff_t r, std::ptrdiff_t step, std::ptrdiff_t pair) {
    const SequenceView<const T>& view = group_.args.x;
    const T* const x = view.row(group_.row(r).batch, group_.time(r, step));
    if (!group_.copies_x()) return x;
    T* const copy = own_.x_copy + pair * view.width;
    for (std::ptrdiff_t i = 0; i < view.width; ++i) copy[i] = x[i * view.col_stride];
    return copy;
  }

  void run_step(std::ptrdiff_t step, std::ptrdiff_t alive, const T* projected) {
    for (std::ptrdiff_t r = 0; r < alive; ++r) {
      own_.outputs[r] =
          group_.copies_output() ? group_.output_copy + r * group_.hidden() : output_row(r, step);
    }
    // Every second step reads the panels backwards: those that a cache still holds come first.
    units_.descending = step % 2 != 0;
    group_.cell.step({.rows = alive,
                      .hidden = group_.hidden(),
                      .units = units_,
                      .weight_hh = group_.cell.weight_hh,
                      .bias_hh = group_.cell.bias_hh,
                      .projected = projected,
                      .h_prev = group_.h(step),
                      .h_next = group_.h(step + 1),
                      .c = group_.c,
                      .scratch = group_.step_scratch,
                      .output = own_.outputs});
    if (group_.copies_output()) scatter_output(step, alive);
  }

  T* output_row(std::ptrdiff_t r, std::ptrdiff_t step) const {
    return group_.args.output.row(group_.row(r).batch, group_.time(r, step));
  }

  void scatter_output(std::ptrdiff_t step, std::ptrdiff_t alive) {
    const std::ptrdiff_t lanes = group_.cell.packing.lanes;
    const std::ptrdiff_t end = std::min(units_.end * lanes, group_.hidden());
    for (std::ptrdiff_t r = 0; r < alive; ++r) {
      T* const output = output_row(r, step);
      for (std::ptrdiff_t u = units_.first * lanes; u < end; ++u) {
        output[u * group_.args.output.col_stride] = own_.outputs[r][u];
      }
    }
  }

  RowGroup<T>& group_;
  runtime::Team& team_;
  int rank_, size_;
  typename RowGroup<T>::Own own_;
  kernels::UnitRange units_;
  Account account_;
};

}  // namespace embedrnn::ops
