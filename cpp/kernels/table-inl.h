// Fills the kernel table of one ISA. Included once by each isa_*.cpp, which sets EMBEDRNN_ISA_NAME,
// EMBEDRNN_ISA_TABLE, EMBEDRNN_VECTOR_BYTES and EMBEDRNN_VECTOR_REGISTERS. The table is the only
// symbol the object exports.
#pragma once

#include "bag-inl.h"
#include "embedding-inl.h"
#include "gru-inl.h"
#include "lstm-inl.h"
#include "rnn-inl.h"

namespace embedrnn::kernels {
namespace {

template <class T>
constexpr RecurrentKernels<T> recurrent_kernels() {
  return {kLanes<T>,
          affine<T>,
          rnn_step<T, tanh<T>>,
          rnn_step<T, relu<T>>,
          lstm_step<T>,
          gru_step<T>,
          gru_reset_before_step<T>,
          elementwise<T, exp<T>>,
          elementwise<T, sigmoid<T>>,
          elementwise<T, tanh<T>>};
}

template <class S>
constexpr BagKernels<Sum<S>> bag_kernels() {
  return {bag_sum<S>, bag_max<S>, bag_dot<S>};
}

}  // namespace

constexpr KernelTable EMBEDRNN_ISA_TABLE = {EMBEDRNN_ISA_NAME,
                                            {{find_bad<std::int8_t>,
                                              find_bad<std::int16_t>,
                                              find_bad<std::int32_t>,
                                              find_bad<std::int64_t>,
                                              find_bad<std::uint8_t>,
                                              find_bad<std::uint16_t>,
                                              find_bad<std::uint32_t>,
                                              find_bad<std::uint64_t>},
                                             {resolve<std::int8_t>,
                                              resolve<std::int16_t>,
                                              resolve<std::int32_t>,
                                              resolve<std::int64_t>,
                                              resolve<std::uint8_t>,
                                              resolve<std::uint16_t>,
                                              resolve<std::uint32_t>,
                                              resolve<std::uint64_t>},
                                             gather,
                                             scatter_add<float, float>,
                                             scatter_add<float, double>,
                                             scatter_add<double, double>,
                                             scatter_add<std::uint8_t, std::uint8_t>,
                                             scatter_add<std::uint16_t, std::uint16_t>,
                                             scatter_add<std::uint32_t, std::uint32_t>,
                                             scatter_add<std::uint64_t, std::uint64_t>},
                                            {bag_kernels<float>(),
                                             bag_kernels<double>(),
                                             bag_kernels<Float16>(),
                                             bag_kernels<BFloat16>(),
                                             {bag_sum_int8, bag_max<Int8Row>, bag_dot<Int8Row>},
                                             bag_sum<float, Float16>,
                                             bag_sum<float, BFloat16>},
                                            recurrent_kernels<float>(),
                                            recurrent_kernels<double>()};

}  // namespace embedrnn::kernels
