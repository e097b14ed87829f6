#include "ops/rnn.h"

#include <string_view>

#include "bindings/arrays.h"
#include "bindings/module.h"

namespace embedrnn::bindings {
namespace {

template <class T>
ops::RecurrenceArgs<T> recurrence_args(py::array& x,
                                       const OptionalArray& lengths,
                                       OptionalArray& h_0,
                                       bool reverse,
                                       py::array& output,
                                       py::array& h_n) {
  return {.x = sequence_view<const T>(x),
          .lengths = lengths ? static_cast<const std::int64_t*>(lengths->data()) : nullptr,
          .reverse = reverse,
          .h_0 = matrix_view<const T>(h_0),
          .output = sequence_view<T>(output),
          .h_n = matrix_view<T>(h_n)};
}

void rnn_forward(py::array x,
                 py::array weight_ih,
                 py::array weight_hh,
                 OptionalArray bias_ih,
                 OptionalArray bias_hh,
                 const OptionalArray& lengths,
                 OptionalArray h_0,
                 std::string_view nonlinearity,
                 bool reverse,
                 py::array output,
                 py::array h_n) {
  assert(nonlinearity == "tanh" || nonlinearity == "relu");
  const auto run = [&]<class T>(T) {
    const ops::RnnArgs<T> args{.sequence =
                                   recurrence_args<T>(x, lengths, h_0, reverse, output, h_n),
                               .weight_ih = matrix_view<const T>(weight_ih),
                               .weight_hh = matrix_view<const T>(weight_hh),
                               .bias_ih = vector_view<const T>(bias_ih),
                               .bias_hh = vector_view<const T>(bias_hh),
                               .nonlinearity = nonlinearity == "relu" ? ops::Nonlinearity::kRelu
                                                                      : ops::Nonlinearity::kTanh};
    without_gil([&] {
      ops::rnn_forward(args);
      return true;
    });
  };
  if (holds<double>(x)) {
    run(double{});
  } else {
    run(float{});
  }
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
