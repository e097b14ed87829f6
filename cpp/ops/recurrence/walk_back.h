// The walk of a group of rows back, from the last step to the first.
//
// The gradient of each row's state goes from step to step; a row enters with its last one. What is
// made of a step are the gradients of its pre-activations, from which the products of a whole tile
// of steps are made behind it (products.h).
#pragma once

#include "ops/recurrence/group.h"

namespace embedrnn::ops {

// The weights of the products back: transposed, and packed for outputs as wide as the input.
template <class T>
struct BackWeights {
  void carve(runtime::Carver& carver, const PackedCell<T>& cell) {
    const std::ptrdiff_t rows = cell.cell().gates * cell.hidden();
    const std::ptrdiff_t lanes = cell.packing().lanes();
    ih = carver.take<T>(Packing(1, cell.inputs(), lanes).width(), rows);
    hh = carver.take<T>(cell.packing().state(), rows);
  }

  void pack(const PackedCell<T>& cell) const {
    pack_transposed(cell.packing(), cell.weight_ih(), cell.inputs(), ih);
    const T* from = cell.weight_hh();
    T* to = hh;
    for (const std::ptrdiff_t gates : cell.cell().products) {
      const Packing product = cell.packing_of(gates);
      pack_transposed(product, from, cell.hidden(), to);
      from += product.elements(cell.hidden());
      to += gates * cell.hidden() * cell.packing().state();
    }
  }

  T *ih = nullptr, *hh = nullptr;
};

// The gradients of the pre-activations of a tile of steps: a row for each pair.
template <class T>
struct GateTile {
  std::ptrdiff_t first_step = 0, end_step = 0, first_pair = 0;
  std::ptrdiff_t stride = 0;       // elements from pair to pair
  T* gates = nullptr;              // (pairs, stride)
  const T** gate_rows = nullptr;   // (pairs): these rows
  T** x_rows = nullptr;            // (pairs): where the gradient of the input goes
};

template <class T>
class WalkBack {
 public:
  WalkBack(const BackArgs<T>& args,
           const PackedCell<T>& cell,
           const BackWeights<T>& weights,
           const PairStarts& starts,
           const GroupRows& rows)
      : args_(args), cell_(cell), weights_(weights), starts_(starts), rows_(rows), tape_(cell),
        state_(cell.packing().state()) {}

  // Lists all memory.
  void carve(runtime::Carver& carver) {
    const std::ptrdiff_t n = rows_.size();
    for (std::ptrdiff_t i = 0; i < cell_.cell().states; ++i)
      grad_state_[static_cast<std::size_t>(i)] = carver.take<T>(n, state_);
    d_product_ = carver.take<T>(has_two_products() ? n : 0, state_);
    kept_ = carver.take<const T*>(n);
    gates_ = carver.take<T*>(n);
    out_ = carver.take<T*>(n);
  }

  // Begins the gradients of the initial states, which resets add to.
  void start() {
    for (std::ptrdiff_t r = 0; r < rows_.size(); ++r)
      for (std::ptrdiff_t i = 0; i < cell_.cell().states; ++i)
        for (std::ptrdiff_t u = 0; u < cell_.hidden(); ++u) initial(i)(rows_[r].batch, u) = T{0};
  }

  void run_tile(const GateTile<T>& tile) {
    const double flops = 2 * flops_a_step(cell_);
    for (std::ptrdiff_t step = tile.end_step - 1; step >= tile.first_step; --step) {
      while (alive_ < rows_.size() && rows_[alive_].length > step) enter(alive_++);
      run_step(step, tile);
      account_.add(static_cast<double>(alive_) * flops);
    }
  }

  // Behind the first step: what has reached the initial states.
  void finish() {
    while (alive_ < rows_.size()) enter(alive_++);
    for (std::ptrdiff_t r = 0; r < alive_; ++r) leave(r);
  }

 private:
  bool has_two_products() const { return cell_.cell().products[1] > 0; }
  MatrixView<T> initial(std::ptrdiff_t i) const {
    return args_.grad_initial[static_cast<std::size_t>(i)];
  }
  T* grad_state(std::ptrdiff_t i, std::ptrdiff_t r) const {
    return grad_state_[static_cast<std::size_t>(i)] + r * state_;
  }

