// The recurrent cells. Nothing else knows one from another: not by the number of its gates, nor by
// a state that is not there.
#pragma once

#include <array>
#include <cstddef>
#include <span>
#include <string_view>

#include "kernels/kernels.h"

namespace embedrnn::ops {

// The most states that a row of a cell has: h, and the cell state c of an LSTM.
inline constexpr std::ptrdiff_t kMostStates = 2;

struct Cell {
  std::string_view name;
  kernels::CellKind kind;  // which kernels
  std::ptrdiff_t gates;    // of the weights, in the order that the kernels have them
  std::ptrdiff_t states;   // of a row, the hidden state first
  // The recurrent products of a step, each behind all of the one before: how many gates it makes.
  std::array<std::ptrdiff_t, 2> products;
  // The last so many gates keep their recurrent bias beside the recurrent product; that of the
  // others is added to the input product once, ahead of all steps.
  std::ptrdiff_t inner_biases = 0;
  // Weights that meet a state unit by unit: so many numbers for each unit.
  std::ptrdiff_t diagonals = 0;
  std::ptrdiff_t workspace = 0;  // rows of a state's width that a step needs for each row
  std::ptrdiff_t kept;           // rows of a state's width that backward needs of a step, h first

  // Gradients that backward makes of a step: of the pre-activations, behind them of those recurrent
  // products whose biases are inner, and at the end what the step adds to those of the diagonals.
  std::ptrdiff_t gradients() const { return gates + inner_biases + diagonals; }
  std::ptrdiff_t diagonal_gradient(std::ptrdiff_t diagonal) const {
    return gates + inner_biases + diagonal;
  }
  // Which of them belongs to the recurrent product of a gate.
  std::ptrdiff_t recurrent_gradient(std::ptrdiff_t gate) const {
    return gate < gates - inner_biases ? gate : gate + inner_biases;
  }

  // Whether threads may share the units of a step: with two products each waits for all of the
  // first.
  bool can_share_units() const { return products[1] == 0; }
};

// The table of cells.
std::span<const Cell> cells();

// Throws std::invalid_argument if there is no cell of this name.
const Cell& find_cell(std::string_view name);

}  // namespace embedrnn::ops
