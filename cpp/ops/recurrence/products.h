// The products of a tile of steps, behind the walk back: gradients of weights, biases and inputs
// from those of the pre-activations. Threads own outputs. Each has one accumulator, to which the
// pairs are added from the last to the first, whatever the tiles and the threads.
//
// Where the inputs were tokens, a tile adds the gradients of its pre-activations to those of the
// distinct tokens, and the products of these and of the distinct rows are made once, at the end.
#pragma once

#include <vector>

#include "ops/recurrence/group_back.h"

namespace embedrnn::ops {

template <class T>
class Products {
 public:
  // Allocates.
  Products(const BackArgs<T>& args,
           const PackedCell<T>& cell,
           const BackWeights<T>& weights,
           const TokenTile<T>& tokens,
           std::ptrdiff_t threads)
      : args_(args), cell_(cell), weights_(weights), tokens_(tokens),
        tape_(cell, args.tokens.numbers == nullptr), state_(cell.packing().state()) {
    list_weights(threads);
    list_biases();
  }

  // Of a tile: of the weights and biases a part of the outputs each, of the inputs some pairs, of
  // tokens some of the gradients' elements.
  std::ptrdiff_t chunks(const GateTile<T>& tile) const {
    return std::ssize(weights_of_) + std::ssize(biases_of_) +
           (has_tokens() ? chunks_of_tokens() : chunks_of_inputs(tile.pairs));
  }

  void run(std::ptrdiff_t chunk, const GateTile<T>& tile, T* x_copy) const {
    const std::ptrdiff_t weights = std::ssize(weights_of_), biases = std::ssize(biases_of_);
    if (chunk < weights) {
      run_weight(weights_of_[static_cast<std::size_t>(chunk)], tile, args_.tape, tape_.record);
    } else if (chunk < weights + biases) {
      run_bias(biases_of_[static_cast<std::size_t>(chunk - weights)], tile);
    } else {
      const std::ptrdiff_t rest = chunk - weights - biases;
      has_tokens() ? add_to_tokens(rest, tile) : run_inputs(tile, rest * kInputPairs, x_copy);
    }
  }

  // Behind all tiles: of the distinct tokens, as of a tile's weights and inputs.
  std::ptrdiff_t chunks_at_end() const {
    return has_tokens() ? std::ssize(weights_of_tokens_) + chunks_of_inputs(tokens_.tile.pairs) : 0;
  }
  void run_at_end(std::ptrdiff_t chunk) const {
    const std::ptrdiff_t weights = std::ssize(weights_of_tokens_);
    if (chunk < weights) {
      run_weight(weights_of_tokens_[static_cast<std::size_t>(chunk)],
                 tokens_.tile,
                 tokens_.inputs,
                 tokens_.input_stride);
    } else {
      run_inputs(tokens_.tile, (chunk - weights) * kInputPairs, nullptr);
    }
  }

  // Elements of the copy of the inputs' gradients that a tile needs.
  std::ptrdiff_t copied(std::ptrdiff_t pairs) const {
    return copies_x() ? pairs * cell_.inputs() : 0;
  }

 private:
  bool has_tokens() const { return args_.tokens.numbers != nullptr; }
  bool copies_x() const { return args_.grad_x.data != nullptr && args_.grad_x.col_stride != 1; }

  struct WeightChunk {
    std::ptrdiff_t gates;
    std::array<std::ptrdiff_t, kernels::kMostGates>
        starts;            // of their gradients in a row of the tile
    std::ptrdiff_t right;  // of the input in its record
    std::ptrdiff_t cols, first_vector, end_vector;
    T* out;
  };
  struct BiasChunk {
    std::ptrdiff_t start;
    T* out;
  };

