// The functions that each file of this folder adds to the module.
#pragma once

#include <pybind11/pybind11.h>

namespace embedrnn::bindings {

void register_bag(pybind11::module_& module);
void register_coalesce(pybind11::module_& module);
void register_optim(pybind11::module_& module);
void register_plain(pybind11::module_& module);
void register_recurrence(pybind11::module_& module);
void register_rows(pybind11::module_& module);
void register_runtime(pybind11::module_& module);

}  // namespace embedrnn::bindings
