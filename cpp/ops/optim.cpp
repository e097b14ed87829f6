// A step is shared out by rows; where no rule or row asks for more, by elements.
#include "ops/optim.h"

#include <type_traits>

#include "runtime/pool.h"
#include "runtime/thread_count.h"

namespace embedrnn::ops {
namespace {

template <class S>
kernels::OptimKernel<Sum<S>> kernel_of(OptimRule rule) {
  const kernels::OptimKernels& kernels = runtime::registry().optim;
  const int at = static_cast<int>(rule);
  if constexpr (std::is_same_v<S, float>) {
    return kernels.f32[at];
  } else if constexpr (std::is_same_v<S, double>) {
    return kernels.f64[at];
  } else if constexpr (std::is_same_v<S, Float16>) {
    return kernels.f16[at];
  } else {
    static_assert(std::is_same_v<S, BFloat16>);
    return kernels.bf16[at];
  }
}

// Bytes that a step moves of a row.
template <class S>
std::ptrdiff_t bytes_of_row(const OptimArgs<S>& args) {
  const kernels::OptimNeeds needs = needs_of(args.rule);
  constexpr std::ptrdiff_t kState = sizeof(Sum<S>);
  const std::ptrdiff_t states = needs.states * (needs.row_wise ? kState : args.cols * kState);
  const std::ptrdiff_t grad = args.grad != nullptr ? args.cols * kState : 0;
  return bytes_of_step(args.cols * std::ptrdiff_t{sizeof(S)}, states, grad);
}

// All that the blocks of a call have in common.
template <class S>
kernels::OptimBlock<Sum<S>> common_block(const OptimArgs<S>& args) {
  return {.param = args.param,
          .param_row_stride = args.param_row_stride,
          .states = {args.states[0], args.states[1]},
          .rows = nullptr,
          .first_row = 0,
          .n = 0,
          .cols = args.cols,
          .ahead = rows_ahead(args.n_rows, bytes_of_row(args) / 2, kBytesAhead),
          .grad = args.grad,
          .grad_row_stride = args.grad_row_stride,
          .half_grad = args.half_grad,
          .coefficients = args.coefficients,
          .first_step = args.first_step,
          .step = args.step,
          .last = args.last,
          .rests = args.rests,
          .by_chance = args.by_chance,
          .seed = args.seed,
          .first_element = args.first_element};
}

// Calls step(first, end) for shares of n rows.
template <class S, class Step>
void share_rows(const OptimArgs<S>& args, std::ptrdiff_t n, const Step& step) {
  const std::ptrdiff_t steps = args.step - args.first_step + 1;
  const std::ptrdiff_t row_bytes =
      bytes_of_row(args) * (args.last != nullptr ? steps_of_lagging_row(steps) : 1);
  const std::ptrdiff_t share = rows_a_chunk(n, row_bytes, runtime::num_threads());
  runtime::parallel_for((n + share - 1) / share, [&](std::int64_t chunk) {
    step(chunk * share, std::min((chunk + 1) * share, n));
  });
}

template <class S>
void step_named_rows(const OptimArgs<S>& args, const Resolver& resolve) {
  const auto kernel = kernel_of<S>(args.rule);
  const kernels::OptimBlock<Sum<S>> all = common_block(args);
  share_rows(args, args.indices.n, [&](std::ptrdiff_t begin, std::ptrdiff_t end) {
    resolve.for_blocks(
        begin, end, [&](std::ptrdiff_t first, std::ptrdiff_t n, const std::int64_t* rows) {
          kernels::OptimBlock<Sum<S>> block = all;
          block.rows = rows;
          block.n = n;
          if (all.grad != nullptr) block.grad += first * all.grad_row_stride;
          kernel(block);
        });
  });
}

template <class S>
void step_all_rows(const OptimArgs<S>& args) {
  const auto kernel = kernel_of<S>(args.rule);
  const kernels::OptimBlock<Sum<S>> all = common_block(args);
  share_rows(args, args.n_rows, [&](std::ptrdiff_t first, std::ptrdiff_t end) {
    kernels::OptimBlock<Sum<S>> block = all;
    block.first_row = first;
    block.n = end - first;
    if (all.grad != nullptr) block.grad += first * all.grad_row_stride;
    kernel(block);
  });
}

// Whether a step of all rows is one of all elements, in whatever rows they come.
template <class S>
bool goes_by_elements(const OptimArgs<S>& args) {
  const std::ptrdiff_t grad_item = args.half_grad ? sizeof(S) : sizeof(Sum<S>);
  return args.all_rows && args.grad != nullptr && args.last == nullptr &&
         !needs_of(args.rule).row_wise &&
         args.param_row_stride == args.cols * std::ptrdiff_t{sizeof(S)} &&
         args.grad_row_stride == args.cols * grad_item;
}

// Elements from `first` on as rows of so many columns.
template <class S>
OptimArgs<S> elements_from(const OptimArgs<S>& args,
                           std::ptrdiff_t first,
                           std::ptrdiff_t n_rows,
                           std::ptrdiff_t cols) {
  constexpr std::ptrdiff_t kItem = sizeof(S);
  const std::ptrdiff_t grad_item = args.half_grad ? kItem : std::ptrdiff_t{sizeof(Sum<S>)};
  OptimArgs<S> part = args;
  part.n_rows = n_rows;
  part.cols = cols;
  part.param += first * kItem;
  part.param_row_stride = cols * kItem;
  part.grad += first * grad_item;
  part.grad_row_stride = cols * grad_item;
  part.first_element = static_cast<std::uint64_t>(first);
  for (auto& state : part.states)
    if (state != nullptr) state += first;
  return part;
}

}  // namespace

kernels::OptimNeeds needs_of(OptimRule rule) {
  return runtime::registry().optim.needs[static_cast<int>(rule)];
}

template <class S>
std::ptrdiff_t optim_step(const OptimArgs<S>& args) {
  if (!args.all_rows) {
    const Resolver resolve(args.indices, args.n_rows);
    const std::ptrdiff_t bad = resolve.first_bad();
    if (bad == kAllInRange && args.cols > 0) step_named_rows(args, resolve);
    return bad;
  }
  if (args.cols == 0) return kAllInRange;
  if (!goes_by_elements(args)) return step_all_rows(args), kAllInRange;
  const std::ptrdiff_t n = args.n_rows * args.cols, rows = n / kElementsARow;
  step_all_rows(elements_from(args, 0, rows, kElementsARow));
  step_all_rows(elements_from(args, rows * kElementsARow, 1, n % kElementsARow));
  return kAllInRange;
}

template std::ptrdiff_t optim_step(const OptimArgs<float>&);
template std::ptrdiff_t optim_step(const OptimArgs<double>&);
template std::ptrdiff_t optim_step(const OptimArgs<Float16>&);
template std::ptrdiff_t optim_step(const OptimArgs<BFloat16>&);

}  // namespace embedrnn::ops
