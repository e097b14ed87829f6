#include "ops/lstm.h"

#include <utility>

#include "bindings/module.h"
#include "bindings/recurrence.h"

namespace embedrnn::bindings {
namespace {

std::unique_ptr<PackedCell>
pack_lstm(py::array weight_ih, py::array weight_hh, OptionalArray bias_ih, OptionalArray bias_hh) {

  WeightArrays arrays{
      std::move(weight_ih), std::move(weight_hh), std::move(bias_ih), std::move(bias_hh)};
  return arrays.pack([](const auto& weights) { return ops::pack_lstm(weights); });
}

}  // namespace

void register_lstm(py::module_& module) {
  module.def("pack_lstm",
             &pack_lstm,
             py::arg("weight_ih"),
             py::arg("weight_hh"),
             py::arg("bias_ih"),
             py::arg("bias_hh"));
}

}  // namespace embedrnn::bindings
