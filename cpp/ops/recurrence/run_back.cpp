// Backward, a tile of steps at a time, from the last: the walk back of all rows, each group on a
// thread of its own, and behind it the products of the tile, shared by outputs.
#include "ops/recurrence/plan.h"
#include "ops/recurrence/products.h"
#include "runtime/pool.h"

namespace embedrnn::ops {
namespace {

template <class T>
class RunBack {
 public:
  // Allocates all that the call needs.
  RunBack(const BackArgs<T>& args, const PackedCell<T>& cell)
      : args_(args), rows_(args.batch), starts_(rows_), cell_(cell),
        groups_(plan_threads(args.batch, cell, rows_).groups), products_(args, cell, weights_) {
    tile_.stride = spread_apart<T>(cell.cell().gradients() * cell.packing().state());
    walks_.reserve(static_cast<std::size_t>(groups_));
    for (std::ptrdiff_t g = 0; g < groups_; ++g)
      walks_.emplace_back(args, cell, weights_, starts_, GroupRows(rows_, g, groups_));
  }

  void run() {
    runtime::KeptScratch scratch;
    scratch.with([&](runtime::Carver& carver) { carve(carver); }, [&] { run_tiles(); });
  }

 private:
  void carve(runtime::Carver& carver) {
    const std::ptrdiff_t pairs = most_pairs();
    weights_.carve(carver, cell_);
    tile_.gates = carver.take<T>(pairs, tile_.stride);
    tile_.gate_rows = carver.take<const T*>(pairs);
    tile_.x_rows = carver.take<T*>(pairs);
    x_copy_ = carver.take<T>(products_.copied(pairs));
    for (WalkBack<T>& walk : walks_) walk.carve(carver);
  }

  void run_tiles() {
    weights_.pack(cell_);
    for (WalkBack<T>& walk : walks_) walk.start();
    for (std::ptrdiff_t end = starts_.steps(); end > 0; end = tile_.first_step) {
      begin_tile(end);
      runtime::parallel_for(groups_, [&](std::int64_t g) {
        walks_[static_cast<std::size_t>(g)].run_tile(tile_);
      });
      const std::ptrdiff_t pairs = starts_[end] - tile_.first_pair;
      for_chunks(products_.chunks(pairs),
                 [&](std::int64_t chunk) { products_.run(chunk, tile_, pairs, x_copy_); });
    }
    for (WalkBack<T>& walk : walks_) walk.finish();
  }

  // The tile that ends at a step: whole steps, and of more than one no more pairs than planned.
  void begin_tile(std::ptrdiff_t end) {
    tile_.end_step = end;
    tile_.first_step = end - 1;
    while (tile_.first_step > 0 && starts_[end] - starts_[tile_.first_step - 1] <= planned_pairs())
      --tile_.first_step;
    tile_.first_pair = starts_[tile_.first_step];
  }

  std::ptrdiff_t planned_pairs() const {
    return std::max(kBackTilePairs, kBackTileBytes / (tile_.stride * std::ptrdiff_t{sizeof(T)} + 1));
  }
  std::ptrdiff_t most_pairs() const {
    const std::ptrdiff_t all = starts_[starts_.steps()];
    return std::min(all, std::max(rows_.size(), planned_pairs()));
  }

  // Chunks of products, on more than one thread where they are worth it.
  template <class Body>
  void for_chunks(std::ptrdiff_t chunks, const Body& body) const {
    if (is_worth_threads_) return runtime::parallel_for(chunks, body);
    for (std::ptrdiff_t chunk = 0; chunk < chunks; ++chunk) {
      body(chunk);
      runtime::checkpoint();
    }
  }

  const BackArgs<T>& args_;
  const SortedRows rows_;
  const PairStarts starts_;
  const PackedCell<T>& cell_;
  const std::ptrdiff_t groups_;
  const bool is_worth_threads_ = true;
  BackWeights<T> weights_;
  const Products<T> products_;
  std::vector<WalkBack<T>> walks_;
  GateTile<T> tile_;
  T* x_copy_ = nullptr;
};

}  // namespace

template <class T>
std::ptrdiff_t PackedCell<T>::record() const {
  return TapeLayout<T>(*this).record;
}

template <class T>
void PackedCell<T>::backward(const BackArgs<T>& args) const {
  if (args.batch.rows > 0) RunBack<T>(args, *this).run();
}

template std::ptrdiff_t PackedCell<float>::record() const;
template std::ptrdiff_t PackedCell<double>::record() const;
template void PackedCell<float>::backward(const BackArgs<float>&) const;
template void PackedCell<double>::backward(const BackArgs<double>&) const;

}  // namespace embedrnn::ops
