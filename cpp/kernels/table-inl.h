// Fills the kernel table of one ISA. Included once by each isa_*.cpp, which sets EMBEDRNN_ISA_NAME,
// EMBEDRNN_ISA_TABLE, EMBEDRNN_VECTOR_BYTES and EMBEDRNN_VECTOR_REGISTERS. The table is the only
// symbol the object exports.
#pragma once

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

}  // namespace

constexpr KernelTable EMBEDRNN_ISA_TABLE = {EMBEDRNN_ISA_NAME,
                                            {{resolve<std::int8_t>,
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
                                             scatter_add<double, double>},
                                            recurrent_kernels<float>(),
                                            recurrent_kernels<double>()};

}  // namespace embedrnn::kernels
