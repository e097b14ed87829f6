// The LSTM recurrence, gates in the order i, f, g, o:
// c_t = sigmoid(f) c_{t-1} + sigmoid(i) tanh(g), h_t = sigmoid(o) tanh(c_t).
#pragma once

#include "ops/recurrence.h"

namespace embedrnn::ops {

// Packs the weights, then walks. Allocates the packed weights and a few state-sized buffers a
// thread.
template <class T>
void lstm_forward(const RecurrenceArgs<T>& args, const CellWeights<T>& weights);

}  // namespace embedrnn::ops