  void enter(std::ptrdiff_t r) {
    for (std::ptrdiff_t i = 0; i < cell_.cell().states; ++i) {
      const MatrixView<const T>& last = args_.grad_last[static_cast<std::size_t>(i)];
      T* const to = grad_state(i, r);
      const std::ptrdiff_t n = last.data != nullptr ? cell_.hidden() : 0;
      for (std::ptrdiff_t u = 0; u < n; ++u) to[u] = last(rows_[r].batch, u);
      std::fill(to + n, to + state_, T{0});
    }
  }

  // What has reached the state of a row before a step is that of its initial state.
  void leave(std::ptrdiff_t r) {
    for (std::ptrdiff_t i = 0; i < cell_.cell().states; ++i) {
      T* const from = grad_state(i, r);
      for (std::ptrdiff_t u = 0; u < cell_.hidden(); ++u) initial(i)(rows_[r].batch, u) += from[u];
      std::fill_n(from, state_, T{0});
    }
  }

  void run_step(std::ptrdiff_t step, const GateTile<T>& tile) {
    for (std::ptrdiff_t r = 0; r < alive_; ++r) {
      const Row row = rows_[r];
      const std::ptrdiff_t pair = starts_[step] + rows_.number(r), in_tile = pair - tile.first_pair;
      const std::ptrdiff_t time = row.time(args_.batch, step);
      kept_[r] = args_.tape + pair * tape_.record + tape_.inputs;
      gates_[r] = tile.gates + in_tile * tile.stride;
      tile.gate_rows[in_tile] = gates_[r];
      tile.x_rows[in_tile] = args_.grad_x.at(row.batch, time);
      if (args_.grad_output.data != nullptr)
        add_output(args_.grad_output.at(row.batch, time), grad_state(0, r));
    }
    make_gates(0);
    if (has_two_products()) {
      std::fill_n(d_product_, alive_ * state_, T{0});
      multiply_back(1, d_product_);
      make_gates(1);
    }
    multiply_back(0, grad_state(0, 0));
    for (std::ptrdiff_t r = 0; r < alive_; ++r)
      if (rows_[r].is_reset(args_.batch, step)) leave(r);
  }

  void add_output(const T* from, T* to) const {
    const std::ptrdiff_t stride = args_.grad_output.col_stride, n = cell_.hidden();
    if (stride == 1) {
      for (std::ptrdiff_t u = 0; u < n; ++u) to[u] += from[u];
    } else {
      for (std::ptrdiff_t u = 0; u < n; ++u) to[u] += from[u * stride];
    }
  }

  void make_gates(std::size_t which) {
    const auto kind = static_cast<std::size_t>(cell_.cell().kind);
    cell_.kernels().cells[kind].step_back[which](
        {.rows = alive_,
         .hidden = cell_.hidden(),
         .units = cell_.packing().units(0, 1),
         .kept = kept_,
         .gates = gates_,
         .dh = grad_state_[0],
         .dc = cell_.cell().states > 1 ? grad_state_[1] : grad_state_[0],
         .d_product = d_product_});
  }

  // Adds what comes back through one of the recurrent products.
  void multiply_back(std::size_t product, T* out) {
    const Cell& cell = cell_.cell();
    const std::ptrdiff_t first = product == 0 ? 0 : cell.products[0];
    std::ptrdiff_t starts[kernels::kMostGates];
    for (std::ptrdiff_t gate = 0; gate < cell.products[product]; ++gate)
      starts[gate] = cell.recurrent_gradient(first + gate) * state_;
    for (std::ptrdiff_t r = 0; r < alive_; ++r) out_[r] = out + r * state_;
    const Packing packing(1, cell_.hidden(), cell_.packing().lanes());
    cell_.kernels().affine_back({.inputs = gates_,
                                 .m = alive_,
                                 .k = cell_.hidden(),
                                 .parts = cell.products[product],
                                 .starts = starts,
                                 .units = packing.units(0, 1),
                                 .weight = weights_.hh + first * cell_.hidden() * state_,
                                 .outputs = state_,
                                 .out = out_});
  }

  const BackArgs<T>& args_;
  const PackedCell<T>& cell_;
  const BackWeights<T>& weights_;
  const PairStarts& starts_;
  const GroupRows rows_;
  const TapeLayout<T> tape_;
  const std::ptrdiff_t state_;
  std::ptrdiff_t alive_ = 0;                     // rows that have entered
  std::array<T*, kMostStates> grad_state_ = {};  // (rows, state): what has come back so far
  T* d_product_ = nullptr;                       // (rows, state), where there are two products
  const T** kept_ = nullptr;                     // (rows)
  T **gates_ = nullptr, **out_ = nullptr;        // (rows)
  Account account_;
};

}  // namespace embedrnn::ops
