#include "ops/gru.h"

#include <utility>

#include "bindings/module.h"
#include "bindings/recurrence.h"

namespace embedrnn::bindings {
namespace {

std::unique_ptr<PackedCell> pack_gru(py::array weight_ih,
                                     py::array weight_hh,
                                     OptionalArray bias_ih,
                                     OptionalArray bias_hh,
                                     bool reset_after) {
  const auto reset = reset_after ? ops::Reset::kAfter : ops::Reset::kBefore;
  WeightArrays arrays{
      std::move(weight_ih), std::move(weight_hh), std::move(bias_ih), std::move(bias_hh)};
  return arrays.pack([&](const auto& weights) { return ops::pack_gru(weights, reset); });
}

}  // namespace

void register_gru(py::module_& module) {
  module.def("pack_gru",
             &pack_gru,
             py::arg("weight_ih"),
             py::arg("weight_hh"),
             py::arg("bias_ih"),
             py::arg("bias_hh"),
             py::arg("reset_after"));
}

}  // namespace embedrnn::bindings
