// The Elman cell: h' = act(x W_ih^T + b + h W_hh^T).
#pragma once

#include "gemm-inl.h"
#include "math-inl.h"

namespace embedrnn::kernels {
namespace {

// Activates `rows` by `vectors` pre-activations in place and copies them to the output rows, from
// unit `first` on. A pass of its own behind the product, so that its code is there once and not in
// each register block.
template <class T, Vec<T> (*Activation)(Vec<T>)>
void activate_tile(const RnnStep<T>& s,
                   std::ptrdiff_t row,
                   std::ptrdiff_t rows,
                   std::ptrdiff_t first,
                   std::ptrdiff_t vectors) noexcept {
  const std::ptrdiff_t stride = s.vectors * kLanes<T>;
  for (std::ptrdiff_t r = row; r < row + rows; ++r) {
    T* const state = s.h_next + r * stride;
    T* const output = s.output[r];
    for (std::ptrdiff_t unit = first * kLanes<T>; unit < (first + vectors) * kLanes<T>;
         unit += kLanes<T>) {
      const Vec<T> h = Activation(load(state + unit));
      store(state + unit, h);
      const std::ptrdiff_t left = s.hidden - unit;
      if (left >= kLanes<T>) {
        store(output + unit, h);
      } else {
        store_first(output + unit, h, left);
      }
    }
  }
}

template <class T>
void rnn_step(const RnnStep<T>& s) noexcept {
  const std::ptrdiff_t stride = s.vectors * kLanes<T>;
  for_panels<T, kPanelVectors>(
      s.weight_hh, s.vectors, s.hidden, [&](auto v, std::ptrdiff_t first, const T* panel) {
        constexpr int kVectors = decltype(v)::value;
        for_row_blocks<kBlockRows<kPanelVectors>>(s.rows, [&](auto r, std::ptrdiff_t row) {
          constexpr int kRows = decltype(r)::value;
          const std::ptrdiff_t at = row * stride + first * kLanes<T>;
          Vec<T> acc[kRows][kVectors];
          const T* h_prev[kRows];
          for (int i = 0; i < kRows; ++i) h_prev[i] = s.h_prev + (row + i) * stride;
          load_tile(acc, s.projected + at, stride);
          multiply_add(acc, h_prev, panel, s.hidden);
          store_tile(acc, s.h_next + at, stride);
          if (s.relu) {
            activate_tile<T, relu<T>>(s, row, kRows, first, kVectors);
          } else {
            activate_tile<T, tanh<T>>(s, row, kRows, first, kVectors);
          }
        });
      });
}

}  // namespace
}  // namespace embedrnn::kernels
