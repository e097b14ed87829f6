// Backward, a tile of steps at a time, from the last: first the walk back of all rows, then the
// products of the tile, shared by outputs. With rows enough, each thread has a group of its own;
// the threads of a few rows share the units of every step, and meet behind it.
#include "ops/recurrence/plan.h"
#include "ops/recurrence/products.h"
#include "ops/recurrence/walk_back.h"
#include "runtime/pool.h"

namespace embedrnn::ops {
namespace {

// Walks alone, or as the leader of a team.
template <class T>
void lead_back(GroupBack<T>& group, const GateTile<T>& tile, runtime::Team* team) {
  for (std::ptrdiff_t end = tile.end_step; end > tile.first_step; end = group.first) {
    const bool waits = team != nullptr && end == tile.end_step;
    group.end = end;
    group.first = waits ? std::max(tile.first_step, end - kFirstSteps) : tile.first_step;
    int size = team != nullptr ? team->open() : 1;
    WalkBack<T> walk(group, tile, 0, size);
    const auto meet = [&](std::ptrdiff_t step) {
      const int left = team != nullptr ? team->arrive(0, size, tile.end_step - 1 - step) : 1;
      if (left == 0) return false;
      if (left < size) walk.take_all_units();
      size = left;
      return true;
    };
    if (!walk.run(meet)) return;
  }
  if (team != nullptr) team->close();
}

template <class T>
void follow_back(const GroupBack<T>& group, const GateTile<T>& tile, runtime::Team& team) {
  team.follow([&](int rank, int size) {
    WalkBack<T>(group, tile, rank, size).run([&](std::ptrdiff_t step) {
      return team.arrive(rank, size, tile.end_step - 1 - step) > 0;
    });
  });
}

template <class T>
void run_back_as_team(GroupBack<T>& group, const GateTile<T>& tile) {
  const double flops = 2 * static_cast<double>(group.rows.size()) * flops_a_step(group.cell);
  runtime::Team team(static_cast<int>(group.threads),
                     patience_of_team(flops / static_cast<double>(group.threads)));
  runtime::parallel_for(group.threads, [&](std::int64_t chunk) {
    try {
      chunk == 0 ? lead_back(group, tile, &team) : follow_back(group, tile, team);
    } catch (...) {
      team.give_up();
      throw;
    }
  });
}

template <class T>
class RunBack {
 public:
  // Allocates all that the call needs, but for its scratch.
  RunBack(const BackArgs<T>& args, const PackedCell<T>& cell)
      : args_(args), rows_(args.batch), starts_(rows_), cell_(cell),
        plan_(plan_threads(args.batch, cell, rows_)), tokens_(args.tokens, cell),
        products_(args, cell, weights_, tokens_, plan_.worth) {
    tile_.stride = spread_apart<T>(cell.cell().gradients() * cell.packing().state());
    groups_.reserve(static_cast<std::size_t>(plan_.groups));
    for (std::ptrdiff_t g = 0; g < plan_.groups; ++g)
      groups_.emplace_back(
          args, cell, weights_, starts_, GroupRows(rows_, g, plan_.groups), plan_.threads);
  }

  void run() {
    runtime::KeptScratch scratch;
    scratch.with([&](runtime::Carver& carver) { carve(carver); }, [&] { run_tiles(); });
  }

 private:
  void carve(runtime::Carver& carver) {
    const std::ptrdiff_t pairs = most_pairs();
    weights_.carve(carver, cell_, args_.wants_inputs());
    tile_.gates = carver.take<T>(pairs, tile_.stride);
    tile_.gate_rows = carver.take<const T*>(pairs);
    tile_.x_rows = carver.take<T*>(pairs);
    tile_.tokens = carver.take<std::int64_t>(tokens_.tile.pairs > 0 ? pairs : 0);
    tokens_.carve(carver);
    x_copy_ = carver.take<T>(products_.copied(pairs));
    for (GroupBack<T>& group : groups_) group.carve(carver);
  }

