// The rows that walk back side by side, from their last step to their first, and their memory.
#pragma once

#include "ops/recurrence/group.h"

namespace embedrnn::ops {

// The weights of the products back: transposed, and packed for outputs as wide as the input.
template <class T>
struct BackWeights {
  void carve(runtime::Carver& carver, const PackedCell<T>& cell, bool wants_inputs) {
    const std::ptrdiff_t rows = cell.cell().gates * cell.hidden();
    const std::ptrdiff_t lanes = cell.packing().lanes();
    const std::ptrdiff_t inputs = wants_inputs ? cell.inputs() : 0;
    ih = carver.take<T>(Packing(1, inputs, lanes).width(), rows);
    hh = carver.take<T>(cell.packing().state(), rows);
  }

  void pack(const PackedCell<T>& cell, bool wants_inputs) const {
    if (wants_inputs)
      pack_transposed(cell.packing(), cell.weight_ih(), cell.inputs(), cell.kernels(), ih);
    const T* from = cell.weight_hh();
    T* to = hh;
    for (const std::ptrdiff_t gates : cell.cell().products) {
      const Packing product = cell.packing_of(gates);
      pack_transposed(product, from, cell.hidden(), cell.kernels(), to);
      from += product.elements(cell.hidden());
      to += gates * cell.hidden() * cell.packing().state();
    }
  }

  T *ih = nullptr, *hh = nullptr;
};

// The gradients of the pre-activations of a tile of steps: a row for each pair.
template <class T>
struct GateTile {
  T* row(std::ptrdiff_t pair) const { return gates + (pair - first_pair) * stride; }

  std::ptrdiff_t first_step = 0, end_step = 0;
  std::ptrdiff_t first_pair = 0, pairs = 0;
  std::ptrdiff_t stride = 0;      // elements from pair to pair
  T* gates = nullptr;             // (pairs, stride)
  const T** gate_rows = nullptr;  // (pairs): these rows
  T** x_rows = nullptr;           // (pairs): where the gradient of the input goes
  std::int64_t* tokens =
      nullptr;  // (pairs): or which of the distinct tokens it was, last pair first
};

// The distinct tokens of a walk: the gradients of their input products, summed over the steps of
// each, as one more tile; and the rows that were multiplied, in whole vectors.
template <class T>
struct TokenTile {
  TokenTile(const TokenGrads<T>& of, const PackedCell<T>& cell)
      : grads(of), cell_inputs(cell.inputs()),
        input_stride(spread_apart<T>(whole_vectors(cell.inputs(), cell.packing().lanes()))) {
    tile.stride = spread_apart<T>(cell.packing().width());
    tile.pairs = of.distinct;
  }

  void carve(runtime::Carver& carver) {
    tile.gates = carver.take<T>(tile.pairs, tile.stride);
    tile.gate_rows = carver.take<const T*>(tile.pairs);
    tile.x_rows = carver.take<T*>(tile.pairs);
    inputs = carver.take<T>(tile.pairs, input_stride);
  }

  void start() const {
    for (std::ptrdiff_t i = 0; i < tile.pairs; ++i) {
      if (i % kInputPairs == 0) runtime::checkpoint();
      std::fill_n(tile.row(i), tile.stride, T{0});
      tile.gate_rows[i] = tile.row(i);
      tile.x_rows[i] = grads.grad + i * cell_inputs;
      T* const input = inputs + i * input_stride;
      std::fill(std::copy_n(grads.inputs + i * cell_inputs, cell_inputs, input),
                input + input_stride,
                T{0});
    }
  }

