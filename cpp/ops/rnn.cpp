#include "ops/rnn.h"

#include "ops/packed_cell.h"

namespace embedrnn::ops {

template <class T>
void rnn_forward(const RecurrenceArgs<T>& args,
                 const CellWeights<T>& weights,
                 Nonlinearity nonlinearity) {
  const auto& kernels = recurrent_kernels<T>();
  const bool relu = nonlinearity == Nonlinearity::kRelu;
  PackedCell<T> packed(weights, 1, kernels, relu ? kernels.rnn_relu_step : kernels.rnn_tanh_step);
  pack_as_one(weights, packed);
  run_recurrence(args, packed.cell());
}

template void rnn_forward(const RecurrenceArgs<float>&, const CellWeights<float>&, Nonlinearity);
template void rnn_forward(const RecurrenceArgs<double>&, const CellWeights<double>&, Nonlinearity);

}  // namespace embedrnn::ops