  void run_tiles() {
    weights_.pack(cell_, args_.wants_inputs());
    tokens_.start();
    for (const GroupBack<T>& group : groups_) group.start();
    for (std::ptrdiff_t end = starts_.steps(); end > 0; end = tile_.first_step) {
      begin_tile(end);
      walk_tile();
      multiply_tile();
    }
    for_chunks(products_.chunks_at_end(), [&](std::int64_t chunk) { products_.run_at_end(chunk); });
    for (const GroupBack<T>& group : groups_) group.finish();
  }

  // The tile that ends at a step: whole steps, and of more than one no more pairs than planned.
  void begin_tile(std::ptrdiff_t end) {
    tile_.end_step = end;
    tile_.first_step = end - 1;
    while (tile_.first_step > 0 && starts_[end] - starts_[tile_.first_step - 1] <= planned_pairs())
      --tile_.first_step;
    tile_.first_pair = starts_[tile_.first_step];
    tile_.pairs = starts_[end] - tile_.first_pair;
  }

  void walk_tile() {
    if (plan_.threads > 1) return run_back_as_team(groups_.front(), tile_);
    runtime::parallel_for(plan_.groups, [&](std::int64_t g) {
      lead_back<T>(groups_[static_cast<std::size_t>(g)], tile_, nullptr);
    });
  }

  // The first chunks are what comes back from the first step of the tile, of a group each, unless
  // that is an initial state which nobody wants.
  void multiply_tile() {
    const std::ptrdiff_t groups = tile_.first_step > 0 || args_.wants_initial() ? plan_.groups : 0;
    for_chunks(groups + products_.chunks(tile_), [&](std::int64_t chunk) {
      if (chunk >= groups) return products_.run(chunk - groups, tile_, x_copy_);
      const GroupBack<T>& group = groups_[static_cast<std::size_t>(chunk)];
      WalkBack<T>(group, tile_, 0, 1)
          .come_back(tile_.first_step, group.rows.alive(tile_.first_step, group.rows.size()));
    });
  }

  std::ptrdiff_t planned_pairs() const {
    const std::ptrdiff_t row_bytes = tile_.stride * std::ptrdiff_t{sizeof(T)};
    return std::max(kBackTilePairs, kBackTileBytes / std::max<std::ptrdiff_t>(1, row_bytes));
  }
  std::ptrdiff_t most_pairs() const {
    return std::min(starts_[starts_.steps()], std::max(rows_.size(), planned_pairs()));
  }

  template <class Body>
  void for_chunks(std::ptrdiff_t chunks, const Body& body) const {
    if (plan_.worth > 1) return runtime::parallel_for(chunks, body);
    for (std::ptrdiff_t chunk = 0; chunk < chunks; ++chunk) {
      body(chunk);
      runtime::checkpoint();
    }
  }

  const BackArgs<T>& args_;
  const SortedRows rows_;
  const PairStarts starts_;
  const PackedCell<T>& cell_;
  const Plan plan_;
  BackWeights<T> weights_;
  TokenTile<T> tokens_;
  const Products<T> products_;
  std::vector<GroupBack<T>> groups_;
  GateTile<T> tile_;
  T* x_copy_ = nullptr;
};

}  // namespace

template <class T>
std::ptrdiff_t PackedCell<T>::record(bool has_input) const {
  return TapeLayout<T>(*this, has_input).record;
}

template <class T>
void PackedCell<T>::backward(const BackArgs<T>& args) const {
  if (args.batch.rows > 0) RunBack<T>(args, *this).run();
}

template std::ptrdiff_t PackedCell<float>::record(bool) const;
template std::ptrdiff_t PackedCell<double>::record(bool) const;
template void PackedCell<float>::backward(const BackArgs<float>&) const;
template void PackedCell<double>::backward(const BackArgs<double>&) const;

}  // namespace embedrnn::ops
