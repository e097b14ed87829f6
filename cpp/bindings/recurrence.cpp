// The packed cell, which is the same class for every kind of cell.
#include "bindings/recurrence.h"

#include "bindings/module.h"

namespace embedrnn::bindings {
namespace {

void forward(const PackedCell& packed,
             py::array x,
             OptionalArray lengths,
             OptionalArray h_0,
             OptionalArray c_0,
             bool reverse,
             py::array output,
             py::array h_n,
             OptionalArray c_n) {
  const auto run = [&]<class T>(const ops::PackedCell<T>& cell) {
    const ops::RecurrenceArgs<T> args{
        .x = sequence_view<const T>(x),
        .lengths = lengths ? static_cast<const std::int64_t*>(lengths->data()) : nullptr,
        .reverse = reverse,
        .h_0 = matrix_view<const T>(h_0),
        .c_0 = matrix_view<const T>(c_0),
        .output = sequence_view<T>(output),
        .h_n = matrix_view<T>(h_n),
        .c_n = matrix_view<T>(c_n)};
    without_gil([&] {
      cell.forward(args);
      return true;
    });
  };
  std::visit(run, packed.cell);
}

void step(PackedCell& packed,
          py::array x_t,
          py::array h,
          OptionalArray c,
          py::array h_out,
          OptionalArray c_out) {
  const auto run = [&]<class T>(ops::PackedCell<T>& cell) {
    const ops::StepArgs<T> args{.x = matrix_view<const T>(x_t),
                                .h = matrix_view<const T>(h),
                                .c = matrix_view<const T>(c),
                                .h_out = matrix_view<T>(h_out),
                                .c_out = matrix_view<T>(c_out)};
    without_gil([&] {
      cell.step(args);
      return true;
    });
  };
  std::visit(run, packed.cell);
}

}  // namespace

void register_recurrence(const py::module_& module) {
  // An ordinary class to Python: the metaclass of pybind11 is for static properties.
  py::class_<PackedCell>(
      module, "PackedCell", py::metaclass(reinterpret_cast<PyObject*>(&PyType_Type)))
      .def("forward",
           &forward,
           py::arg("x"),
           py::arg("lengths"),
           py::arg("h_0"),
           py::arg("c_0"),
           py::arg("reverse"),
           py::arg("output"),
           py::arg("h_n"),
           py::arg("c_n"))
      .def("step",
           &step,
           py::arg("x_t"),
           py::arg("h"),
           py::arg("c"),
           py::arg("h_out"),
           py::arg("c_out"));
}

}  // namespace embedrnn::bindings
