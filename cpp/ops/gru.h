// The GRU recurrence, gates in the order r, z, n: h_t = (1 - z) n + z h_{t-1}.
#pragma once

#include "ops/packed_cell.h"

namespace embedrnn::ops {

// Where the reset gate meets the state in n = tanh(x W_n + b_in + ...).
enum class Reset : std::uint8_t {
  kAfter,   // r (h R_n + b_hn), as PyTorch has it
  kBefore,  // (r h) R_n + b_hn, as ONNX has it by default
};

template <class T>
PackedCell<T> pack_gru(const CellWeights<T>& weights, Reset reset);

}  // namespace embedrnn::ops
