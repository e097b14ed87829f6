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

}  // namespace

// The pool is guarded by locks and nothing else is shared, so the module keeps its promises without
// the GIL.
PYBIND11_MODULE(_core, m, pybind11::mod_gil_not_used()) {
  m.doc() = "Compiled kernels of embedrnn. Arguments are those that embedrnn._check has passed.";
  m.attr("__version__") = EMBEDRNN_VERSION;
  use_numpy_once();
  embedrnn::bindings::register_runtime(m);
  embedrnn::bindings::register_plain(m);
  embedrnn::bindings::register_rows(m);
  embedrnn::bindings::register_coalesce(m);
  embedrnn::bindings::register_bag(m);
  embedrnn::bindings::register_recurrence(m);
}
