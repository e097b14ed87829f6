// The LSTM recurrence, gates in the order i, f, g, o:
// c_t = sigmoid(f) c_{t-1} + sigmoid(i) tanh(g), h_t = sigmoid(o) tanh(c_t).
#pragma once

#include "ops/packed_cell.h"

namespace embedrnn::ops {

template <class T>
PackedCell<T> pack_lstm(const CellWeights<T>& weights);

}  // namespace embedrnn::ops
