#include "ops/gru.h"

#include "bindings/module.h"
#include "bindings/recurrence.h"

namespace embedrnn::bindings {
namespace {

void gru_forward(py::array x,
                 py::array weight_ih,
                 py::array weight_hh,
                 OptionalArray bias_ih,
                 OptionalArray bias_hh,
                 OptionalArray lengths,
                 OptionalArray h_0,
                 bool reset_after,
                 bool reverse,
                 py::array output,
                 py::array h_n) {
  const auto reset = reset_after ? ops::Reset::kAfter : ops::Reset::kBefore;
  CellArrays arrays{x, weight_ih, weight_hh, bias_ih, bias_hh, lengths, h_0, reverse, output, h_n};
  arrays.dispatch([](auto&) {},
                  [&](const auto& sequence, const auto& weights) {
                    ops::gru_forward(sequence, weights, reset);
                  });
}

}  // namespace

void register_gru(py::module_& module) {
  module.def("gru_forward",
             &gru_forward,
             py::arg("x"),
             py::arg("weight_ih"),
             py::arg("weight_hh"),
             py::arg("bias_ih"),
             py::arg("bias_hh"),
             py::arg("lengths"),
             py::arg("h_0"),
             py::arg("reset_after"),
             py::arg("reverse"),
             py::arg("output"),
             py::arg("h_n"));
}

}  // namespace embedrnn::bindings
