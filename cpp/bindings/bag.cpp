// Bags of rows, for Python.
#include "ops/bag.h"

#include "bindings/arrays.h"
#include "bindings/module.h"
#include "bindings/storage.h"

namespace embedrnn::bindings {
namespace {

void require_whole_rows(const py::array& array, const char* name) {
  require(has_whole_rows(array) && is_aligned(array), name, "be aligned, with rows in one piece");
}

// A matrix of rows in one piece each, at any distance from each other.
template <class S>
ops::BagTable bag_table(const py::array& array, const char* name) {
  require(array.ndim() == 2, name, "have two axes");
  require_whole_rows(array, name);
  const std::ptrdiff_t header = std::is_same_v<S, Int8Row> ? kInt8RowHeader : 0;
  require(array.shape(1) >= header, name, "hold the scale and the offset of each row");
  return {static_cast<const char*>(array.data()),
          array.shape(0),
          array.shape(1) - header,
          array.strides(0)};
}

// The same, of what sums are formed in.
template <class T>
ops::BagTable sums_table(const py::array& array, const char* name) {
  require(holds<T>(array), name, "have the dtype that sums are formed in");
  return bag_table<T>(array, name);
}

// Where sums go: (n, cols), of the dtype that they are handed out in.
struct Output {
  char* data;
  std::ptrdiff_t row_stride;  // in bytes
};

template <class S>
Output bag_output(const py::array& weight, py::array& out, std::ptrdiff_t n, std::ptrdiff_t cols) {
  require_shape(out, "out", {n, cols});
  const bool fits = std::is_same_v<S, Int8Row> ? holds<float>(out) : same_dtype(out, weight);
  require(fits, "out", "have the dtype that sums are handed out in");
  require_whole_rows(out, "out");
  return {static_cast<char*>(out.mutable_data()), out.strides(0)};
}

ops::Bags bags_of(const py::array& indices, py::array& offsets) {
  const py::ssize_t n_offsets = offsets.size();
  require(n_offsets > 0, "offsets", "hold where the last bag ends");
  return {.indices = index_view(indices),
          .offsets = contiguous_data<const std::int64_t>(offsets, "offsets", {n_offsets}),
          .n = n_offsets - 1};
}

// One weight for each index, in any shape.
template <class T>
const T* weights_of(OptionalArray& weights, const py::array& indices) {
  if (!weights) return nullptr;
  require(weights->size() == indices.size() && is_contiguous(*weights),
          "per_sample_weights",
          "be C-contiguous, one for each index");
  return data<const T>(*weights, "per_sample_weights");
}

std::ptrdiff_t bag_sum(const py::array& weight,
                       const py::str& storage,
                       const py::array& indices,
                       py::array offsets,
                       OptionalArray per_sample_weights,
                       bool mean,
                       py::array out) {
  return in_storage(storage, weight, [&]<class S>(S) {
    const ops::BagTable table = bag_table<S>(weight, "weight");
    const ops::Bags bags = bags_of(indices, offsets);
    const Output sums = bag_output<S>(weight, out, bags.n, table.cols);
    const ops::BagSumArgs<S> args{.table = table,
                                  .bags = bags,
                                  .weights = weights_of<Sum<S>>(per_sample_weights, indices),
                                  .mean = mean,
                                  .out = sums.data,
                                  .out_row_stride = sums.row_stride};
    return without_gil([&] { return ops::bag_sum(args); });
  });
}

std::ptrdiff_t bag_max(const py::array& weight,
                       const py::str& storage,
                       const py::array& indices,
                       py::array offsets,
                       py::array out,
                       OptionalArray winners) {
  return in_storage(storage, weight, [&]<class S>(S) {
    const ops::BagTable table = bag_table<S>(weight, "weight");
    const ops::Bags bags = bags_of(indices, offsets);
    const Output most = bag_output<S>(weight, out, bags.n, table.cols);
    const ops::BagMaxArgs<S> args{
        .table = table,
        .bags = bags,
        .out = most.data,
        .out_row_stride = most.row_stride,
        .winners = contiguous_data<std::int64_t>(winners, "winners", {bags.n, table.cols})};
    return without_gil([&] { return ops::bag_max(args); });
  });
}

std::ptrdiff_t bag_dot(const py::array& weight,
                       const py::str& storage,
                       const py::array& indices,
                       py::array offsets,
                       const py::array& gradient,
                       py::array out) {
  return in_storage(storage, weight, [&]<class S>(S) {
    const ops::BagTable table = bag_table<S>(weight, "weight");
    const ops::Bags bags = bags_of(indices, offsets);
    require_shape(gradient, "gradient", {bags.n, table.cols});
    const ops::BagDotArgs<S> args{.table = table,
                                  .bags = bags,
                                  .gradient = sums_table<Sum<S>>(gradient, "gradient"),
                                  .out = contiguous_data<Sum<S>>(out, "out", {indices.size()})};
    return without_gil([&] { return ops::bag_dot(args); });
  });
}

void bag_add(const py::array& updates,
             const py::array& indices,
             py::array offsets,
             py::array rows,
             py::array target,
             const py::str& storage) {
  in_storage(storage, target, [&]<class O>(O) -> std::ptrdiff_t {
    if constexpr (std::is_same_v<O, Float16> || std::is_same_v<O, BFloat16>) {
      const ops::BagTable sums = bag_table<O>(target, "target");
      const ops::Bags bags = bags_of(indices, offsets);
      require_shape(updates, "updates", {updates.shape(0), sums.cols});
      const ops::BagAddArgs<O> args{.updates = sums_table<float>(updates, "updates"),
                                    .bags = bags,
                                    .rows =
                                        contiguous_data<const std::int64_t>(rows, "rows", {bags.n}),
                                    .target = static_cast<O*>(target.mutable_data()),
                                    .target_row_stride = sums.row_stride};
      return without_gil([&] { return ops::bag_add(args); });
    } else {
      throw py::type_error("bag_add takes a target of halves");
    }
  });
}

// The positions of the items that stay, and the offsets of the bags among them.
py::tuple without_row(const py::array& indices,
                      py::array offsets,
                      std::ptrdiff_t row,
                      std::ptrdiff_t n_rows) {
  const ops::Bags bags = bags_of(indices, offsets);
  py::array_t<std::int64_t> kept(indices.size()), bounds(offsets.size());
  const std::ptrdiff_t n = without_gil([&, to = kept.mutable_data(), own = bounds.mutable_data()] {
    return ops::without_row(bags, row, n_rows, to, own);
  });
  return py::make_tuple(kept[py::slice(0, n, 1)], bounds);
}

std::ptrdiff_t first_bad_offset(py::array offsets, std::ptrdiff_t items) {
  const std::ptrdiff_t n = offsets.size();
  return ops::first_bad_offset(
      contiguous_data<const std::int64_t>(offsets, "offsets", {n}), n, items);
}

}  // namespace

void register_bag(py::module_& module) {
  module.def("bag_sum",
             &bag_sum,
             py::arg("weight"),
             py::arg("storage"),
             py::arg("indices"),
             py::arg("offsets"),
             py::arg("per_sample_weights"),
             py::arg("mean"),
             py::arg("out"));
  module.def("bag_max",
             &bag_max,
             py::arg("weight"),
             py::arg("storage"),
             py::arg("indices"),
             py::arg("offsets"),
             py::arg("out"),
             py::arg("winners"));
  module.def("bag_dot",
             &bag_dot,
             py::arg("weight"),
             py::arg("storage"),
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
             py::arg("target"),
             py::arg("storage"));
  module.def("without_row",
             &without_row,
             py::arg("indices"),
             py::arg("offsets"),
             py::arg("row"),
             py::arg("n_rows"));
  module.def("first_bad_offset", &first_bad_offset, py::arg("offsets"), py::arg("items"));
}

}  // namespace embedrnn::bindings
