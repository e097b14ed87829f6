// The packed weights of one cell, and the memory they live in.
#pragma once

#include <type_traits>
#include <vector>

#include "ops/costs.h"
#include "ops/recurrence/args.h"
#include "ops/recurrence/cells.h"
#include "ops/recurrence/packing.h"
#include "runtime/isa.h"
#include "runtime/scratch.h"

namespace embedrnn::ops {

template <class T>
const kernels::RecurrentKernels<T>& recurrent_kernels() {
  if constexpr (std::is_same_v<T, float>) {
    return runtime::registry().f32;
  } else {
    return runtime::registry().f64;
  }
}

// A cell that owns its packed weights and runs any number of times, on any thread; of the caller's
// weights it keeps nothing. It stays with the kernels it was packed for, whatever ISA is set later.
template <class T>
class PackedCell {
 public:
  PackedCell(const Cell& cell, const CellWeights<T>& weights)
      : cell_(&cell), kernels_(&recurrent_kernels<T>()), inputs_(weights.weight_ih.cols),
        hidden_(weights.weight_hh.cols), packing_(packing_of(cell.gates)), scratch_(measured()) {
    runtime::Carver carver(scratch_);
    carve(carver);
    pack_weight(packing(), weights.weight_ih, kernels(), weight_ih_);
    for_each_product(
        weights, [&](const Packing& product, const MatrixView<const T>& from, std::ptrdiff_t at) {
          pack_weight(product, from, kernels(), weight_hh_ + at);
          return true;
        });
    pack_biases(weights, {bias_, bias_hh_, diagonal_});
  }

  // Whether to pack these weights now would give the same cell.
  bool holds(const Cell& cell, const CellWeights<T>& weights) const {
    if (&cell != cell_ || &recurrent_kernels<T>() != kernels_) return false;
    if (weights.weight_ih.cols != inputs_ || weights.weight_hh.cols != hidden_) return false;
    return holds_biases(weights) &&
           holds_weight(packing(), weights.weight_ih, kernels(), weight_ih_) &&
           for_each_product(
               weights,
               [&](const Packing& product, const MatrixView<const T>& from, std::ptrdiff_t at) {
                 return holds_weight(product, from, kernels(), weight_hh_ + at);
               });
  }

  const Cell& cell() const { return *cell_; }
  std::ptrdiff_t inputs() const { return inputs_; }  // I
  std::ptrdiff_t hidden() const { return hidden_; }  // H
  const Packing& packing() const { return packing_; }

  // Runs over all rows. Allocates once, before the first write.
  void forward(const RunArgs<T>& args) const {
    runtime::KeptScratch scratch;
    run(args, scratch);
  }

  // The same, with the memory of the last call: nothing is allocated but in the first of so many
  // rows.
  void step(const RunArgs<T>& args) { run(args, step_scratch_); }

  // Elements of the tape for each pair, with the input of its step or without.
  std::ptrdiff_t record(bool has_input) const;
  // Whether so many tokens are worth to have the input products of the distinct ones made first.
  bool pays_distinct(std::ptrdiff_t pairs, std::ptrdiff_t distinct) const {
    return is_worth_distinct(
        pairs, distinct, inputs_, packing_.width() * std::ptrdiff_t{sizeof(T)});
  }
  // The gradients of a forward pass, from its tape. Allocates once, before the first write.
  void backward(const BackArgs<T>& args) const;

  // Fills the input products of rows, biases and all, gate after gate: (n, G*H). Allocates as much.
  void project(const MatrixView<const T>& x, T* out) const;

  // For the walks.
  const kernels::RecurrentKernels<T>& kernels() const { return *kernels_; }
  const T* weight_ih() const { return weight_ih_; }
  const T* weight_hh() const { return weight_hh_; }  // as kernels::CellStep has it
  const T* bias() const { return bias_; }            // what is added to the input product
  const T* bias_hh() const { return bias_hh_; }      // as kernels::CellStep has it
  const T* diagonal() const { return diagonal_; }    // likewise
  Packing packing_of(std::ptrdiff_t gates) const { return {gates, hidden_, kernels_->lanes}; }
  // Makes the input products of m rows, of some units.
  void multiply(const T* const* rows,
                std::ptrdiff_t m,
                const kernels::UnitRange& units,
                T* products) const {
    kernels().affine({.inputs = rows,
                      .m = m,
                      .k = inputs_,
                      .gates = cell_->gates,
                      .vectors = packing_.vectors(),
                      .units = units,
                      .weight = weight_ih_,
                      .bias = bias_,
                      .out = products});
  }

