// Rows of a table, for Python: gather and scatter_add.
#include "bindings/arrays.h"
#include "bindings/module.h"
#include "bindings/storage.h"
#include "ops/gather.h"
#include "ops/scatter.h"

namespace embedrnn::bindings {
namespace {

IndexMode index_mode(const py::str& name) {
  if (is_word(name, "raise")) return IndexMode::kRaise;
  if (is_word(name, "wrap")) return IndexMode::kWrap;
  require(is_word(name, "clip"), "mode", "be raise, wrap or clip");
  return IndexMode::kClip;
}

// What comes of int8 rows in an output of this dtype.
ops::Rows int8_rows_as(const py::dtype& dtype) {
  if (is_float16(dtype)) return ops::Rows::kInt8AsFloat16;
  if (is_bfloat16(dtype)) return ops::Rows::kInt8AsBFloat16;
  require(dtype.num() == py::dtype::of<float>().num(), "out", "be float32, float16 or bfloat16");
  return ops::Rows::kInt8AsFloat;
}

// Any dtype but int8 rows is copied as it is.
std::ptrdiff_t gather(const py::array& weight,
                      const std::optional<py::str>& storage,
                      const py::array& indices,
                      const py::str& mode,
                      py::array out,
                      bool old_out) {
  const bool int8_rows = storage && is_word(*storage, kInt8Storage);
  const RowLayout from = row_layout(weight, 1, "weight");
  const RowLayout to = row_layout(out, indices.ndim(), "out");
  const auto rows = int8_rows ? int8_rows_as(out.dtype()) : ops::Rows::kAsStored;
  require(int8_rows || (same_dtype(out, weight) && out.itemsize() == weight.itemsize()),
          "out",
          "have the dtype of what weight stores");
  require(to.cols == (int8_rows ? from.cols - kInt8RowHeader : from.cols) &&
              std::equal(indices.shape(), indices.shape() + indices.ndim(), out.shape()),
          "out",
          "have a row for each index");
  if (int8_rows) {
    require(weight.itemsize() == 1 && has_whole_rows(weight), "weight", "have rows of bytes");
    require(is_aligned(out) && to.col_stride == out.itemsize(),
            "out",
            "be aligned, with rows in one piece");
  }
  const ops::GatherArgs args{.table = static_cast<const char*>(weight.data()),
                             .n_rows = weight.shape(0),
                             .cols = to.cols,
                             .itemsize = out.itemsize(),
                             .table_row_stride = from.row_stride,
                             .table_col_stride = from.col_stride,
                             .rows = rows,
                             .indices = index_view(indices),
                             .mode = index_mode(mode),
                             .out = static_cast<char*>(out.mutable_data()),
                             .out_row_stride = to.row_stride,
                             .out_col_stride = to.col_stride,
                             .old_out = old_out};
  return without_gil([&] { return ops::gather(args); });
}

template <class T, class U>
std::ptrdiff_t scatter_add_as(py::array& target, const py::array& indices, py::array& updates) {
  require(target.ndim() > 0, "target", "have an axis");
  const ops::ScatterAddArgs<T, U> args{
      .target = rows_view<T>(target, 1, target.shape(0), "target"),
      .indices = index_view(indices),
      .updates = rows_view<const U>(
          updates, updates.ndim() - target.ndim() + 1, indices.size(), "updates")};
  require(updates.size() == args.updates.rows * args.target.cols,
          "updates",
          "have a row of the target's width for each index");
  return without_gil([&] { return ops::scatter_add(args); });
}

// Integers are added by their bits, in which signed and unsigned sums are the same.
std::ptrdiff_t scatter_add(py::array target, const py::array& indices, py::array updates) {
  if (target.dtype().kind() == 'f') {
    if (holds<double>(target)) return scatter_add_as<double, double>(target, indices, updates);
    if (holds<double>(updates)) return scatter_add_as<float, double>(target, indices, updates);
    return scatter_add_as<float, float>(target, indices, updates);
  }
  switch (target.itemsize()) {
  case 1:
    return scatter_add_as<std::uint8_t, std::uint8_t>(target, indices, updates);
  case 2:
    return scatter_add_as<std::uint16_t, std::uint16_t>(target, indices, updates);
  case 4:
    return scatter_add_as<std::uint32_t, std::uint32_t>(target, indices, updates);
  default:
    return scatter_add_as<std::uint64_t, std::uint64_t>(target, indices, updates);
  }
}

std::ptrdiff_t first_out_of_range(const py::array& indices, std::ptrdiff_t n_rows) {
  const ops::Resolver resolve(index_view(indices), n_rows);
  return without_gil([&] { return resolve.first_bad(); });
}

}  // namespace

void register_rows(py::module_& module) {
  module.def("first_out_of_range", &first_out_of_range, py::arg("indices"), py::arg("n_rows"));
  module.def("gather",
             &gather,
             py::arg("weight"),
             py::arg("storage"),
             py::arg("indices"),
             py::arg("mode"),
             py::arg("out"),
             py::arg("old_out"));
  module.def(
      "scatter_add", &scatter_add, py::arg("target"), py::arg("indices"), py::arg("updates"));
}

}  // namespace embedrnn::bindings
