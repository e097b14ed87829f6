// Steps of optimisers on the rows of a parameter.
#pragma once

#include "ops/resolve.h"

namespace embedrnn::ops {

// T is what a parameter of S is stepped in. Nothing that is written overlaps anything else.
template <class S>
struct OptimArgs {
  using T = Sum<S>;
  OptimRule rule = OptimRule::kSgd;
  char* param = nullptr;                                      // (V, cols) of S, rows in one piece
  std::ptrdiff_t n_rows = 0, cols = 0, param_row_stride = 0;  // the stride in bytes
  T* states[kernels::kMostOptimStates] = {};  // those of the rule: (V, cols), or (V) if row-wise
  bool all_rows = true;
  IndexView indices;           // (n): those to step, distinct, if not all
  const char* grad = nullptr;  // (n, cols) of T, or of S if those are halves; null: none
  std::ptrdiff_t grad_row_stride = 0;
  bool half_grad = false;
  const T* coefficients = nullptr;        // (step - first_step + 1, those of the rule)
  std::int64_t first_step = 0, step = 0;  // counted from 1
  std::int64_t* last = nullptr;           // (V): see OptimBlock; so the three below
  bool rests = false;
  bool by_chance = false;
  std::uint64_t seed = 0, first_element = 0;
};

kernels::OptimNeeds needs_of(OptimRule rule);

// Steps rows with their gradient; without one, brings rows that have missed steps up to date. The
// same bits at any thread count. Returns the position of the first index out of range, and then has
// written nothing, or kAllInRange.
template <class S>
[[nodiscard]] std::ptrdiff_t optim_step(const OptimArgs<S>& args);

}  // namespace embedrnn::ops
