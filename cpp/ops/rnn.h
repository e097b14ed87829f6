// The Elman recurrence: h_t = act(x_t W_ih^T + b_ih + h_{t-1} W_hh^T + b_hh).
#pragma once

#include "ops/recurrence.h"

namespace embedrnn::ops {

enum class Nonlinearity : std::uint8_t { kTanh, kRelu };

// Packs the weights, then walks. Allocates the packed weights and a few state-sized buffers a
// thread.
template <class T>
void rnn_forward(const RecurrenceArgs<T>& args,
                 const CellWeights<T>& weights,
                 Nonlinearity nonlinearity);

}  // namespace embedrnn::ops
