#include "ops/lstm.h"

namespace embedrnn::ops {

template <class T>
PackedCell<T> pack_lstm(const CellWeights<T>& weights) {
  const auto& kernels = recurrent_kernels<T>();
  PackedCell<T> packed(weights, 4, kernels, kernels.lstm_step);
  pack_as_one(weights, packed);
  return packed;
}

template PackedCell<float> pack_lstm(const CellWeights<float>&);
template PackedCell<double> pack_lstm(const CellWeights<double>&);

}  // namespace embedrnn::ops
