#include "ops/gru.h"

namespace embedrnn::ops {
namespace {

// The recurrent bias of n belongs inside the reset, so it is kept apart from the others.
template <class T>
void pack_reset_after(const CellWeights<T>& weights, PackedCell<T>& packed) {
  const Packing& packing = packed.packing();
  const Packing one_gate{.gates = 1, .hidden = packing.hidden, .lanes = packing.lanes};
  const std::ptrdiff_t n_row = 2 * packing.hidden;
  VectorView<const T> bias_hn = weights.bias_hh;
  if (bias_hn.data != nullptr) bias_hn.data += n_row * bias_hn.stride;
  pack_weight(packing, weights.weight_hh, packed.weight_hh);
  pack_bias(packing, weights.bias_ih, weights.bias_hh, n_row, packed.bias);
  pack_bias(one_gate, bias_hn, {}, 0, packed.bias_hh);
}

// The recurrent weights of r and z make one product and those of n another, behind it.
template <class T>
void pack_reset_before(const CellWeights<T>& weights, PackedCell<T>& packed) {
  const Packing& packing = packed.packing();
  const Packing reset_update{.gates = 2, .hidden = packing.hidden, .lanes = packing.lanes};
  const Packing candidate{.gates = 1, .hidden = packing.hidden, .lanes = packing.lanes};
  MatrixView<const T> weight_hn = weights.weight_hh;
  weight_hn.data += 2 * packing.hidden * weight_hn.row_stride;
  pack_weight(reset_update, weights.weight_hh, packed.weight_hh);
  pack_weight(candidate, weight_hn, packed.weight_hh + reset_update.elements(weight_hn.cols));
  pack_bias_sum(weights, packed);
  packed.cell().needs_scratch = true;
}

}  // namespace

template <class T>
PackedCell<T> pack_gru(const CellWeights<T>& weights, Reset reset) {
  const auto& kernels = recurrent_kernels<T>();
  const bool after = reset == Reset::kAfter;
  PackedCell<T> packed(
      weights, 3, kernels, after ? kernels.gru_step : kernels.gru_reset_before_step);
  after ? pack_reset_after(weights, packed) : pack_reset_before(weights, packed);
  return packed;
}

template PackedCell<float> pack_gru(const CellWeights<float>&, Reset);
template PackedCell<double> pack_gru(const CellWeights<double>&, Reset);

}  // namespace embedrnn::ops