  const TokenGrads<T>& grads;
  const std::ptrdiff_t cell_inputs;
  const std::ptrdiff_t input_stride;
  GateTile<T> tile;
  T* inputs = nullptr;  // (distinct, input_stride)
};

template <class T>
class GroupBack {
 public:
  // For so many threads, which share the units of each step.
  GroupBack(const BackArgs<T>& back_args,
            const PackedCell<T>& packed,
            const BackWeights<T>& back_weights,
            const PairStarts& pair_starts,
            const GroupRows& group_rows,
            std::ptrdiff_t group_threads)
      : args(back_args), cell(packed), weights(back_weights), starts(pair_starts), rows(group_rows),
        tape(cell, args.tokens.numbers == nullptr), state(cell.packing().state()),
        threads(group_threads) {}

  // What each thread has for itself, (rows) each.
  struct Own {
    const T** kept;
    const T** inputs;
    T** gates;
    T** out;
  };

  // Lists all memory.
  void carve(runtime::Carver& carver) {
    const std::ptrdiff_t n = rows.size();
    for (std::size_t i = 0; i < states(); ++i) grad_state_[i] = carver.take<T>(n, state);
    d_product = carver.take<T>(has_two_products() ? n : 0, state);
    owns_ = carver.take<Own>(threads);
    for (std::ptrdiff_t rank = 0; rank < threads; ++rank) {
      const Own own{.kept = carver.take<const T*>(n),
                    .inputs = carver.take<const T*>(n),
                    .gates = carver.take<T*>(n),
                    .out = carver.take<T*>(n)};
      if (owns_ != nullptr) owns_[rank] = own;
    }
  }

  const Own& own(std::ptrdiff_t rank) const { return owns_[rank]; }

  // Begins the gradients of the initial states, which resets add to.
  void start() const {
    if (!args.wants_initial()) return;
    for (std::ptrdiff_t r = 0; r < rows.size(); ++r)
      for (std::size_t i = 0; i < states(); ++i)
        for (std::ptrdiff_t u = 0; u < cell.hidden(); ++u)
          args.grad_initial[i](rows[r].batch, u) = T{0};
  }

  // Behind the first step: what has reached the initial states. Rows of no step enter only here.
  void finish() const {
    for (std::ptrdiff_t r = 0; r < rows.size(); ++r) {
      if (rows[r].length == 0) enter(r, 0, state);
      leave(r, 0, state);
    }
  }

  // A row begins with the gradient of its last state, of it the elements from begin to stop.
  void enter(std::ptrdiff_t r, std::ptrdiff_t begin, std::ptrdiff_t stop) const {
    for (std::size_t i = 0; i < states(); ++i)
      load_state(args.grad_last[i], rows[r].batch, begin, stop, grad_state(i, r));
  }

  // What has come to the state of a row before a step goes to its initial state.
  void leave(std::ptrdiff_t r, std::ptrdiff_t begin, std::ptrdiff_t stop) const {
    for (std::size_t i = 0; i < states(); ++i) {
      T* const from = grad_state(i, r);
      const std::ptrdiff_t last = args.wants_initial() ? std::min(stop, cell.hidden()) : begin;
      for (std::ptrdiff_t u = begin; u < last; ++u)
        args.grad_initial[i](rows[r].batch, u) += from[u];
      std::fill(from + begin, from + stop, T{0});
    }
  }

  std::size_t states() const { return static_cast<std::size_t>(cell.cell().states); }
  bool has_two_products() const { return cell.cell().products[1] > 0; }
  // What has come back so far to one of the states of a row.
  T* grad_state(std::size_t i, std::ptrdiff_t r) const { return grad_state_[i] + r * state; }

  const BackArgs<T>& args;
  const PackedCell<T>& cell;
  const BackWeights<T>& weights;
  const PairStarts& starts;
  const GroupRows rows;
  const TapeLayout<T> tape;
  const std::ptrdiff_t state;  // elements of a state row
  const std::ptrdiff_t threads;
  std::ptrdiff_t first = 0, end = 0;  // the steps under way; the leader of a team sets them
  T* d_product = nullptr;             // (rows, state), where there are two products

 private:
  std::array<T*, kMostStates> grad_state_ = {};  // (rows, state)
  Own* owns_ = nullptr;                          // (threads)
};

}  // namespace embedrnn::ops
