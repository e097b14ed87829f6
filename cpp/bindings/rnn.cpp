#include "ops/rnn.h"

#include <string_view>
#include <utility>

#include "bindings/module.h"
#include "bindings/recurrence.h"

namespace embedrnn::bindings {
namespace {

std::unique_ptr<PackedCell> pack_rnn(py::array weight_ih,
                                     py::array weight_hh,
                                     OptionalArray bias_ih,
                                     OptionalArray bias_hh,
                                     std::string_view nonlinearity) {
  assert(nonlinearity == "tanh" || nonlinearity == "relu");
  const auto activation =
      nonlinearity == "relu" ? ops::Nonlinearity::kRelu : ops::Nonlinearity::kTanh;
  WeightArrays arrays{
      std::move(weight_ih), std::move(weight_hh), std::move(bias_ih), std::move(bias_hh)};
  return arrays.pack([&](const auto& weights) { return ops::pack_rnn(weights, activation); });
}

}  // namespace

void register_rnn(py::module_& module) {
  module.def("pack_rnn",
             &pack_rnn,
             py::arg("weight_ih"),
             py::arg("weight_hh"),
             py::arg("bias_ih"),
             py::arg("bias_hh"),
             py::arg("nonlinearity"));
}

}  // namespace embedrnn::bindings