  void list_weights(std::ptrdiff_t threads) {
    const Cell& cell = cell_.cell();
    // A panel of an input serves all gates; with more threads each may have a gate of its own.
    const std::ptrdiff_t most = threads > 1 ? 1 : cell.gates;
    const auto list = [&](std::ptrdiff_t right,
                          std::ptrdiff_t cols,
                          std::ptrdiff_t gate,
                          std::ptrdiff_t end,
                          bool recurrent) {
      for (; gate < end; gate += most)
        list_weight(right, cols, gate, std::min(gate + most, end), recurrent);
    };
    list(0, cell_.inputs(), 0, cell.gates, false);
    list(tape_.inputs, cell_.hidden(), 0, cell.products[0], true);
    // The second product has an input of its own, which is kept last.
    const std::ptrdiff_t second = tape_.inputs + (cell.kept - 1) * state_;
    list(second, cell_.hidden(), cell.products[0], cell.gates, true);
  }

  // The products of one input, of so many columns, and the gradients of some gates.
  void list_weight(std::ptrdiff_t right,
                   std::ptrdiff_t cols,
                   std::ptrdiff_t first_gate,
                   std::ptrdiff_t end_gate,
                   bool recurrent) {
    T* const grad = recurrent ? args_.grad_weight_hh : args_.grad_weight_ih;
    WeightChunk chunk{.gates = end_gate - first_gate,
                      .starts = {},
                      .right = right,
                      .cols = cols,
                      .first_vector = 0,
                      .end_vector = 0,
                      .out = grad + first_gate * cell_.hidden() * cols};
    for (std::ptrdiff_t gate = first_gate; gate < end_gate; ++gate)
      chunk.starts[static_cast<std::size_t>(gate - first_gate)] =
          (recurrent ? cell_.cell().recurrent_gradient(gate) : gate) * state_;
    const std::ptrdiff_t lanes = cell_.packing().lanes(), end = (cols + lanes - 1) / lanes;
    for (std::ptrdiff_t v = 0; v < end; v += kernels::kOuterPanelVectors) {
      chunk.first_vector = v;
      chunk.end_vector = std::min(end, v + kernels::kOuterPanelVectors);
      (has_tokens() && !recurrent ? weights_of_tokens_ : weights_of_).push_back(chunk);
    }
  }

  void list_biases() {
    const Cell& cell = cell_.cell();
    for (std::ptrdiff_t gate = 0; gate < cell.gates; ++gate) {
      const std::ptrdiff_t row = gate * cell_.hidden();
      if (args_.grad_bias_ih != nullptr)
        biases_of_.push_back({gate * state_, args_.grad_bias_ih + row});
      if (args_.grad_bias_hh != nullptr)
        biases_of_.push_back({cell.recurrent_gradient(gate) * state_, args_.grad_bias_hh + row});
    }
    for (std::ptrdiff_t d = 0; args_.grad_diagonal != nullptr && d < cell.diagonals; ++d) {
      biases_of_.push_back(
          {cell.diagonal_gradient(d) * state_, args_.grad_diagonal + d * cell_.hidden()});
    }
  }

  // `records` have the inputs of all pairs.
  void run_weight(const WeightChunk& chunk,
                  const GateTile<T>& tile,
                  const T* records,
                  std::ptrdiff_t record) const {
    const std::ptrdiff_t last = tile.first_pair + tile.pairs - 1;
    cell_.kernels().outer({.left = tile.row(last),
                           .left_stride = -tile.stride,
                           .rows = cell_.hidden(),
                           .parts = chunk.gates,
                           .starts = chunk.starts.data(),
                           .right = records + last * record + chunk.right,
                           .right_stride = -record,
                           .cols = chunk.cols,
                           .pairs = tile.pairs,
                           .first_vector = chunk.first_vector,
                           .end_vector = chunk.end_vector,
                           .out = chunk.out});
  }

  void run_bias(const BiasChunk& chunk, const GateTile<T>& tile) const {
    cell_.kernels().sum({.left = tile.row(tile.first_pair + tile.pairs - 1) + chunk.start,
                         .left_stride = -tile.stride,
                         .pairs = tile.pairs,
                         .n = cell_.hidden(),
                         .out = chunk.out});
  }

