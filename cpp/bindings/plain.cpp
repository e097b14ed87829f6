// The recogniser of each call on rows: it says that the call needs no check, and where the result
// goes. None stands for a call that embedrnn._check has to look at.
#include "bindings/plain.h"

#include "bindings/module.h"
#include "bindings/storage.h"
#include "ops/bag.h"

namespace embedrnn::bindings {
namespace {

bool is_one_of(py::handle text, std::initializer_list<const char*> words) {
  if (!PyUnicode_Check(text.ptr())) return false;
  return std::any_of(
      words.begin(), words.end(), [&](const char* word) { return is_word(text, word); });
}

// The rows that a gather is to fill.
py::object plain_gather(py::handle weight, py::handle indices, py::handle out, py::handle mode) {
  const auto table = plain_array(weight, kNumbers), ids = plain_indices(indices);
  if (!table || !ids || table->ndim() == 0 || !has_row_layout(*table, 1)) return py::none();
  if (!is_one_of(mode, {"raise", "wrap", "clip"})) return py::none();
  if (out.is_none()) {
    Shape shape = rows_shape(*ids, *table);
    if (shape.empty()) return py::none();
    return py::array(table->dtype(), std::move(shape));
  }
  auto rows = plain_array(out, kNumbers);
  if (!rows || !rows->writeable() || !fit(*table, *ids, *rows) || !apart(*rows, *ids) ||
      !is_spread_out(*rows))
    return py::none();
  return *rows;
}

bool plain_scatter_add(py::handle target, py::handle indices, py::handle updates) {
  const auto table = plain_array(target, kReals), rows = plain_array(updates, kReals);
  const auto ids = plain_indices(indices);
  if (!table || !rows || !ids || table->ndim() == 0 || !table->writeable()) return false;
  const bool is_summed =
      table->dtype().kind() != 'f' || holds<float>(*table) || holds<double>(*table);
  return is_summed && fit(*table, *ids, *rows) && apart(*table, *ids) && is_spread_out(*table);
}

// A vector of int64 or int32, C-contiguous.
std::optional<py::array> plain_numbers(py::handle object) {
  auto numbers = plain_array(object, "i");
  if (!numbers || numbers->ndim() != 1 || !is_contiguous(*numbers)) return std::nullopt;
  return numbers->itemsize() == 8 || numbers->itemsize() == 4 ? numbers : std::nullopt;
}

void copy_numbers(const py::array& numbers, std::int64_t* to) {
  if (numbers.itemsize() == 8) {
    std::copy_n(static_cast<const std::int64_t*>(numbers.data()), numbers.size(), to);
  } else {
    std::copy_n(static_cast<const std::int32_t*>(numbers.data()), numbers.size(), to);
  }
}

// How the caller says which items belong to each bag.
struct Bounds {
  py::handle offsets, lengths;
  bool with_last;  // whether the offsets end with the number of items
};

// Where each bag begins and the last one ends, before any rule is applied.
std::optional<py::array_t<std::int64_t>> bounds_of(const py::array& ids, const Bounds& given) {
  if (ids.ndim() == 2 && given.offsets.is_none() && given.lengths.is_none()) {
    py::array_t<std::int64_t> bounds(ids.shape(0) + 1);
    for (py::ssize_t bag = 0; bag < bounds.size(); ++bag)
      bounds.mutable_data()[bag] = bag * ids.shape(1);
    return bounds;
  }
  if (ids.ndim() != 1 || given.offsets.is_none() == given.lengths.is_none()) return std::nullopt;
  const bool by_length = given.offsets.is_none();
  const auto numbers = plain_numbers(by_length ? given.lengths : given.offsets);
  if (!numbers) return std::nullopt;
  const py::ssize_t n = numbers->size();
  if (!by_length && given.with_last) {
    py::array_t<std::int64_t> bounds(n);
    copy_numbers(*numbers, bounds.mutable_data());
    return bounds;
  }
  py::array_t<std::int64_t> bounds(n + 1);
  std::int64_t* const own = bounds.mutable_data();
  if (by_length) {
    own[0] = 0;
    copy_numbers(*numbers, own + 1);
    // Sums wrap, where signed ones could not: a length that makes them fall or jump is found below.
    for (py::ssize_t b = 1; b <= n; ++b)
      own[b] = static_cast<std::int64_t>(static_cast<std::uint64_t>(own[b]) +
                                         static_cast<std::uint64_t>(own[b - 1]));
  } else {
    copy_numbers(*numbers, own);
    own[n] = ids.size();
  }
  return bounds;
}

// The bounds of good bags: a copy, which nobody else writes to.
std::optional<py::array> plain_bounds(const py::array& ids, const Bounds& given) {
  const auto bounds = bounds_of(ids, given);
  if (!bounds || bounds->size() == 0) return std::nullopt;
  const std::int64_t* const own = bounds->data();
  const bool is_whole = own[bounds->size() - 1] == ids.size();
  if (!is_whole || ops::first_bad_offset(own, bounds->size(), ids.size()) != ops::kAllInRange)
    return std::nullopt;
  return *bounds;
}

// The storage of numbers that are summed, as embedrnn._storage names it.
const char* plain_storage(const py::array& numbers) {
  if (holds<float>(numbers)) return "float32";
  if (holds<double>(numbers)) return "float64";
  if (is_float16(numbers.dtype())) return "float16";
  return is_bfloat16(numbers.dtype()) ? "bfloat16" : nullptr;
}

// Whether there are no weights, or one for each index in what sums are formed in.
bool are_plain_weights(py::handle given, const py::array& ids, bool in_double) {
  if (given.is_none()) return true;
  const auto weights = plain_array(given, kFloats);
  return weights && is_contiguous(*weights) && weights->ndim() == ids.ndim() &&
         std::equal(ids.shape(), ids.shape() + ids.ndim(), weights->shape()) &&
         (in_double ? holds<double>(*weights) : holds<float>(*weights));
}

// The storage of the table, the offsets of the bags with the last one, and where they are to go.
py::object plain_bag(py::handle weight,
                     bool int8_rows,
                     py::handle indices,
                     py::handle offsets,
                     py::handle lengths,
                     py::handle mode,
                     py::handle per_sample_weights,
                     py::handle include_last_offset) {
  const auto table = plain_array(weight, int8_rows ? "u" : "fV"), ids = plain_indices(indices);
  if (!table || !ids || table->ndim() != 2 || !has_whole_rows(*table)) return py::none();
  const char* const storage = int8_rows ? kInt8Storage : plain_storage(*table);
  if (storage == nullptr || !is_one_of(mode, {"sum", "mean", "max"})) return py::none();
  if (!PyBool_Check(include_last_offset.ptr())) return py::none();
  if (!per_sample_weights.is_none() && !is_one_of(mode, {"sum"})) return py::none();
  if (!are_plain_weights(per_sample_weights, *ids, holds<double>(*table))) return py::none();
  const auto bounds = plain_bounds(*ids, {offsets, lengths, include_last_offset.ptr() == Py_True});
  if (!bounds) return py::none();
  const py::dtype dtype = int8_rows ? py::dtype::of<float>() : table->dtype();
  const std::ptrdiff_t cols = table->shape(1) - (int8_rows ? kInt8RowHeader : 0);
  return py::make_tuple(storage, *bounds, py::array(dtype, Shape{bounds->size() - 1, cols}));
}

// The storage of the updates.
py::object plain_coalesce(py::handle indices, py::handle updates, py::handle num_embeddings) {
  const auto ids = plain_indices(indices), values = plain_array(updates, "fV");
  if (!ids || !values || !is_contiguous(*values) || values->ndim() < ids->ndim()) return py::none();
  if (!std::equal(ids->shape(), ids->shape() + ids->ndim(), values->shape())) return py::none();
  const char* const storage = plain_storage(*values);
  if (storage == nullptr || !PyLong_CheckExact(num_embeddings.ptr())) return py::none();
  if (PyLong_AsSsize_t(num_embeddings.ptr()) < 0) {
    PyErr_Clear();  // of a number that does not fit
    return py::none();
  }
  return py::str(storage);
}

}  // namespace

void register_plain(py::module_& module) {
  // Held for good, as the pointer is.
  py::object memmap = py::module_::import("numpy").attr("memmap");
  memmap_type = reinterpret_cast<const PyTypeObject*>(memmap.release().ptr());
  module.def("plain_gather",
             &plain_gather,
             py::arg("weight"),
             py::arg("indices"),
             py::arg("out"),
             py::arg("mode"));
  module.def("plain_scatter_add",
             &plain_scatter_add,
             py::arg("target"),
             py::arg("indices"),
             py::arg("updates"));
  module.def("plain_bag",
             &plain_bag,
             py::arg("weight"),
             py::arg("int8_rows"),
             py::arg("indices"),
             py::arg("offsets"),
             py::arg("lengths"),
             py::arg("mode"),
             py::arg("per_sample_weights"),
             py::arg("include_last_offset"));
  module.def("plain_coalesce",
             &plain_coalesce,
             py::arg("indices"),
             py::arg("updates"),
             py::arg("num_embeddings"));
}

}  // namespace embedrnn::bindings
