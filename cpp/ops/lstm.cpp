#include "ops/lstm.h"

#include "ops/packed_cell.h"

namespace embedrnn::ops {

template <class T>
void lstm_forward(const RecurrenceArgs<T>& args, const CellWeights<T>& weights) {
  const auto& kernels = recurrent_kernels<T>();
  PackedCell<T> packed(weights, 4, kernels, kernels.lstm_step);
  pack_as_one(weights, packed);
  run_recurrence(args, packed.cell());
}

template void lstm_forward(const RecurrenceArgs<float>&, const CellWeights<float>&);
template void lstm_forward(const RecurrenceArgs<double>&, const CellWeights<double>&);

}  // namespace embedrnn::ops
