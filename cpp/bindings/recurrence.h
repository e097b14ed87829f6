// What the bindings of the recurrent cells share.
#pragma once

#include <memory>
#include <variant>

#include "bindings/arrays.h"
#include "ops/packed_cell.h"

namespace embedrnn::bindings {

// The packed cell that Python holds, in the dtype of its weights.
struct PackedCell {
  std::variant<ops::PackedCell<float>, ops::PackedCell<double>> cell;
};

// The weights of a cell, as Python passes them.
struct WeightArrays {
  py::array weight_ih, weight_hh;
  OptionalArray bias_ih, bias_hh;

  // Returns pack(weights) of the dtype of the weights, made without the GIL.
  template <class Pack>
  std::unique_ptr<PackedCell> pack(const Pack& pack) {
    return holds<double>(weight_ih) ? pack_in<double>(pack) : pack_in<float>(pack);
  }

 private:
  template <class T, class Pack>
  std::unique_ptr<PackedCell> pack_in(const Pack& pack) {
    const ops::CellWeights<T> weights{.weight_ih = matrix_view<const T>(weight_ih),
                                      .weight_hh = matrix_view<const T>(weight_hh),
                                      .bias_ih = vector_view<const T>(bias_ih),
                                      .bias_hh = vector_view<const T>(bias_hh)};
    return without_gil([&] { return std::make_unique<PackedCell>(PackedCell{pack(weights)}); });
  }
};

}  // namespace embedrnn::bindings
