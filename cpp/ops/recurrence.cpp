// Rows are sorted by length once and dealt to groups. With rows enough, each thread has a group of
// its own and waits for no other; a few rows make one group, whose threads share the units of every
// step.
#include "ops/recurrence.h"

#include <algorithm>
#include <memory>
#include <vector>

#include "ops/row_group.h"
#include "ops/walk.h"
#include "runtime/scratch.h"
#include "runtime/team.h"
#include "runtime/threads.h"

namespace embedrnn::ops {
namespace {

// Flops of one step of a group at most, some 10 ms: a Ctrl-C is seen between two.
constexpr double kFlopsPerStep = 1e9;
// Flops of one step that are worth waiting for each other behind it, some 1.5 us.
constexpr double kFlopsPerMeeting = 8e4;
// Steps of the first tile of a team: who comes late joins in the second.
constexpr std::ptrdiff_t kFirstSteps = 4;

template <class T>
std::vector<Row> rows_by_length(const RecurrenceArgs<T>& args) {
  std::vector<Row> rows;
  rows.reserve(static_cast<std::size_t>(args.x.batch));
  for (std::ptrdiff_t b = 0; b < args.x.batch; ++b) {
    rows.push_back({b, args.lengths ? static_cast<std::ptrdiff_t>(args.lengths[b]) : args.x.time});
  }
  std::stable_sort(
      rows.begin(), rows.end(), [](const Row& a, const Row& b) { return a.length > b.length; });
  return rows;
}

// How many groups of rows to make, and the threads of each.
struct Plan {
  std::size_t groups;
  int team;
};

template <class T>
Plan plan_threads(const RecurrenceArgs<T>& args,
                  const Cell<T>& cell,
                  const std::vector<Row>& rows) {
  const auto n = static_cast<double>(rows.size());
  double flops = 0;
  for (const Row& row : rows) flops += static_cast<double>(row.length) * flops_a_step(args, cell);
  const double threads =
      std::clamp(std::min(flops / kFlopsPerThread, static_cast<double>(cell.packing.panels())),
                 1.0,
                 static_cast<double>(runtime::num_threads()));
  const double step =
      2.0 * n * static_cast<double>(cell.packing.width()) * static_cast<double>(args.output.width);
  // The reset-before GRU has two products a step, the second behind all of the first.
  if (threads >= 2 && n < static_cast<double>(kRowsPerThread) * threads &&
      step >= kFlopsPerMeeting && !cell.needs_scratch) {
    return {1, static_cast<int>(threads)};
  }
  const double groups = std::max(
      std::clamp(flops / kFlopsPerThread, 1.0, static_cast<double>(runtime::num_threads())),
      n * flops_a_step(args, cell) / kFlopsPerStep);
  return {static_cast<std::size_t>(std::min(n, groups)), 1};
}

template <class T>
void lead(RowGroup<T>& group, runtime::Team& team, int most) {
  group.start();
  std::ptrdiff_t alive = group.retire(group.size(), 0);
  while (alive > 0) {
    const std::ptrdiff_t steps = group.pairs / alive;
    group.first = group.end;
    group.end = std::min(group.first +
                             (most > 1 && group.first == 0 ? std::min(steps, kFirstSteps) : steps),
                         group.rows.front().length);
    if (!Walk<T>(group, team, 0, team.open()).run_tile(alive)) return;
    while (alive > 0 && group.row(alive - 1).length <= group.end) --alive;
  }
  team.close();
}

template <class T>
void follow(RowGroup<T>& group, runtime::Team& team) {
  team.follow([&](int rank, int size) {
    std::ptrdiff_t alive = group.size();
    while (group.row(alive - 1).length <= group.first) --alive;
    Walk<T>(group, team, rank, size).run_tile(alive);
  });
}

// One group, whose first thread leads.
template <class T>
void run_team(RowGroup<T>& group, int most) {
  runtime::Team team(most);
  runtime::parallel_for(most, [&](std::int64_t chunk) {
    try {
      chunk == 0 ? lead(group, team, most) : follow(group, team);
    } catch (...) {
      team.give_up();
      throw;
    }
  });
}

}  // namespace

template <class T>
void run_recurrence(const RecurrenceArgs<T>& args, const Cell<T>& cell) {
  const std::vector<Row> rows = rows_by_length(args);
  const Plan plan = plan_threads(args, cell, rows);
  std::vector<std::unique_ptr<RowGroup<T>>> groups;
  std::vector<std::size_t> offsets{0};
  for (std::size_t g = 0; g < plan.groups; ++g) {
    std::vector<Row> dealt;  // in turn, so that every group gets long rows and short ones
    for (std::size_t r = g; r < rows.size(); r += plan.groups) dealt.push_back(rows[r]);
    groups.push_back(std::make_unique<RowGroup<T>>(args, cell, std::move(dealt), plan.team));
    offsets.push_back(offsets.back() + groups.back()->scratch_bytes());
  }
  const runtime::Scratch scratch(offsets.back());
  for (std::size_t g = 0; g < plan.groups; ++g) groups[g]->carve(scratch.data() + offsets[g]);
  if (plan.team > 1) return run_team(*groups.front(), plan.team);
  runtime::parallel_for(static_cast<std::int64_t>(plan.groups), [&](std::int64_t chunk) {
    runtime::Team alone(1);
    lead(*groups[static_cast<std::size_t>(chunk)], alone, 1);
  });
}

template void run_recurrence(const RecurrenceArgs<float>&, const Cell<float>&);
template void run_recurrence(const RecurrenceArgs<double>&, const Cell<double>&);

}  // namespace embedrnn::ops
