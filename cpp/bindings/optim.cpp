// Steps of optimisers, for Python.
#include "ops/optim.h"

#include <vector>

#include "bindings/arrays.h"
#include "bindings/module.h"
#include "bindings/storage.h"

namespace embedrnn::bindings {
namespace {

using kernels::OptimNeeds;

OptimRule rule_of(const py::str& name) {
  if (is_word(name, "sgd")) return OptimRule::kSgd;
  if (is_word(name, "momentum")) return OptimRule::kMomentum;
  if (is_word(name, "adagrad")) return OptimRule::kAdagrad;
  if (is_word(name, "row_wise_adagrad")) return OptimRule::kRowWiseAdagrad;
  require(is_word(name, "adam"), "rule", "be that of an optimiser");
  return OptimRule::kAdam;
}

// What a step is told beside the arrays that it steps.
struct OptimStep {
  OptimRule rule;
  std::int64_t step;
  bool rests;
  std::optional<std::uint64_t> seed;
};

template <class S>
void set_states(ops::OptimArgs<S>& args, std::vector<py::array>& states) {
  const OptimNeeds needs = ops::needs_of(args.rule);
  require(static_cast<int>(states.size()) == needs.states, "states", "be those of the rule");
  for (std::size_t k = 0; k < states.size(); ++k) {
    args.states[k] = needs.row_wise
                         ? contiguous_data<Sum<S>>(states[k], "states", {args.n_rows})
                         : contiguous_data<Sum<S>>(states[k], "states", {args.n_rows, args.cols});
  }
}

template <class S>
void set_grad(ops::OptimArgs<S>& args, OptionalArray& grad) {
  require(grad || args.last != nullptr, "grad", "be given where no step is missed");
  if (!grad) return;
  const std::ptrdiff_t n = args.all_rows ? args.n_rows : args.indices.n;
  args.half_grad = sizeof(S) == 2 && grad->itemsize() == 2;
  require(args.half_grad || holds<Sum<S>>(*grad), "grad", "have the dtype of param or its sums");
  require(grad->ndim() == 2 && grad->shape(0) == n && grad->shape(1) == args.cols &&
              has_whole_rows(*grad) && is_aligned(*grad),
          "grad",
          "have a row in one piece for each row that is stepped");
  args.grad = static_cast<const char*>(grad->data());
  args.grad_row_stride = grad->strides(0);
}

template <class S>
void set_coefficients(ops::OptimArgs<S>& args, py::array& coefficients, const OptimStep& call) {
  require(coefficients.ndim() == 2, "coefficients", "have two axes");
  const py::ssize_t steps = coefficients.shape(0);
  require(steps >= 1 && steps <= call.step, "coefficients", "be those of steps up to this one");
  args.coefficients = contiguous_data<const Sum<S>>(
      coefficients, "coefficients", {steps, ops::needs_of(call.rule).coefficients});
  args.step = call.step;
  args.first_step = call.step - steps + 1;
}

template <class S>
std::ptrdiff_t optim_step_as(py::array& param,
                             std::vector<py::array>& states,
                             const OptionalArray& indices,
                             OptionalArray& grad,
                             py::array& coefficients,
                             OptionalArray& last,
                             const OptimStep& call) {
  require(param.ndim() == 2 && has_whole_rows(param) && is_aligned(param),
          "param",
          "be a matrix of rows in one piece each");
  ops::OptimArgs<S> args;
  args.rule = call.rule;
  args.param = static_cast<char*>(param.mutable_data());
  args.n_rows = param.shape(0);
  args.cols = param.shape(1);
  args.param_row_stride = param.strides(0);
  args.all_rows = !indices;
  if (indices) args.indices = index_view(*indices);
  args.last = contiguous_data<std::int64_t>(last, "last", {args.n_rows});
  args.rests = call.rests;
  args.by_chance = call.seed.has_value();
  args.seed = call.seed.value_or(0);
  set_states(args, states);
  set_grad(args, grad);
  set_coefficients(args, coefficients, call);
  return without_gil([&] { return ops::optim_step(args); });
}

std::ptrdiff_t optim_step(const py::str& rule,
                          py::array param,
                          const py::str& storage,
                          std::vector<py::array> states,
                          const OptionalArray& indices,
                          OptionalArray grad,
                          py::array coefficients,
                          std::int64_t step,
                          OptionalArray last,
                          bool rests,
                          std::optional<std::uint64_t> seed) {
  const OptimStep call{rule_of(rule), step, rests, seed};
  return in_storage(storage, param, [&]<class S>(S) -> std::ptrdiff_t {
    if constexpr (std::is_same_v<S, Int8Row>) {
      throw py::type_error("optim_step takes parameters that are floats");
    } else {
      return optim_step_as<S>(param, states, indices, grad, coefficients, last, call);
    }
  });
}

}  // namespace

void register_optim(py::module_& module) {
  module.def("optim_step",
             &optim_step,
             py::arg("rule"),
             py::arg("param"),
             py::arg("storage"),
             py::arg("states"),
             py::arg("indices"),
             py::arg("grad"),
             py::arg("coefficients"),
             py::arg("step"),
             py::arg("last"),
             py::arg("rests"),
             py::arg("seed"));
}

}  // namespace embedrnn::bindings
