#include "ops/bag.h"

#include "bindings/arrays.h"
#include "bindings/module.h"

namespace embedrnn::bindings {
namespace {

// (V, D) with rows of their own stride; the rows of an int8 table are arrays of bytes.
template <class S>
ops::BagTable bag_table(const py::array& weight) {
  assert(weight.ndim() == 2 && (weight.shape(1) < 2 || weight.strides(1) == weight.itemsize()));
  const std::ptrdiff_t header = std::is_same_v<S, Int8Row> ? kInt8RowHeader : 0;
  return {static_cast<const char*>(weight.data()),
          weight.shape(0),
          weight.shape(1) - header,
          weight.strides(0)};
}

ops::Bags bags_of(const py::array& indices, const OptionalArray& offsets) {
  return {.indices = index_view(indices),
          .offsets = offsets ? static_cast<const std::int64_t*>(offsets->data()) : nullptr,
          .n = offsets ? offsets->size() - 1 : indices.size()};
}

template <class T>
T* optional_data(OptionalArray& array) {
  return array ? data<T>(*array) : nullptr;
}

// Calls run(S{}) for what the table stores: uint16 stands for bfloat16, which NumPy does not know,
// and uint8 for the rows of an int8 table.
template <class Run>
std::ptrdiff_t in_storage(const py::array& weight, const Run& run) {
  switch (weight.dtype().kind()) {
  case 'u':
    return weight.itemsize() == 2 ? run(BFloat16{}) : run(Int8Row{});
  default:
    return weight.itemsize() == 2   ? run(Float16{})
           : weight.itemsize() == 4 ? run(float{})
                                    : run(double{});
  }
}

std::ptrdiff_t bag_sum(const py::array& weight,
                       const py::array& indices,
                       const OptionalArray& offsets,
                       OptionalArray per_sample_weights,
                       bool mean,
                       py::array out) {
  return in_storage(weight, [&]<class S>(S) {
    const ops::BagSumArgs<S> args{.table = bag_table<S>(weight),
                                  .bags = bags_of(indices, offsets),
                                  .weights = optional_data<const Sum<S>>(per_sample_weights),
                                  .mean = mean,
                                  .out = static_cast<char*>(out.mutable_data()),
                                  .out_row_stride = out.strides(0)};
    return without_gil([&] { return ops::bag_sum(args); });
  });
}

std::ptrdiff_t bag_max(const py::array& weight,
                       const py::array& indices,
                       const OptionalArray& offsets,
                       py::array out,
                       OptionalArray winners) {
  return in_storage(weight, [&]<class S>(S) {
    const ops::BagMaxArgs<S> args{.table = bag_table<S>(weight),
                                  .bags = bags_of(indices, offsets),
                                  .out = static_cast<char*>(out.mutable_data()),
                                  .out_row_stride = out.strides(0),
                                  .winners = optional_data<std::int64_t>(winners)};
    return without_gil([&] { return ops::bag_max(args); });
  });
}

std::ptrdiff_t bag_dot(const py::array& weight,
                       const py::array& indices,
                       const OptionalArray& offsets,
                       py::array gradient,
                       py::array out) {
  return in_storage(weight, [&]<class S>(S) {
    const ops::BagDotArgs<S> args{.table = bag_table<S>(weight),
                                  .bags = bags_of(indices, offsets),
                                  .gradient = data<const Sum<S>>(gradient),
                                  .out = data<Sum<S>>(out)};
    return without_gil([&] { return ops::bag_dot(args); });
  });
}

void bag_add(const py::array& updates,
             const py::array& indices,
             const py::array& offsets,
             py::array rows,
             py::array target) {
  in_storage(target, [&]<class O>(O) -> std::ptrdiff_t {
    if constexpr (std::is_same_v<O, Float16> || std::is_same_v<O, BFloat16>) {
      const ops::BagAddArgs<O> args{.updates = bag_table<float>(updates),
                                    .bags = bags_of(indices, offsets),
                                    .rows = data<const std::int64_t>(rows),
                                    .target = static_cast<O*>(target.mutable_data()),
                                    .target_row_stride = target.strides(0)};
      return without_gil([&] { return ops::bag_add(args); });
    } else {
      throw py::type_error("bag_add takes a target of halves");
    }
  });
}

}  // namespace

void register_bag(py::module_& module) {
  module.def("bag_sum",
             &bag_sum,
             py::arg("weight"),
             py::arg("indices"),
             py::arg("offsets"),
             py::arg("per_sample_weights"),
             py::arg("mean"),
             py::arg("out"));
  module.def("bag_max",
             &bag_max,
             py::arg("weight"),
             py::arg("indices"),
             py::arg("offsets"),
             py::arg("out"),
             py::arg("winners"));
  module.def("bag_dot",
             &bag_dot,
             py::arg("weight"),
             py::arg("indices"),
             py::arg("offsets"),
             py::arg("gradient"),
             py::arg("out"));
  module.def("bag_add",
             &bag_add,
             py::arg("updates"),
             py::arg("indices"),
             py::arg("offsets"),
             py::arg("rows"),
             py::arg("target"));
}

}  // namespace embedrnn::bindings
