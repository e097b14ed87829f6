// One thread's part of the walk of a group of rows back: all units, or its share of them.
//
// A step first takes what comes back through the recurrent product of the step behind it, and then
// makes the gradients of its own pre-activations. Those of a tile of steps are kept for the
// products that are made of all of them at once (products.h).
#pragma once

#include "ops/recurrence/group_back.h"

namespace embedrnn::ops {

template <class T>
class WalkBack {
 public:
  WalkBack(const GroupBack<T>& group,
           const GateTile<T>& tile,
           std::ptrdiff_t rank,
           std::ptrdiff_t size)
      : group_(group), tile_(tile), own_(group.own(rank)), rank_(rank) {
    take_units(rank, size);
  }

  // The others have left.
  void take_all_units() { take_units(0, 1); }

  // Goes through the steps under way. Calls behind(step) when its part of a step is done, and
  // leaves if that says false.
  template <class Behind>
  bool run(const Behind& behind) {
    std::ptrdiff_t alive = group_.rows.alive(group_.end, group_.rows.size());
    // Behind the last step the leader of a team may already have gone on.
    for (std::ptrdiff_t step = group_.end - 1, first = group_.first; step >= first; --step) {
      if (step + 1 < tile_.end_step) come_back(step + 1, alive);
      for (; alive < group_.rows.size() && group_.rows[alive].length > step; ++alive)
        group_.enter(alive, first_, end_);
      run_step(step, alive);
      if (!behind(step)) return false;
      account_.add(static_cast<double>(alive) * flops_);
    }
    return true;
  }

  // What comes back from a step to the states before it.
  void come_back(std::ptrdiff_t step, std::ptrdiff_t alive) {
    multiply_back(0, step, alive, group_.grad_state(0, 0));
    for (std::ptrdiff_t r = 0; r < alive; ++r)
      if (group_.rows[r].is_reset(group_.args.batch, step)) group_.leave(r, first_, end_);
  }

 private:
  void take_units(std::ptrdiff_t rank, std::ptrdiff_t size) {
    const PackedCell<T>& cell = group_.cell;
    units_ = Packing(1, cell.hidden(), cell.packing().lanes()).units(rank, size);
    first_ = units_.first * cell.packing().lanes();
    end_ = units_.end * cell.packing().lanes();
    flops_ = 2 * flops_a_step(cell) / static_cast<double>(size);
  }

  void run_step(std::ptrdiff_t step, std::ptrdiff_t alive) {
    const BackArgs<T>& args = group_.args;
    for (std::ptrdiff_t r = 0; r < alive; ++r) {
      const Row row = group_.rows[r];
      const std::ptrdiff_t pair = group_.starts[step] + group_.rows.number(r);
      const std::ptrdiff_t time = row.time(args.batch, step);
      own_.kept[r] = args.tape + pair * group_.tape.record + group_.tape.inputs;
      own_.gates[r] = tile_.row(pair);
      if (rank_ == 0) {
        tile_.gate_rows[pair - tile_.first_pair] = own_.gates[r];
        note_input(pair - tile_.first_pair, row.batch, time);
      }
      if (args.grad_output.data == nullptr) continue;
      add_output(args.grad_output.at(row.batch, time), group_.grad_state(0, r));
      if (step > 0) fetch_output(args.grad_output.at(row.batch, row.time(args.batch, step - 1)));
    }
    make_gates(0, alive);
    if (!group_.has_two_products()) return;
    std::fill_n(group_.d_product, alive * group_.state, T{0});
    multiply_back(1, step, alive, group_.d_product);
    make_gates(1, alive);
  }

  // Where the gradient of the input of a pair goes.
  void note_input(std::ptrdiff_t pair, std::ptrdiff_t row, std::ptrdiff_t time) const {
    const TokenGrads<T>& tokens = group_.args.tokens;
    if (tokens.numbers != nullptr) {
      tile_.tokens[tile_.pairs - 1 - pair] = tokens.numbers[tokens.starts[row] + time];
    } else if (group_.args.wants_inputs()) {
      tile_.x_rows[pair] = group_.args.grad_x.at(row, time);
    }
  }

  void add_output(const T* from, T* to) const {
    const std::ptrdiff_t stride = group_.args.grad_output.col_stride;
    const std::ptrdiff_t end = std::min(end_, group_.cell.hidden());
    if (stride == 1) {
      for (std::ptrdiff_t u = first_; u < end; ++u) to[u] += from[u];
    } else {
      for (std::ptrdiff_t u = first_; u < end; ++u) to[u] += from[u * stride];
    }
  }

  // Of the next step: a row of a wide batch lies where no hardware looks for it.
  void fetch_output(const T* from) const {
    const std::ptrdiff_t stride = group_.args.grad_output.col_stride;
    constexpr std::ptrdiff_t kLine = kLineBytes / std::ptrdiff_t{sizeof(T)};
    const std::ptrdiff_t end = stride == 1 ? std::min(end_, group_.cell.hidden()) : first_;
    for (std::ptrdiff_t u = first_; u < end; u += kLine) __builtin_prefetch(from + u);
  }

  void make_gates(std::size_t which, std::ptrdiff_t alive) const {
    const PackedCell<T>& cell = group_.cell;
    const auto kind = static_cast<std::size_t>(cell.cell().kind);
    cell.kernels().cells[kind].step_back[which]({.rows = alive,
                                                 .hidden = cell.hidden(),
                                                 .units = units_,
                                                 .diagonal = cell.diagonal(),
                                                 .kept = own_.kept,
                                                 .gates = own_.gates,
                                                 .dh = group_.grad_state(0, 0),
                                                 .dc = group_.grad_state(group_.states() - 1, 0),
                                                 .d_product = group_.d_product});
  }

  // Adds what comes back through one of the recurrent products of a step to rows of `out`.
  void multiply_back(std::size_t product, std::ptrdiff_t step, std::ptrdiff_t alive, T* out) const {
    const Cell& cell = group_.cell.cell();
    const std::ptrdiff_t hidden = group_.cell.hidden();
    const std::ptrdiff_t gates_before = product == 0 ? 0 : cell.products[0];
    std::ptrdiff_t starts[kernels::kMostGates];
    for (std::ptrdiff_t gate = 0; gate < cell.products[product]; ++gate)
      starts[gate] = cell.recurrent_gradient(gates_before + gate) * group_.state;
    for (std::ptrdiff_t r = 0; r < alive; ++r) {
      own_.inputs[r] = tile_.row(group_.starts[step] + group_.rows.number(r));
      own_.out[r] = out + r * group_.state;
    }
    group_.cell.kernels().affine_back(
        {.inputs = own_.inputs,
         .m = alive,
         .k = hidden,
         .parts = cell.products[product],
         .starts = starts,
         .units = units_,
         .weight = group_.weights.hh + gates_before * hidden * group_.state,
         .outputs = group_.state,
         .out = own_.out});
  }

  const GroupBack<T>& group_;
  const GateTile<T>& tile_;
  const typename GroupBack<T>::Own& own_;
  const std::ptrdiff_t rank_;
  kernels::UnitRange units_{};
  std::ptrdiff_t first_ = 0, end_ = 0;  // elements of a state row that are this thread's
  double flops_ = 0;                    // of one step of one row, this thread's part
  Account account_;
};

}  // namespace embedrnn::ops
