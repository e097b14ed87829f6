// The functions that each file of this folder adds to the module.
#pragma once

#include <pybind11/pybind11.h>

namespace embedrnn::bindings {

void register_bag(pybind11::module_& module);
void register_coalesce(pybind11::module_& module);
void register_embedding(pybind11::module_& module);
void register_gru(pybind11::module_& module);
void register_lstm(pybind11::module_& module);
void register_recurrence(const pybind11::module_& module);
void register_rnn(pybind11::module_& module);
void register_runtime(pybind11::module_& module);

}  // namespace embedrnn::bindings
