// Which instruction set the kernels run with: the best this machine has, or the one EMBEDRNN_ISA
// names.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "kernels/kernels.h"

namespace embedrnn::runtime {

// The ISAs this machine can run, best first.
std::vector<std::string> isas();

// The kernels in use. Whoever runs kernels takes it once, so that a call never mixes two.
const kernels::Registry& registry();

// Throws std::invalid_argument if the name is unknown or this machine lacks the ISA.
void set_isa(std::string_view name);

// Obeys EMBEDRNN_ISA, if it is set; to be called once, at load time. Throws like set_isa.
void set_isa_from_environment();

}  // namespace embedrnn::runtime