 private:
  void carve(runtime::Carver& carver) {
    weight_ih_ = carver.take<T>(packing_.width(), inputs_);
    weight_hh_ = carver.take<T>(packing_.width(), hidden_);
    bias_ = carver.take<T>(packing_.width());
    bias_hh_ = carver.take<T>(packing_of(cell_->inner_biases).width());
    diagonal_ = carver.take<T>(packing_of(cell_->diagonals).width());
  }
  std::size_t measured() {
    runtime::Carver carver;
    carve(carver);
    return carver.used();
  }

  // Calls body(packing, weight, where the packed one begins) for the recurrent weight of each
  // product, until one is false.
  template <class Body>
  bool for_each_product(const CellWeights<T>& weights, const Body& body) const {
    std::ptrdiff_t at = 0;
    MatrixView<const T> from = weights.weight_hh;
    for (const std::ptrdiff_t gates : cell_->products) {
      const Packing product = packing_of(gates);
      if (!body(product, from, at)) return false;
      at += product.elements(hidden_);
      from.data += gates * hidden_ * from.row_stride;
    }
    return true;
  }

  // Where what is packed unit by unit goes.
  struct ByUnit {
    T *bias, *bias_hh, *diagonal;
  };

  void pack_biases(const CellWeights<T>& weights, const ByUnit& to) const {
    const std::ptrdiff_t outer = (cell_->gates - cell_->inner_biases) * hidden_;
    pack_bias(packing(), weights.bias_ih, weights.bias_hh, outer, to.bias);
    VectorView<const T> inner = weights.bias_hh;
    if (inner.data != nullptr) inner.data += outer * inner.stride;
    pack_bias(packing_of(cell_->inner_biases), inner, {}, 0, to.bias_hh);
    pack_bias(packing_of(cell_->diagonals), weights.diagonal, {}, 0, to.diagonal);
  }

  bool holds_biases(const CellWeights<T>& weights) const {
    const std::ptrdiff_t outer = packing_.width(), inner = packing_of(cell_->inner_biases).width(),
                         diagonals = packing_of(cell_->diagonals).width();
    std::vector<T> packed(static_cast<std::size_t>(outer + inner + diagonals));
    const ByUnit to{packed.data(), packed.data() + outer, packed.data() + outer + inner};
    pack_biases(weights, to);
    return same_bytes<T>(to.bias, bias_, outer) && same_bytes<T>(to.bias_hh, bias_hh_, inner) &&
           same_bytes<T>(to.diagonal, diagonal_, diagonals);
  }

  void run(const RunArgs<T>& args, runtime::KeptScratch& scratch) const;

  const Cell* cell_;
  const kernels::RecurrentKernels<T>* kernels_;
  std::ptrdiff_t inputs_, hidden_;
  Packing packing_;
  T *weight_ih_ = nullptr, *weight_hh_ = nullptr;  // packed
  T *bias_ = nullptr, *bias_hh_ = nullptr, *diagonal_ = nullptr;
  runtime::Scratch scratch_;
  runtime::KeptScratch step_scratch_;
};

// Flops of the input product of one step.
template <class T>
double flops_of_product(const PackedCell<T>& cell) {
  return 2.0 * static_cast<double>(cell.packing().width()) * static_cast<double>(cell.inputs());
}

// Flops of one step of one row, and what the step costs beside its arithmetic.
template <class T>
double flops_a_step(const PackedCell<T>& cell) {
  return kFlopsOfOverhead + 2.0 * static_cast<double>(cell.packing().width()) *
                                static_cast<double>(cell.inputs() + cell.hidden());
}

}  // namespace embedrnn::ops
