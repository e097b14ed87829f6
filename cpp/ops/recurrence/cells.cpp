// The table of cells, under the names that Python has for them.
#include "ops/recurrence/cells.h"

#include <algorithm>
#include <stdexcept>
#include <string>

namespace embedrnn::ops {
namespace {

using kernels::CellKind;

constexpr Cell kCells[] = {
    // h' = act(x W_ih^T + b_ih + h W_hh^T + b_hh)
    {.name = "rnn_tanh",
     .kind = CellKind::kRnnTanh,
     .gates = 1,
     .states = 1,
     .products = {1, 0},
     .kept = 2},
    {.name = "rnn_relu",
     .kind = CellKind::kRnnRelu,
     .gates = 1,
     .states = 1,
     .products = {1, 0},
     .kept = 2},
    // h' = (1 - a) h + a act(...), with a leak a of each unit.
    {.name = "rnn_tanh_leaky",
     .kind = CellKind::kRnnTanhLeaky,
     .gates = 1,
     .states = 1,
     .products = {1, 0},
     .diagonals = 1,
     .kept = 2},
    {.name = "rnn_relu_leaky",
     .kind = CellKind::kRnnReluLeaky,
     .gates = 1,
     .states = 1,
     .products = {1, 0},
     .diagonals = 1,
     .kept = 2},
    // Gates r, z, n; n = tanh(x W_n + b_in + r (h R_n + b_hn)), as PyTorch has it.
    {.name = "gru",
     .kind = CellKind::kGru,
     .gates = 3,
     .states = 1,
     .products = {3, 0},
     .inner_biases = 1,
     .kept = 5},
    // n = tanh(x W_n + b_in + (r h) R_n + b_hn), as ONNX has it by default: the product of n comes
    // behind r, and the workspace holds r h and z.
    {.name = "gru_reset_before",
     .kind = CellKind::kGruResetBefore,
     .gates = 3,
     .states = 1,
     .products = {2, 1},
     .workspace = 2,
     .kept = 5},
    // Gates i, f, g, o; c' = f c + i g, h' = o tanh(c').
    {.name = "lstm",
     .kind = CellKind::kLstm,
     .gates = 4,
     .states = 2,
     .products = {4, 0},
     .kept = 6},
    // The same with peepholes of i, f and o, which see the cell state: i and f that before the
    // step.
    {.name = "lstm_peephole",
     .kind = CellKind::kLstmPeephole,
     .gates = 4,
     .states = 2,
     .products = {4, 0},
     .diagonals = 3,
     .kept = 6},
};

constexpr bool is_whole(const Cell& cell) {
  return cell.gates <= kernels::kMostGates && cell.states <= kMostStates &&
         cell.products[0] + cell.products[1] == cell.gates && cell.inner_biases <= cell.gates;
}
static_assert(std::ranges::all_of(kCells, is_whole));

}  // namespace

std::span<const Cell> cells() { return kCells; }

const Cell& find_cell(std::string_view name) {
  for (const Cell& cell : kCells)
    if (cell.name == name) return cell;
  throw std::invalid_argument("there is no cell '" + std::string(name) + "'");
}

}  // namespace embedrnn::ops
