// How tables store numbers, by the names that embedrnn._storage has for them.
#pragma once

#include <atomic>
#include <string>

#include "bindings/arrays.h"

namespace embedrnn::bindings {

inline constexpr const char* kInt8Storage = "int8";

// Whether this is the bfloat16 of ml_dtypes.
inline bool is_bfloat16(const py::dtype& dtype) {
  static std::atomic<int> number{-1};  // which NumPy gives the dtype when ml_dtypes makes it known
  if (dtype.num() == number.load()) return true;
  if (dtype.kind() != 'V' || dtype.itemsize() != 2 || dtype.has_fields()) return false;
  if (dtype.attr("name").cast<std::string>() != "bfloat16") return false;
  number.store(dtype.num());
  return true;
}

inline bool is_float16(const py::dtype& dtype) {
  return dtype.kind() == 'f' && dtype.itemsize() == 2;
}

// Calls run(S{}) for the type that a table of this storage consists of. The array may have any
// dtype of that size: NumPy itself does not know bfloat16, and int8 rows are bytes.
template <class Run>
auto in_storage(const py::str& storage, const py::array& table, const Run& run) {
  const auto of_size = [&](std::ptrdiff_t bytes) {
    require(table.itemsize() == bytes, "storage", "be that of the table");
  };
  if (is_word(storage, "float32")) return of_size(4), run(float{});
  if (is_word(storage, "float64")) return of_size(8), run(double{});
  if (is_word(storage, "float16")) return of_size(2), run(Float16{});
  if (is_word(storage, "bfloat16")) return of_size(2), run(BFloat16{});
  require(is_word(storage, kInt8Storage), "storage", "be a float dtype or int8");
  return of_size(1), run(Int8Row{});
}

}  // namespace embedrnn::bindings
