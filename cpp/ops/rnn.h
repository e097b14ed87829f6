// The Elman recurrence: h_t = act(x_t W_ih^T + b_ih + h_{t-1} W_hh^T + b_hh).
#pragma once

#include "ops/recurrence.h"

namespace embedrnn::ops {

enum class Nonlinearity : std::uint8_t { kTanh, kRelu };

template <class T>
struct RnnArgs {
  RecurrenceArgs<T> sequence;
  MatrixView<const T> weight_ih;         // (H, I)
  MatrixView<const T> weight_hh;         // (H, H)
  VectorView<const T> bias_ih, bias_hh;  // (H); no data: zeros
  Nonlinearity nonlinearity = Nonlinearity::kTanh;
};

// Packs the weights, then walks. Allocates the packed weights and a few state-sized buffers a
// thread.
template <class T>
void rnn_forward(const RnnArgs<T>& args);

}  // namespace embedrnn::ops
