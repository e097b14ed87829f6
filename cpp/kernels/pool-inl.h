// One vector of each row from its states, step after step.
#pragma once

#include "kernels.h"
#include "simd-inl.h"

namespace embedrnn::kernels {
namespace {

template <class T, class Combine>
EMBEDRNN_INLINE void pool_units(const PoolBlock<T>& p, const Combine& combine) {
  const std::ptrdiff_t state = (p.hidden + kLanes<T> - 1) / kLanes<T> * kLanes<T>;
  const std::ptrdiff_t first = p.units.first * kLanes<T>, end = p.units.end * kLanes<T>;
  for (std::ptrdiff_t row = 0; row < p.rows; ++row) {
    for (std::ptrdiff_t u = row * state + first; u < row * state + end; u += kLanes<T>)
      store(p.to + u, combine(load(p.to + u), load(p.from + u)));
  }
}

template <class T>
void pool(const PoolBlock<T>& p) noexcept {
  if (p.is_max) {
    // What is not a number is neither greater nor less: one that is there stays, another one comes.
    pool_units(p, [](Vec<T> most, Vec<T> v) { return ((v > most) | (v != v)) ? v : most; });
  } else {
    pool_units(p, [](Vec<T> sum, Vec<T> v) { return sum + v; });
  }
}

}  // namespace
}  // namespace embedrnn::kernels
