// From Python arrays to the views of ops. Arrays come untyped and checked: array_t would cost four
// times as much a call and could cast or copy unasked. What the pointer of a view takes for granted
// of its array is required here in every build: a binding that only assumed it would read other
// memory the day that embedrnn._check changes or is passed by.
#pragma once

#include <algorithm>
#include <chrono>
#include <exception>
#include <initializer_list>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <type_traits>

#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include "ops/dims.h"
#include "runtime/interrupt.h"

namespace embedrnn::bindings {

namespace py = pybind11;
using OptionalArray = std::optional<py::array>;

// Throws std::invalid_argument, a ValueError to Python, if an argument breaks a rule.
inline void require(bool kept, const char* name, const char* rule) {
  if (!kept) [[unlikely]]
    throw std::invalid_argument(std::string(name) + " must " + rule);
}

inline void
require_shape(const py::array& array, const char* name, std::initializer_list<py::ssize_t> shape) {
  const py::ssize_t* const sizes = array.shape();
  require(std::equal(sizes, sizes + array.ndim(), shape.begin(), shape.end()),
          name,
          "have the shape that the other arguments call for");
}

inline void require_shape(const OptionalArray& array,
                          const char* name,
                          std::initializer_list<py::ssize_t> shape) {
  if (array) require_shape(*array, name, shape);
}

// Whether a text is this word. Words come as py::str: a std::string_view would cost an allocation,
// in which pybind11 keeps the text alive.
inline bool is_word(py::handle text, const char* word) {
  return PyUnicode_CompareWithASCIIString(text.ptr(), word) == 0;
}

template <class T>
bool holds(const py::array& array) {
  using Element = std::remove_const_t<T>;
  return array.dtype().num() == py::detail::npy_format_descriptor<Element>::value;
}

inline bool same_dtype(const py::array& a, const py::array& b) {
  return a.dtype().num() == b.dtype().num();
}

// As holds(), but that integers may have another sign: they are read by their bits.
template <class T>
bool has_bits_of(const py::array& array) {
  if constexpr (std::is_integral_v<T>) {
    const char kind = array.dtype().kind();
    return (kind == 'i' || kind == 'u') && array.itemsize() == std::ptrdiff_t{sizeof(T)};
  }
  return holds<T>(array);
}

inline bool is_aligned(const py::array& array) {
  return (array.flags() & py::detail::npy_api::NPY_ARRAY_ALIGNED_) != 0;
}

inline bool is_contiguous(const py::array& array) {
  return (array.flags() & py::array::c_style) != 0;
}

// Whether the columns of each row of a matrix lie side by side.
inline bool has_whole_rows(const py::array& array) {
  return array.size() == 0 || array.shape(1) == 1 || array.strides(1) == array.itemsize();
}

// The data as T, which is const for an input. py::array::mutable_data also refuses a read-only
// array.
template <class T>
T* data(py::array& array, const char* name) {
  require(has_bits_of<T>(array), name, "have the dtype that the other arguments call for");
  require(is_aligned(array), name, "be aligned");
  if constexpr (std::is_const_v<T>) {
    return static_cast<T*>(array.data());
  } else {
    return static_cast<T*>(array.mutable_data());
  }
}

// The data of an array of this shape whose elements lie one behind the other.
template <class T>
T* contiguous_data(py::array& array, const char* name, std::initializer_list<py::ssize_t> shape) {
  require_shape(array, name, shape);
  require(is_contiguous(array), name, "be C-contiguous");
  return data<T>(array, name);
}

template <class T>
T* contiguous_data(OptionalArray& array,
                   const char* name,
                   std::initializer_list<py::ssize_t> shape) {
  return array ? contiguous_data<T>(*array, name, shape) : nullptr;
}

// In elements; the arrays are aligned, so strides are whole.
template <class T>
std::ptrdiff_t stride(const py::array& array, int axis) {
  return array.strides(axis) / std::ptrdiff_t{sizeof(T)};
}

template <class T>
ops::VectorView<T> vector_view(OptionalArray& array, const char* name) {
  if (!array) return {};
  require(array->ndim() == 1, name, "have one axis");
  return {data<T>(*array, name), stride<T>(*array, 0)};
}

// An array as rows, over which its first `leading` axes run. Strides in bytes.
struct RowLayout {
  std::ptrdiff_t cols, row_stride, col_stride;
};

// Whether an array can be read so: any vector or matrix, and every C-contiguous array.
inline bool has_row_layout(const py::array& array, py::ssize_t leading) {
  return is_contiguous(array) || (leading == 1 && array.ndim() <= 2);
}

inline RowLayout row_layout(const py::array& array, py::ssize_t leading, const char* name) {
  require(array.ndim() >= leading && has_row_layout(array, leading), name, "consist of rows");
  std::ptrdiff_t cols = 1;
  for (py::ssize_t axis = leading; axis < array.ndim(); ++axis) cols *= array.shape(axis);
  const std::ptrdiff_t itemsize = array.itemsize();
  if (is_contiguous(array)) return {cols, cols * itemsize, itemsize};
  return {cols, array.strides(0), array.ndim() == 2 ? array.strides(1) : itemsize};
}

// n rows of an array of T.
template <class T>
ops::MatrixView<T>
rows_view(py::array& array, py::ssize_t leading, std::ptrdiff_t n, const char* name) {
  constexpr std::ptrdiff_t kItem = sizeof(T);
  const RowLayout rows = row_layout(array, leading, name);
  return {data<T>(array, name), n, rows.cols, rows.row_stride / kItem, rows.col_stride / kItem};
}

template <class T>
ops::MatrixView<T> matrix_view(py::array& array, const char* name) {
  require(array.ndim() == 2, name, "have two axes");
  return rows_view<T>(array, 1, array.shape(0), name);
}

inline ops::IndexView index_view(const py::array& array) {
  const char kind = array.dtype().kind();
  const std::ptrdiff_t itemsize = array.itemsize();
  require((kind == 'i' || kind == 'u') && itemsize <= 8, "indices", "be integers");
  require(is_contiguous(array) && is_aligned(array), "indices", "be C-contiguous and aligned");
  const int log_size = itemsize == 1 ? 0 : itemsize == 2 ? 1 : itemsize == 4 ? 2 : 3;
  return {array.data(),
          array.size(),
          static_cast<IndexType>(log_size + (kind == 'u' ? 4 : 0)),
          itemsize};
}

// Takes the GIL back. If the interpreter is exiting, the thread never gets it: Python before 3.14
// then ends the thread by unwinding its stack, through frames that would let go of references
// without the GIL. The destructor stops that here, and the thread stays for ever, as it does in
// PyEval_RestoreThread itself from 3.14 on.
inline void take_gil(PyThreadState* state) {
  struct Stay {
    bool taken = false;
    ~Stay() {
      while (!taken) std::this_thread::sleep_for(std::chrono::hours(1));
    }
  } stay;
  PyEval_RestoreThread(state);
  stay.taken = true;
}

// Runs a call of ops without the GIL, so that other Python threads go on; Ctrl-C ends it with
// KeyboardInterrupt. All data pointers and shapes are read before.
template <class F>
auto without_gil(const F& call) {
  std::exception_ptr error;
  std::invoke_result_t<F> result{};
  PyThreadState* const state = PyEval_SaveThread();
  try {
    const runtime::Call scope;
    result = call();
  } catch (...) {
    error = std::current_exception();
  }
  take_gil(state);
  if (PyErr_Occurred() != nullptr) throw py::error_already_set();  // from a signal handler
  if (error) std::rethrow_exception(error);
  return result;
}

}  // namespace embedrnn::bindings
