// How the rows of a call are dealt to groups, and these to threads.
#pragma once

#include "ops/costs.h"
#include "ops/recurrence/group.h"
#include "runtime/team.h"
#include "runtime/thread_count.h"

namespace embedrnn::ops {

struct Plan {
  std::ptrdiff_t groups;
  std::ptrdiff_t threads;  // of each group
  std::ptrdiff_t worth;    // threads that the work as a whole is worth
};

template <class T>
Plan plan_threads(const Batch& batch, const PackedCell<T>& cell, const SortedRows& rows) {
  const double a_step = flops_a_step(cell);
  const double flops = static_cast<double>(GroupRows(rows, 0, 1).pairs()) * a_step;
  const auto n = static_cast<double>(batch.rows);
  const auto most = static_cast<double>(runtime::num_threads());
  const double worth = std::clamp(flops / kFlopsPerThread, 1.0, most);
  if (worth >= 2 && cell.cell().can_share_units()) {
    const double sharing = std::min({worth,
                                     static_cast<double>(cell.packing().panels()),
                                     static_cast<double>(runtime::Team::most_of_use())});
    const double step =
        2.0 * n * static_cast<double>(cell.packing().width()) * static_cast<double>(cell.hidden());
    if (sharing >= 2 && n < static_cast<double>(kRowsPerThread) * sharing &&
        (batch.time == 1 || step >= kFlopsPerMeeting))
      return {1, static_cast<std::ptrdiff_t>(sharing), static_cast<std::ptrdiff_t>(worth)};
  }
  const double groups = std::max(worth, n * a_step / kFlopsPerStep);
  return {static_cast<std::ptrdiff_t>(std::min(n, groups)), 1, static_cast<std::ptrdiff_t>(worth)};
}

}  // namespace embedrnn::ops
