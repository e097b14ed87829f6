#include "bindings/module.h"

// The pool is guarded by locks and nothing else is shared, so the module keeps its promises without
// the GIL.
PYBIND11_MODULE(_core, m, pybind11::mod_gil_not_used()) {
  m.doc() = "Compiled kernels of embedrnn. Arguments are those that embedrnn._check has passed.";
  m.attr("__version__") = EMBEDRNN_VERSION;
  embedrnn::bindings::register_runtime(m);
  embedrnn::bindings::register_embedding(m);
  embedrnn::bindings::register_coalesce(m);
  embedrnn::bindings::register_bag(m);
  embedrnn::bindings::register_recurrence(m);
  embedrnn::bindings::register_rnn(m);
  embedrnn::bindings::register_gru(m);
  embedrnn::bindings::register_lstm(m);
}
