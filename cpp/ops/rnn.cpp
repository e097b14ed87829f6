#include "ops/rnn.h"

#include "runtime/isa.h"

namespace embedrnn::ops {
namespace {

const kernels::RecurrentKernels<float>& recurrent_kernels(const kernels::KernelTable& table,
                                                          float) {
  return table.f32;
}
const kernels::RecurrentKernels<double>& recurrent_kernels(const kernels::KernelTable& table,
                                                           double) {
  return table.f64;
}

}  // namespace

template <class T>
void rnn_forward(const RnnArgs<T>& args) {
  const auto& kernels = recurrent_kernels(runtime::kernel_table(), T{});
  const Packing packing{.gates = 1, .hidden = args.weight_ih.rows, .lanes = kernels.lanes};
  const std::ptrdiff_t input_elements = packing.elements(args.weight_ih.cols);
  const std::ptrdiff_t hidden_elements = packing.elements(args.weight_hh.cols);

  const runtime::Scratch scratch(runtime::scratch_bytes<T>(input_elements) +
                                 runtime::scratch_bytes<T>(hidden_elements) +
                                 runtime::scratch_bytes<T>(packing.width()));
  runtime::Carver carver(scratch.data());
  T* const weight_ih = carver.take<T>(input_elements);
  T* const weight_hh = carver.take<T>(hidden_elements);
  T* const bias = carver.take<T>(packing.width());
  pack_weight(packing, args.weight_ih, weight_ih);
  pack_weight(packing, args.weight_hh, weight_hh);
  pack_bias(packing, args.bias_ih, args.bias_hh, bias);

  run_recurrence(args.sequence,
                 InputProjection<T>{packing, kernels.affine, weight_ih, bias},
                 [&](const StepFrame<T>& frame) {
                   kernels.rnn_step({.rows = frame.rows,
                                     .hidden = packing.hidden,
                                     .vectors = packing.vectors(),
                                     .weight_hh = weight_hh,
                                     .projected = frame.projected,
                                     .h_prev = frame.h_prev,
                                     .h_next = frame.h_next,
                                     .output = frame.output,
                                     .relu = args.nonlinearity == Nonlinearity::kRelu});
                 });
}

template void rnn_forward(const RnnArgs<float>&);
template void rnn_forward(const RnnArgs<double>&);

}  // namespace embedrnn::ops
