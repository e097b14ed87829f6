#include "ops/lstm.h"

#include "bindings/module.h"
#include "bindings/recurrence.h"

namespace embedrnn::bindings {
namespace {

void lstm_forward(py::array x,
                  py::array weight_ih,
                  py::array weight_hh,
                  OptionalArray bias_ih,
                  OptionalArray bias_hh,
                  OptionalArray lengths,
                  OptionalArray h_0,
                  OptionalArray c_0,
                  bool reverse,
                  py::array output,
                  py::array h_n,
                  py::array c_n) {
  CellArrays arrays{x, weight_ih, weight_hh, bias_ih, bias_hh, lengths, h_0, reverse, output, h_n};
  arrays.dispatch(
      [&]<class T>(ops::RecurrenceArgs<T>& sequence) {
        sequence.c_0 = matrix_view<const T>(c_0);
        sequence.c_n = matrix_view<T>(c_n);
      },
      [](const auto& sequence, const auto& weights) { ops::lstm_forward(sequence, weights); });
}

}  // namespace

void register_lstm(py::module_& module) {
  module.def("lstm_forward",
             &lstm_forward,
             py::arg("x"),
             py::arg("weight_ih"),
             py::arg("weight_hh"),
             py::arg("bias_ih"),
             py::arg("bias_hh"),
             py::arg("lengths"),
             py::arg("h_0"),
             py::arg("c_0"),
             py::arg("reverse"),
             py::arg("output"),
             py::arg("h_n"),
             py::arg("c_n"));
}

}  // namespace embedrnn::bindings
