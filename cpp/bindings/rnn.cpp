#include "ops/rnn.h"

#include <string_view>

#include "bindings/module.h"
#include "bindings/recurrence.h"

namespace embedrnn::bindings {
namespace {

void rnn_forward(py::array x,
                 py::array weight_ih,
                 py::array weight_hh,
                 OptionalArray bias_ih,
                 OptionalArray bias_hh,
                 OptionalArray lengths,
                 OptionalArray h_0,
                 std::string_view nonlinearity,
                 bool reverse,
                 py::array output,
                 py::array h_n) {
  assert(nonlinearity == "tanh" || nonlinearity == "relu");
  const auto activation =
      nonlinearity == "relu" ? ops::Nonlinearity::kRelu : ops::Nonlinearity::kTanh;
  CellArrays arrays{x, weight_ih, weight_hh, bias_ih, bias_hh, lengths, h_0, reverse, output, h_n};
  arrays.dispatch([](auto&) {},
                  [&](const auto& sequence, const auto& weights) {
                    ops::rnn_forward(sequence, weights, activation);
                  });
}

}  // namespace

void register_rnn(py::module_& module) {
  module.def("rnn_forward",
             &rnn_forward,
             py::arg("x"),
             py::arg("weight_ih"),
             py::arg("weight_hh"),
             py::arg("bias_ih"),
             py::arg("bias_hh"),
             py::arg("lengths"),
             py::arg("h_0"),
             py::arg("nonlinearity"),
             py::arg("reverse"),
             py::arg("output"),
             py::arg("h_n"));
}

}  // namespace embedrnn::bindings
