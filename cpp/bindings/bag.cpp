#include "ops/bag.h"

#include "bindings/arrays.h"
#include "bindings/module.h"
#include "bindings/plain.h"

namespace embedrnn::bindings {
namespace {

// (V, D) with rows of their own stride; the rows of an int8 table are arrays of bytes.
template <class S>
ops::BagTable bag_table(const py::array& weight) {
  assert(weight.ndim() == 2);
  assert(weight.size() == 0 || weight.shape(1) == 1 || weight.strides(1) == weight.itemsize());
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

// Where each bag begins and the last one ends, if the caller's offsets are good.
std::optional<std::vector<std::int64_t>> bag_bounds(const py::array& ids, py::handle offsets) {
  if (ids.ndim() == 2 && offsets.is_none()) {
    std::vector<std::int64_t> bounds(static_cast<std::size_t>(ids.shape(0)) + 1);
    for (std::size_t b = 1; b < bounds.size(); ++b) bounds[b] = bounds[b - 1] + ids.shape(1);
    return bounds;
  }
  const auto given = plain_array(offsets, "i");
  if (ids.ndim() != 1 || !given || given->ndim() != 1 || given->itemsize() != 8 ||
      given->size() == 0)
    return std::nullopt;
  const auto* const first = static_cast<const std::int64_t*>(given->data());
  std::vector<std::int64_t> bounds(first, first + given->size());
  bounds.push_back(ids.size());
  if (bounds.front() != 0 || !std::is_sorted(bounds.begin(), bounds.end())) return std::nullopt;
  return bounds;
}

template <class S>
py::object bag_plain(const py::array& table,
                     const py::array& ids,
                     const std::vector<std::int64_t>& bounds,
                     bool mean) {
  constexpr std::ptrdiff_t kHeader = std::is_same_v<S, Int8Row> ? kInt8RowHeader : 0;
  const std::ptrdiff_t n = std::ssize(bounds) - 1, cols = table.shape(1) - kHeader;
  const py::dtype dtype = kHeader > 0 ? py::dtype::of<float>() : table.dtype();
  py::array out(dtype, Shape{n, cols});
  const ops::BagSumArgs<S> args{
      .table = {static_cast<const char*>(table.data()), table.shape(0), cols, table.strides(0)},
      .bags = {.indices = index_view(ids), .offsets = bounds.data(), .n = n},
      .weights = nullptr,
      .mean = mean,
      .out = static_cast<char*>(out.mutable_data()),
      .out_row_stride = out.strides(0)};
  if (without_gil([&] { return ops::bag_sum(args); }) != ops::kAllInRange) return py::none();
  return out;
}

// Sums and means without weights or padding. The rows of an int8 table are bytes, `quantized`.
py::object try_embedding_bag(
    py::handle weight, bool quantized, py::handle indices, py::handle offsets, py::handle mode) {
  const auto table = plain_array(weight, quantized ? "u" : "f");
  const auto ids = plain_array(indices, kIntegers);
  if (!table || table->ndim() != 2 || !ids || !PyUnicode_Check(mode.ptr())) return py::none();
  const bool mean = PyUnicode_CompareWithASCIIString(mode.ptr(), "mean") == 0;
  if (!mean && PyUnicode_CompareWithASCIIString(mode.ptr(), "sum") != 0) return py::none();
  const auto bounds = bag_bounds(*ids, offsets);
  if (!bounds) return py::none();
  if (quantized) return bag_plain<Int8Row>(*table, *ids, *bounds, mean);
  if (holds<float>(*table)) return bag_plain<float>(*table, *ids, *bounds, mean);
  if (holds<double>(*table)) return bag_plain<double>(*table, *ids, *bounds, mean);
  return py::none();
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
  module.def("try_embedding_bag",
             &try_embedding_bag,
             py::arg("weight"),
             py::arg("quantized"),
             py::arg("indices"),
             py::arg("offsets"),
             py::arg("mode"));
}

}  // namespace embedrnn::bindings
