// The module: what each file of this folder adds to it.
#include "bindings/module.h"

#include <vector>

#include <pybind11/numpy.h>

namespace {

// Makes now what pybind11 and NumPy make at their first use, for which they run Python code: a
// first call on a thread that the interpreter ends meanwhile would end the process.
void use_numpy_once() {
  pybind11::array(pybind11::dtype::of<float>(), std::vector<pybind11::ssize_t>{1});
}

// False in a sub-interpreter, where no signal comes, and where pybind11 asks for the GIL by
// PyGILState_Ensure, which before Python 3.12 waits for ever.
bool in_main_interpreter() { return PyInterpreterState_Get() == PyInterpreterState_Main(); }

constexpr const char* kMainInterpreterOnly =
    "embedrnn works in the main interpreter of a process only, not in a sub-interpreter";

}  // namespace

// The pool is guarded by locks and nothing else is shared, so the module keeps its promises without
// the GIL.
PYBIND11_MODULE(_core_of_main_interpreter, m, pybind11::mod_gil_not_used()) {
  // PyInit__core has not seen it from Python 3.13 on, which calls that in the main interpreter.
  if (!in_main_interpreter()) throw pybind11::import_error(kMainInterpreterOnly);
  m.doc() = "Compiled kernels of embedrnn. Arguments are those that embedrnn._check has passed.";
  m.attr("__version__") = EMBEDRNN_VERSION;
  use_numpy_once();
  embedrnn::bindings::register_runtime(m);
  embedrnn::bindings::register_plain(m);
  embedrnn::bindings::register_rows(m);
  embedrnn::bindings::register_coalesce(m);
  embedrnn::bindings::register_bag(m);
  embedrnn::bindings::register_optim(m);
  embedrnn::bindings::register_recurrence(m);
}

// What Python calls, in place of pybind11's own function, which takes the GIL first of all.
// NOLINTNEXTLINE(bugprone-reserved-identifier, readability-identifier-naming): a name of Python's
extern "C" PYBIND11_EXPORT PyObject* PyInit__core() {
  if (in_main_interpreter()) return PyInit__core_of_main_interpreter();
  PyErr_SetString(PyExc_ImportError, kMainInterpreterOnly);
  return nullptr;
}
