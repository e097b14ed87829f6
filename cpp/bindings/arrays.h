// From Python arrays to the views of ops. Arrays come untyped and checked: array_t would cost four
// times as much a call and could cast or copy unasked. The asserts restate what embedrnn._check
// promises.
#pragma once

#include <cassert>
#include <exception>
#include <optional>
#include <type_traits>

#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include "ops/dims.h"
#include "runtime/threads.h"

namespace embedrnn::bindings {

namespace py = pybind11;
using OptionalArray = std::optional<py::array>;

template <class T>
bool holds(const py::array& array) {
  using Element = std::remove_const_t<T>;
  return array.dtype().num() == py::detail::npy_format_descriptor<Element>::value;
}

// The same, but that integers may have another sign: they are read by their bits.
template <class T>
bool has_bits_of(const py::array& array) {
  if constexpr (std::is_integral_v<T>) return array.itemsize() == std::ptrdiff_t{sizeof(T)};
  return holds<T>(array);
}

// The data as T, which is const for an input. py::array::mutable_data also refuses a read-only
// array.
template <class T>
T* data(py::array& array) {
  assert(has_bits_of<T>(array));
  if constexpr (std::is_const_v<T>) {
    return static_cast<T*>(array.data());
  } else {
    return static_cast<T*>(array.mutable_data());
  }
}

// In elements; the arrays are aligned, so strides are whole.
template <class T>
std::ptrdiff_t stride(const py::array& array, int axis) {
  return array.strides(axis) / std::ptrdiff_t{sizeof(T)};
}

template <class T>
ops::VectorView<T> vector_view(OptionalArray& array) {
  if (!array) return {};
  assert(array->ndim() == 1);
  return {data<T>(*array), stride<T>(*array, 0)};
}

// (n) counts as (n, 1).
template <class T>
ops::MatrixView<T> matrix_view(py::array& array) {
  assert(array.ndim() == 1 || array.ndim() == 2);
  const bool matrix = array.ndim() == 2;
  return {data<T>(array),
          array.shape(0),
          matrix ? array.shape(1) : 1,
          stride<T>(array, 0),
          matrix ? stride<T>(array, 1) : 1};
}

template <class T>
ops::MatrixView<T> matrix_view(OptionalArray& array) {
  return array ? matrix_view<T>(*array) : ops::MatrixView<T>{};
}

template <class T>
ops::SequenceView<T> sequence_view(py::array& array) {
  assert(array.ndim() == 3);
  return {data<T>(array),
          array.shape(0),
          array.shape(1),
          array.shape(2),
          stride<T>(array, 0),
          stride<T>(array, 1),
          stride<T>(array, 2)};
}

inline ops::IndexView index_view(const py::array& array) {
  const char kind = array.dtype().kind();
  assert((kind == 'i' || kind == 'u') && (array.flags() & py::array::c_style));
  const std::ptrdiff_t itemsize = array.itemsize();
  const int log_size = itemsize == 1 ? 0 : itemsize == 2 ? 1 : itemsize == 4 ? 2 : 3;
  return {array.data(),
          array.size(),
          static_cast<IndexType>(log_size + (kind == 'u' ? 4 : 0)),
          itemsize};
}

// Runs a call of ops without the GIL, so that other Python threads go on; Ctrl-C ends it with
// KeyboardInterrupt. All data pointers and shapes are read before. Not a gil_scoped_release: when
// the interpreter exits meanwhile, taking the GIL back unwinds the thread, which a destructor must
// not do.
template <class F>
auto without_gil(const F& call) {
  std::exception_ptr error;
  std::invoke_result_t<F> result{};
  PyThreadState* const state = PyEval_SaveThread();
  try {
    runtime::start_interrupt_clock();
    result = call();
  } catch (...) {
    error = std::current_exception();
  }
  PyEval_RestoreThread(state);
  if (PyErr_Occurred() != nullptr) throw py::error_already_set();  // from a signal handler
  if (error) std::rethrow_exception(error);
  return result;
}

}  // namespace embedrnn::bindings