  std::ptrdiff_t chunks_of_tokens() const {
    return (cell_.packing().width() + kTokenColumns - 1) / kTokenColumns;
  }

  // Adds the gradients of a tile's pre-activations, some columns of them, to those of the tokens.
  void add_to_tokens(std::ptrdiff_t chunk, const GateTile<T>& tile) const {
    const std::ptrdiff_t first = chunk * kTokenColumns;
    const kernels::ScatterAddBlock<T, T> block{
        .target = tokens_.tile.gates + first,
        .target_row_stride = tokens_.tile.stride,
        .target_col_stride = 1,
        .ahead = 0,
        .rows = tile.tokens,
        .positions = nullptr,
        .n = tile.pairs,
        .cols = std::min(kTokenColumns, cell_.packing().width() - first),
        .updates = tile.row(tile.first_pair + tile.pairs - 1) + first,
        .update_row_stride = -tile.stride,
        .update_col_stride = 1};
    const kernels::RowKernels& rows = runtime::registry().rows;
    if constexpr (std::is_same_v<T, float>) {
      rows.scatter_add_f32(block);
    } else {
      rows.scatter_add_f64(block);
    }
  }

  std::ptrdiff_t chunks_of_inputs(std::ptrdiff_t pairs) const {
    const bool wanted = args_.wants_inputs() && cell_.inputs() > 0;
    return wanted ? (pairs + kInputPairs - 1) / kInputPairs : 0;
  }

  void run_inputs(const GateTile<T>& tile, std::ptrdiff_t first, T* x_copy) const {
    const std::ptrdiff_t n = std::min(kInputPairs, tile.pairs - first);
    T* copies[kInputPairs];
    T* const* out = tile.x_rows + first;
    if (copies_x()) {
      T* const copy = x_copy + first * cell_.inputs();
      std::fill_n(copy, n * cell_.inputs(), T{0});
      for (std::ptrdiff_t i = 0; i < n; ++i) copies[i] = copy + i * cell_.inputs();
      out = copies;
    }
    multiply_inputs(tile.gate_rows + first, n, out);
    for (std::ptrdiff_t i = 0; copies_x() && i < n; ++i)
      for (std::ptrdiff_t k = 0; k < cell_.inputs(); ++k)
        tile.x_rows[first + i][k * args_.grad_x.col_stride] += copies[i][k];
  }

  // Some outputs at a time, so that a Ctrl-C is seen soon.
  void multiply_inputs(const T* const* gates, std::ptrdiff_t n, T* const* out) const {
    const std::ptrdiff_t parts = cell_.cell().gates;
    const Packing packing(1, cell_.inputs(), cell_.packing().lanes());
    std::ptrdiff_t starts[kernels::kMostGates];
    for (std::ptrdiff_t gate = 0; gate < parts; ++gate) starts[gate] = gate * state_;
    const std::ptrdiff_t calls = calls_of_product(n, cell_.inputs(), parts * cell_.hidden());
    for (std::ptrdiff_t call = 0; call < calls; ++call) {
      if (call > 0) runtime::checkpoint();
      cell_.kernels().affine_back({.inputs = gates,
                                   .m = n,
                                   .k = cell_.hidden(),
                                   .parts = parts,
                                   .starts = starts,
                                   .units = packing.units(call, calls),
                                   .weight = weights_.ih,
                                   .outputs = cell_.inputs(),
                                   .out = out});
    }
  }

  const BackArgs<T>& args_;
  const PackedCell<T>& cell_;
  const BackWeights<T>& weights_;
  const TokenTile<T>& tokens_;
  const TapeLayout<T> tape_;
  const std::ptrdiff_t state_;
  std::vector<WeightChunk> weights_of_, weights_of_tokens_;
  std::vector<BiasChunk> biases_of_;
};

}  // namespace embedrnn::ops
