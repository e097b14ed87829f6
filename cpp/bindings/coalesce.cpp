#include "ops/coalesce.h"

#include <utility>

#include "bindings/arrays.h"
#include "bindings/module.h"

namespace embedrnn::bindings {
namespace {

// Returns the first bad position or -1, and the number of distinct rows.
std::pair<std::ptrdiff_t, std::ptrdiff_t> group_rows(const py::array& indices,
                                                     std::ptrdiff_t n_rows,
                                                     py::array rows,
                                                     py::array positions,
                                                     py::array offsets) {
  const ops::GroupArgs args{.indices = index_view(indices),
                            .n_rows = n_rows,
                            .rows = data<std::int64_t>(rows),
                            .positions = data<std::int64_t>(positions),
                            .offsets = data<std::int64_t>(offsets)};
  const ops::Grouped grouped = without_gil([&] { return ops::group_rows(args); });
  return {grouped.bad, grouped.count};
}

}  // namespace

void register_coalesce(py::module_& module) {
  module.def("group_rows",
             &group_rows,
             py::arg("indices"),
             py::arg("n_rows"),
             py::arg("rows"),
             py::arg("positions"),
             py::arg("offsets"));
}

}  // namespace embedrnn::bindings
