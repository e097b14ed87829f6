// What the bindings of the recurrent cells share.
#pragma once

#include "bindings/arrays.h"
#include "ops/recurrence.h"

namespace embedrnn::bindings {

// The arrays of one cell but for its state, as Python passes them.
struct CellArrays {
  py::array x, weight_ih, weight_hh;
  OptionalArray bias_ih, bias_hh, lengths, h_0;
  bool reverse;
  py::array output, h_n;

  template <class T>
  ops::RecurrenceArgs<T> sequence() {
    return {.x = sequence_view<const T>(x),
            .lengths = lengths ? static_cast<const std::int64_t*>(lengths->data()) : nullptr,
            .reverse = reverse,
            .h_0 = matrix_view<const T>(h_0),
            .c_0 = {},
            .output = sequence_view<T>(output),
            .h_n = matrix_view<T>(h_n),
            .c_n = {}};
  }

  template <class T>
  ops::CellWeights<T> weights() {
    return {.weight_ih = matrix_view<const T>(weight_ih),
            .weight_hh = matrix_view<const T>(weight_hh),
            .bias_ih = vector_view<const T>(bias_ih),
            .bias_hh = vector_view<const T>(bias_hh)};
  }

  // Calls run(sequence, weights) without the GIL, in the dtype of x. `prepare(sequence)` runs with
  // it.
  template <class Prepare, class Run>
  void dispatch(const Prepare& prepare, const Run& run) {
    const auto in_dtype = [&]<class T>(T) {
      ops::RecurrenceArgs<T> arguments = sequence<T>();
      prepare(arguments);
      const ops::CellWeights<T> cell = weights<T>();
      without_gil([&] {
        run(arguments, cell);
        return true;
      });
    };
    holds<double>(x) ? in_dtype(double{}) : in_dtype(float{});
  }
};

}  // namespace embedrnn::bindings
