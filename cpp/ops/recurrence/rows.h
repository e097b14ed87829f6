// The rows of a batch, longest first, and which of them are alive.
#pragma once

#include <algorithm>
#include <vector>

#include "ops/recurrence/args.h"

namespace embedrnn::ops {

struct Row {
  std::ptrdiff_t batch;   // its number in the caller's batch
  std::ptrdiff_t length;  // valid steps

  // The time that the row is at in a step of the walk.
  std::ptrdiff_t time(const Batch& of, std::ptrdiff_t step) const {
    return of.reverse ? length - 1 - step : step;
  }
  // Whether its state before the step is the initial one again.
  bool is_reset(const Batch& of, std::ptrdiff_t step) const {
    return of.resets.data != nullptr && *of.resets.at(batch, time(of, step)) != 0;
  }
};

// All rows of a batch. Allocates where there are lengths to sort by.
class SortedRows {
 public:
  explicit SortedRows(const Batch& batch) : n_(batch.rows), time_(batch.time) {
    if (batch.lengths == nullptr) return;
    sorted_.reserve(static_cast<std::size_t>(n_));
    for (std::ptrdiff_t b = 0; b < n_; ++b)
      sorted_.push_back({b, static_cast<std::ptrdiff_t>(batch.lengths[b])});
    std::sort(sorted_.begin(), sorted_.end(), [](const Row& a, const Row& b) {
      return a.length != b.length ? a.length > b.length : a.batch < b.batch;
    });
  }

  std::ptrdiff_t size() const { return n_; }
  Row operator[](std::ptrdiff_t i) const {
    return sorted_.empty() ? Row{i, time_} : sorted_[static_cast<std::size_t>(i)];
  }

 private:
  std::ptrdiff_t n_, time_;
  std::vector<Row> sorted_;
};

// The rows that one of several groups has: they are dealt in turn, so that every group gets long
// rows and short ones, and the first gets the most steps.
class GroupRows {
 public:
  GroupRows(const SortedRows& rows, std::ptrdiff_t group, std::ptrdiff_t groups)
      : rows_(rows), group_(group), groups_(groups),
        n_(groups == 1 ? rows.size() : (rows.size() - group + groups - 1) / groups) {}

  std::ptrdiff_t size() const { return n_; }
  Row operator[](std::ptrdiff_t i) const { return rows_[number(i)]; }
  // Where row i stands among those of all groups.
  std::ptrdiff_t number(std::ptrdiff_t i) const { return group_ + i * groups_; }
  std::ptrdiff_t longest() const { return (*this)[0].length; }

  // How many rows, which come first, are longer than so many steps; `before` were when there had
  // been fewer steps.
  std::ptrdiff_t alive(std::ptrdiff_t step, std::ptrdiff_t before) const {
    while (before > 0 && (*this)[before - 1].length <= step) --before;
    return before;
  }

  // The (row, step) pairs in which a row is alive.
  std::ptrdiff_t pairs() const {
    std::ptrdiff_t sum = 0;
    for (std::ptrdiff_t i = 0; i < n_; ++i) sum += (*this)[i].length;
    return sum;
  }

 private:
  const SortedRows& rows_;
  std::ptrdiff_t group_, groups_, n_;
};

}  // namespace embedrnn::ops
