#include "ops/rnn.h"

namespace embedrnn::ops {

template <class T>
PackedCell<T> pack_rnn(const CellWeights<T>& weights, Nonlinearity nonlinearity) {
  const auto& kernels = recurrent_kernels<T>();
  const bool relu = nonlinearity == Nonlinearity::kRelu;
  PackedCell<T> packed(weights, 1, kernels, relu ? kernels.rnn_relu_step : kernels.rnn_tanh_step);
  pack_as_one(weights, packed);
  return packed;
}

template PackedCell<float> pack_rnn(const CellWeights<float>&, Nonlinearity);
template PackedCell<double> pack_rnn(const CellWeights<double>&, Nonlinearity);

}  // namespace embedrnn::ops
