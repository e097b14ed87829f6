// Fills the registry of one ISA. Included once by each isa_*.cpp, which sets EMBEDRNN_ISA_NAME,
// EMBEDRNN_ISA_REGISTRY, EMBEDRNN_VECTOR_BYTES and EMBEDRNN_VECTOR_REGISTERS. The registry is the
// only symbol the object exports.
#pragma once

#include "bag-inl.h"
#include "gather-inl.h"
#include "gru-inl.h"
#include "lstm-inl.h"
#include "optim-inl.h"
#include "pool-inl.h"
#include "products-inl.h"
#include "rnn-inl.h"
#include "scatter-inl.h"
#include "transpose-inl.h"

namespace embedrnn::kernels {
namespace {

constexpr RowKernels row_kernels() {
  return {.find_bad = {find_bad<std::int8_t>,
                       find_bad<std::int16_t>,
                       find_bad<std::int32_t>,
                       find_bad<std::int64_t>,
                       find_bad<std::uint8_t>,
                       find_bad<std::uint16_t>,
                       find_bad<std::uint32_t>,
                       find_bad<std::uint64_t>},
          .resolve = {resolve<std::int8_t>,
                      resolve<std::int16_t>,
                      resolve<std::int32_t>,
                      resolve<std::int64_t>,
                      resolve<std::uint8_t>,
                      resolve<std::uint16_t>,
                      resolve<std::uint32_t>,
                      resolve<std::uint64_t>},
          .gather = gather,
          .gather_f16 = gather_stored<Float16, float>,
          .gather_bf16 = gather_stored<BFloat16, float>,
          .gather_int8 = gather_stored<Int8Row, float>,
          .gather_int8_f16 = gather_stored<Int8Row, Float16>,
          .gather_int8_bf16 = gather_stored<Int8Row, BFloat16>,
          .scatter_add_f32 = scatter_add<float, float>,
          .scatter_add_f32_f64 = scatter_add<float, double>,
          .scatter_add_f64 = scatter_add<double, double>,
          .scatter_add_u8 = scatter_add<std::uint8_t, std::uint8_t>,
          .scatter_add_u16 = scatter_add<std::uint16_t, std::uint16_t>,
          .scatter_add_u32 = scatter_add<std::uint32_t, std::uint32_t>,
          .scatter_add_u64 = scatter_add<std::uint64_t, std::uint64_t>};
}

template <class S>
constexpr BagKernels<Sum<S>> bag_kernels() {
  return {.sum = bag_sum<S>, .max = bag_max<S>, .dot = bag_dot<S>};
}

constexpr AllBagKernels all_bag_kernels() {
  return {.f32 = bag_kernels<float>(),
          .f64 = bag_kernels<double>(),
          .f16 = bag_kernels<Float16>(),
          .bf16 = bag_kernels<BFloat16>(),
          .int8 = bag_kernels<Int8Row>(),
          .add_to_f16 = bag_sum<float, Float16>,
          .add_to_bf16 = bag_sum<float, BFloat16>};
}

template <template <class> class Rule>
constexpr void enter_rule(OptimKernels& kernels, OptimRule rule) {
  const int at = static_cast<int>(rule);
  using R = Rule<float>;
  kernels.needs[at] = {R::kStates, R::kRowWise, R::kCoefficients};
  kernels.f32[at] = optim_step<Rule, float>;
  kernels.f64[at] = optim_step<Rule, double>;
  kernels.f16[at] = optim_step<Rule, Float16>;
  kernels.bf16[at] = optim_step<Rule, BFloat16>;
}

constexpr OptimKernels optim_kernels() {
  OptimKernels kernels = {};
  enter_rule<Sgd>(kernels, OptimRule::kSgd);
  enter_rule<Momentum>(kernels, OptimRule::kMomentum);
  enter_rule<Adagrad>(kernels, OptimRule::kAdagrad);
  enter_rule<RowWiseAdagrad>(kernels, OptimRule::kRowWiseAdagrad);
  enter_rule<Adam>(kernels, OptimRule::kAdam);
  return kernels;
}

template <class T, int Kind = 0>
constexpr void enter_cells(CellKernels<T> (&cells)[kCellKinds]) {
  if constexpr (Kind < kCellKinds) {
    cells[Kind] = KernelsOf<static_cast<CellKind>(Kind), T>::kKernels;
    enter_cells<T, Kind + 1>(cells);
  }
}

template <class T>
constexpr RecurrentKernels<T> recurrent_kernels() {
  RecurrentKernels<T> kernels = {.lanes = kLanes<T>,
                                 .transpose = transpose<T>,
                                 .affine = affine<T>,
                                 .arrange = arrange<T>,
                                 .pool = pool<T>,
                                 .affine_back = affine_back<T>,
                                 .outer = outer<T>,
                                 .sum = sum<T>,
                                 .cells = {},
                                 .exp = elementwise<T, exp<T>>,
                                 .sigmoid = elementwise<T, sigmoid<T>>,
                                 .tanh = elementwise<T, tanh<T>>};
  enter_cells(kernels.cells);
  return kernels;
}

}  // namespace

constexpr Registry EMBEDRNN_ISA_REGISTRY = {.isa = EMBEDRNN_ISA_NAME,
                                            .rows = row_kernels(),
                                            .bags = all_bag_kernels(),
                                            .optim = optim_kernels(),
                                            .f32 = recurrent_kernels<float>(),
                                            .f64 = recurrent_kernels<double>()};

}  // namespace embedrnn::kernels
