// The Elman recurrence: h_t = act(x_t W_ih^T + b_ih + h_{t-1} W_hh^T + b_hh).
#pragma once

#include "ops/packed_cell.h"

namespace embedrnn::ops {

enum class Nonlinearity : std::uint8_t { kTanh, kRelu };

template <class T>
PackedCell<T> pack_rnn(const CellWeights<T>& weights, Nonlinearity nonlinearity);

}  // namespace embedrnn::ops
