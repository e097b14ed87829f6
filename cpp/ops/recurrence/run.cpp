// Rows are sorted by length once and dealt to groups. With rows enough, each thread has a group of
// its own and waits for no other. A few rows make one group, whose threads share the units of every
// step; they meet behind each, unless it is the only one.
#include "ops/recurrence/packed_cell.h"
#include "ops/recurrence/plan.h"
#include "ops/recurrence/walk.h"
#include "runtime/pool.h"
#include "runtime/team.h"

namespace embedrnn::ops {
namespace {

// Moves the tile on; its first step is that behind the last of the tile before.
template <class T>
void next_tile(Group<T>& group, std::ptrdiff_t alive, std::ptrdiff_t most_steps) {
  group.first = group.end;
  group.end =
      std::min(group.first + std::min(group.pairs / alive, most_steps), group.rows.longest());
}

// Walks alone, or as the leader of a team.
template <class T>
void lead(Group<T>& group, runtime::Team* team) {
  std::ptrdiff_t alive = group.start();
  while (alive > 0) {
    const bool is_first = team != nullptr && group.end == 0;
    next_tile(group, alive, is_first ? kFirstSteps : group.rows.longest());
    int size = team != nullptr ? team->open() : 1;
    Walk<T> walk(group, 0, size);
    const auto meet_and_retire = [&](std::ptrdiff_t step, std::ptrdiff_t in_step) {
      const int left = team != nullptr ? team->arrive(0, size, step) : 1;
      if (left == 0) return false;
      if (left < size) walk.take_all_units();
      size = left;
      group.retire(step + 1, in_step);
      return true;
    };
    if (!walk.run_tile(alive, meet_and_retire)) return;
    alive = group.rows.alive(group.end, alive);
  }
  if (team != nullptr) team->close();
}

template <class T>
void follow(Group<T>& group, runtime::Team& team) {
  team.follow([&](int rank, int size) {
    const std::ptrdiff_t alive = group.rows.alive(group.first, group.rows.size());
    Walk<T>(group, rank, size).run_tile(alive, [&](std::ptrdiff_t step, std::ptrdiff_t) {
      return team.arrive(rank, size, step) > 0;
    });
  });
}

template <class T>
void run_as_team(Group<T>& group) {
  const double flops = static_cast<double>(group.rows.size()) * flops_a_step(group.cell);
  runtime::Team team(static_cast<int>(group.threads),
                     patience_of_team(flops / static_cast<double>(group.threads)));
  runtime::parallel_for(group.threads, [&](std::int64_t chunk) {
    try {
      chunk == 0 ? lead(group, &team) : follow(group, team);
    } catch (...) {
      team.give_up();
      throw;
    }
  });
}

// Behind the one step nobody waits: its shares may be run in any order, on any thread.
template <class T>
void run_one_step(Group<T>& group) {
  const std::ptrdiff_t alive = group.start();
  if (alive == 0) return;
  next_tile(group, alive, 1);
  runtime::parallel_for(group.threads, [&](std::int64_t rank) {
    const auto go_on = [](std::ptrdiff_t, std::ptrdiff_t) { return true; };
    Walk<T>(group, rank, group.threads).run_tile(alive, go_on);
  });
  group.retire(1, alive);
}

}  // namespace

template <class T>
void PackedCell<T>::run(const RunArgs<T>& args, runtime::KeptScratch& scratch) const {
  if (args.batch.rows == 0) return;
  const SortedRows rows(args.batch);
  const Tape<T> tape(*this, rows, args);
  const DistinctProducts<T> distinct(args, *this);
  const Source<T> source(args, *this, distinct.products());
  const Plan plan = plan_threads(args.batch, *this, rows);
  const auto group_of = [&](std::ptrdiff_t g) {
    return Group<T>(args, *this, source, tape, GroupRows(rows, g, plan.groups), plan.threads);
  };
  Group<T> first = group_of(0);  // the largest
  if (plan.groups == 1) {
    return scratch.with([&](runtime::Carver& carver) { first.carve(carver); },
                        [&] {
                          distinct.make();
                          if (plan.threads == 1) return lead<T>(first, nullptr);
                          args.batch.time == 1 ? run_one_step(first) : run_as_team(first);
                        });
  }
  runtime::Carver measured;
  first.carve(measured);
  const std::size_t bytes = measured.used();
  std::byte* memory = nullptr;
  scratch.with(
      [&](runtime::Carver& carver) {
        memory = carver.take<std::byte>(static_cast<std::ptrdiff_t>(bytes), plan.groups);
      },
      [&] {
        distinct.make();
        runtime::parallel_for(plan.groups, [&](std::int64_t g) {
          Group<T> group = group_of(g);
          runtime::Carver carver(memory + static_cast<std::size_t>(g) * bytes, bytes);
          group.carve(carver);
          lead<T>(group, nullptr);
        });
      });
}

template class PackedCell<float>;
template class PackedCell<double>;

}  // namespace embedrnn::ops
