// What forward keeps for backward: a record of each valid (row, step) pair, step after step of the
// walk, and in each the rows alive, longest first, whatever the threads.
//
// A record holds the input of the step, rounded up to whole vectors, unless that was a token, and
// behind it the state rows that the kernel of the cell keeps, the hidden state before the step
// first.
#pragma once

#include <vector>

#include "ops/recurrence/packed_cell.h"
#include "ops/recurrence/rows.h"

namespace embedrnn::ops {

// Elements that a row of n is rounded up to, and from one row to the next: not a multiple of 2 KB,
// whose lines would fall on the same few places of a cache.
template <class T>
std::ptrdiff_t spread_apart(std::ptrdiff_t n) {
  constexpr std::ptrdiff_t kLine = 64 / std::ptrdiff_t{sizeof(T)}, kSets = 32 * kLine;
  const std::ptrdiff_t whole = (n + kLine - 1) / kLine * kLine;
  return whole % kSets == 0 ? whole + kLine : whole;
}

inline std::ptrdiff_t whole_vectors(std::ptrdiff_t n, std::ptrdiff_t lanes) {
  return (n + lanes - 1) / lanes * lanes;
}

// How the records of a cell are laid out, in elements.
template <class T>
struct TapeLayout {
  TapeLayout(const PackedCell<T>& cell, bool has_input)
      : inputs(has_input ? whole_vectors(cell.inputs(), cell.packing().lanes()) : 0),
        record(spread_apart<T>(inputs + cell.cell().kept * cell.packing().state())) {}

  std::ptrdiff_t inputs;  // of the input: the kept rows begin behind it
  std::ptrdiff_t record;  // of all, and from one record to the next
};

// Where the pairs of each step begin, and behind the last step the number of all pairs.
class PairStarts {
 public:
  PairStarts() = default;
  explicit PairStarts(const SortedRows& rows) {
    const GroupRows all(rows, 0, 1);
    const std::ptrdiff_t longest = all.size() > 0 ? all.longest() : 0;
    starts_.reserve(static_cast<std::size_t>(longest) + 1);
    starts_.push_back(0);
    std::ptrdiff_t alive = all.size();
    for (std::ptrdiff_t step = 0; step < longest; ++step) {
      alive = all.alive(step, alive);
      starts_.push_back(starts_.back() + alive);
    }
  }

  std::ptrdiff_t steps() const { return std::ssize(starts_) - 1; }
  std::ptrdiff_t operator[](std::ptrdiff_t step) const {
    return starts_[static_cast<std::size_t>(step)];
  }

 private:
  std::vector<std::ptrdiff_t> starts_;
};

// The tape that forward writes, if one is wanted.
template <class T>
class Tape {
 public:
  // Allocates if it is.
  Tape(const PackedCell<T>& cell, const SortedRows& rows, const RunArgs<T>& args)
      : has_input_(args.tokens.numbers == nullptr), layout_(cell, has_input_),
        inputs_(cell.inputs()), records_(args.tape) {
    if (is_on()) starts_ = PairStarts(rows);
  }

  bool is_on() const { return records_ != nullptr; }
  bool records_inputs() const { return is_on() && has_input_; }

  // Of a row by its number among all.
  T* kept(std::ptrdiff_t step, std::ptrdiff_t row) const { return at(step, row) + layout_.inputs; }
  void record_input(std::ptrdiff_t step, std::ptrdiff_t row, const T* x) const {
    T* const to = at(step, row);
    std::fill(std::copy_n(x, inputs_, to), to + layout_.inputs, T{0});
  }

 private:
  T* at(std::ptrdiff_t step, std::ptrdiff_t row) const {
    return records_ + (starts_[step] + row) * layout_.record;
  }

  bool has_input_;
  TapeLayout<T> layout_;
  std::ptrdiff_t inputs_;
  T* records_;
  PairStarts starts_;
};

}  // namespace embedrnn::ops
