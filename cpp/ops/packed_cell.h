// The packed weights of one cell, and the memory they live in.
#pragma once

#include <type_traits>

#include "ops/recurrence.h"
#include "runtime/isa.h"

namespace embedrnn::ops {

template <class T>
const kernels::RecurrentKernels<T>& recurrent_kernels() {
  if constexpr (std::is_same_v<T, float>) {
    return runtime::kernel_table().f32;
  } else {
    return runtime::kernel_table().f64;
  }
}

// A cell that owns its packed weights and runs any number of times, on any thread; of the caller's
// weights it keeps nothing. It stays with the kernels it was packed for, whatever ISA is set later.
// Packs the input weights; how the recurrent ones and the biases are packed is the cell's own.
template <class T>
class PackedCell {
 public:
  PackedCell(const CellWeights<T>& weights,
             std::ptrdiff_t gates,
             const kernels::RecurrentKernels<T>& kernels,
             kernels::StepKernel<T> step_kernel)
      : packing_{.gates = gates, .hidden = weights.weight_hh.cols, .lanes = kernels.lanes},
        scratch_(runtime::scratch_bytes<T>(packing_.width(), weights.weight_ih.cols) +
                 runtime::scratch_bytes<T>(packing_.width(), packing_.hidden) +
                 2 * runtime::scratch_bytes<T>(packing_.width())) {
    runtime::Carver carver(scratch_.data());
    T* const weight_ih = carver.take<T>(packing_.width(), weights.weight_ih.cols);
    weight_hh = carver.take<T>(packing_.width(), packing_.hidden);
    bias = carver.take<T>(packing_.width());
    bias_hh = carver.take<T>(packing_.width());
    pack_weight(packing_, weights.weight_ih, weight_ih);
    cell_ = {.packing = packing_,
             .affine = kernels.affine,
             .step = step_kernel,
             .weight_ih = weight_ih,
             .weight_hh = weight_hh,
             .bias = bias,
             .bias_hh = bias_hh};
  }

  const Packing& packing() const { return packing_; }
  Cell<T>& cell() { return cell_; }

  // Allocates a few state-sized buffers a thread.
  void forward(const RecurrenceArgs<T>& args) const { run_recurrence(args, cell_); }

  // Allocates nothing, but in the first step of so many rows.
  void step(const StepArgs<T>& args) { run_step(args, cell_, step_scratch_); }

  // To be filled by the cell.
  T* weight_hh;  // packing().elements(hidden)
  T* bias;       // packing().width()
  T* bias_hh;    // packing().width()

 private:
  Packing packing_;
  runtime::Scratch scratch_;
  Cell<T> cell_;
  runtime::KeptScratch step_scratch_;
};

// Packs the sum of the biases, all of it into what is added to the input product.
template <class T>
void pack_bias_sum(const CellWeights<T>& weights, PackedCell<T>& packed) {
  pack_bias(
      packed.packing(), weights.bias_ih, weights.bias_hh, weights.weight_hh.rows, packed.bias);
}

// Packs the recurrent weights gate by gate beside each other, and the sum of the biases.
template <class T>
void pack_as_one(const CellWeights<T>& weights, PackedCell<T>& packed) {
  pack_weight(packed.packing(), weights.weight_hh, packed.weight_hh);
  pack_bias_sum(weights, packed);
}

}  // namespace embedrnn::ops
