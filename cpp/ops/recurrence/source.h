// Where the input products of a walk come from. What the step kernels read is one pointer a row,
// whatever that is: rows of x or of a table, multiplied a tile of steps at a time; or the products
// of distinct rows, made ahead of all steps, or read then from a table that has them.
#pragma once

#include <optional>

#include "ops/costs.h"
#include "ops/recurrence/packed_cell.h"
#include "ops/recurrence/rows.h"
#include "runtime/pool.h"

namespace embedrnn::ops {

template <class T>
class Source {
 public:
  // `products` are those of the distinct rows of the tokens, (distinct, width); null: not made yet.
  Source(const RunArgs<T>& args, const PackedCell<T>& cell, const T* products)
      : x_(args.x), tokens_(args.tokens), batch_(args.batch), cell_(cell), products_(products) {}

  // Whether every step finds its product made.
  bool is_made() const { return products_ != nullptr; }
  const T* product(const Row& row, std::ptrdiff_t step) const {
    return products_ + tokens_.number(row.batch, row.time(batch_, step)) * cell_.packing().width();
  }

  // Elements of what the product of a step is made of.
  std::ptrdiff_t row_width() const {
    return is_frozen() ? cell_.cell().gates * cell_.hidden() : cell_.inputs();
  }
  // Whether that is copied before, to have its numbers side by side.
  bool copies() const {
    return !is_made() && (has_tokens() ? tokens_.read != nullptr : x_.col_stride != 1);
  }
  // What the product of a step is made of; `copy` has room for it.
  const T* row(const Row& row, std::ptrdiff_t step, T* copy) const {
    const std::ptrdiff_t time = row.time(batch_, step);
    if (has_tokens()) return token_row(tokens_.number(row.batch, time), copy);
    const T* const x = x_.at(row.batch, time);
    if (!copies()) return x;
    for (std::ptrdiff_t i = 0; i < cell_.inputs(); ++i) copy[i] = x[i * x_.col_stride];
    return copy;
  }
  const T* token_row(std::int64_t number, T* copy) const {
    if (!copies()) return reinterpret_cast<const T*>(tokens_.row(number));
    tokens_.read({.table = tokens_.table,
                  .table_row_stride = tokens_.row_stride,
                  .table_col_stride = sizeof(T),
                  .ahead = 0,
                  .rows = tokens_.rows + number,
                  .n = 1,
                  .cols = row_width(),
                  .itemsize = sizeof(T),
                  .out = reinterpret_cast<char*>(copy),
                  .out_row_stride = 0,
                  .out_col_stride = sizeof(T),
                  .past_caches = false});
    return copy;
  }

  void fetch_row(std::int64_t number) const {
    const char* const row = tokens_.row(number);
    for (std::ptrdiff_t at = 0; at < tokens_.row_bytes; at += kLineBytes)
      __builtin_prefetch(row + at);
  }

  // Makes the products of m such rows, of some units.
  void multiply(const T* const* rows,
                std::ptrdiff_t m,
                const kernels::UnitRange& units,
                T* products) const {
    if (!is_frozen()) return cell_.multiply(rows, m, units, products);
    cell_.kernels().arrange({.inputs = rows,
                             .m = m,
                             .gates = cell_.cell().gates,
                             .hidden = cell_.hidden(),
                             .units = units,
                             .out = products});
  }

 private:
  bool has_tokens() const { return tokens_.numbers != nullptr; }
  bool is_frozen() const { return has_tokens() && tokens_.path == Path::kFrozen; }

  const Sequences<const T>& x_;
  const Tokens& tokens_;
  const Batch& batch_;
  const PackedCell<T>& cell_;
  const T* products_;
};

// The products of the distinct rows of tokens, each made once, or arranged as the kernels have
// them: some rows at a time, by any thread. Arranged for every step, frozen ones took 1.2 times as
// long.
template <class T>
class DistinctProducts {
 public:
  // Allocates if they are wanted.
  DistinctProducts(const RunArgs<T>& args, const PackedCell<T>& cell)
      : source_(args, cell, nullptr), cell_(cell),
        distinct_(args.tokens.path != Path::kSteps ? args.tokens.distinct : 0),
        copied_(source_.copies() ? source_.row_width() : 0) {
    if (distinct_ == 0) return;
    runtime::Carver measured;
    carve(measured);
    memory_.emplace(measured.used());
    runtime::Carver carver(*memory_);
    carve(carver);
  }

  // Null if there are none.
  const T* products() const { return products_; }

  void make() const {
    const std::ptrdiff_t chunks = (distinct_ + kDistinctRows - 1) / kDistinctRows;
    if (is_worth_threads()) {
      runtime::parallel_for(chunks, [&](std::int64_t chunk) { make_chunk(chunk); });
    } else {
      for (std::ptrdiff_t chunk = 0; chunk < chunks; ++chunk) make_chunk(chunk);
    }
  }

 private:
  bool is_worth_threads() const {
    const double flops = static_cast<double>(distinct_) * flops_of_product(cell_);
    return flops >= 2 * kFlopsPerThread ||
           ops::is_worth_threads(distinct_, cell_.packing().width() * std::ptrdiff_t{sizeof(T)});
  }

  void carve(runtime::Carver& carver) {
    products_ = carver.take<T>(distinct_, cell_.packing().width());
    copies_ = carver.take<T>(copied_ > 0 ? distinct_ : 0, copied_);
  }

  void make_chunk(std::int64_t chunk) const {
    const std::ptrdiff_t first = chunk * kDistinctRows;
    const std::ptrdiff_t n = std::min(kDistinctRows, distinct_ - first);
    const T* rows[kDistinctRows];
    for (std::ptrdiff_t i = 0; i < n; ++i) source_.fetch_row(first + i);
    for (std::ptrdiff_t i = 0; i < n; ++i)
      rows[i] = source_.token_row(first + i, copies_ + (first + i) * copied_);
    T* const out = products_ + first * cell_.packing().width();
    const std::ptrdiff_t calls = calls_of_product(n, cell_.inputs(), cell_.packing().width());
    for (std::ptrdiff_t call = 0; call < calls; ++call) {
      if (call > 0) runtime::checkpoint();
      source_.multiply(rows, n, cell_.packing().units(call, calls), out);
    }
    runtime::checkpoint();
  }

  const Source<T> source_;
  const PackedCell<T>& cell_;
  const std::ptrdiff_t distinct_, copied_;
  std::optional<runtime::Scratch> memory_;
  T *products_ = nullptr, *copies_ = nullptr;
};

}  // namespace embedrnn::ops
