// Threads that take the same steps side by side, each its part of every step.
//
// The leader opens a stretch of steps for those who are there by then, and works alone until
// somebody comes: a worker that wakes late, or never, holds nobody up. Within a stretch each waits
// for all others behind every step; where they wait too long too often, because something else has
// their CPUs, the leader goes on alone. An exception of one ends the work of all.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace embedrnn::runtime {

class Team {
 public:
  // Allocates.
  explicit Team(int most) : places_(static_cast<std::size_t>(most)) {}

  // The leader: opens a stretch, which everyone sees after all that was written before. Returns how
  // many take part, the leader included, whose rank is 0.
  int open();
  // The leader: lets everyone go. No stretch may be open behind it.
  void close();

  // The others, once each: calls work(rank, size) for every stretch they take part in, until the
  // team is closed or given up.
  template <class Work>
  void follow(const Work& work) {
    const int rank = joined_.fetch_add(1, std::memory_order_relaxed) + 1;
    std::uint64_t stretch = 0;
    for (int size = next(stretch); size > 0; size = next(stretch)) {
      if (rank < size) work(rank, size);
    }
  }

  // Behind a step, whose number rises by one each time: waits until all of the stretch are there.
  // False if the work was given up.
  bool arrive(int rank, int size, std::ptrdiff_t step);

  // To be called by whoever leaves with an exception, so that nobody waits for it.
  void give_up() { given_up_.store(true, std::memory_order_release); }

 private:
  struct alignas(64) Place {  // a cache line each
    std::atomic<std::ptrdiff_t> steps{0};
  };

  // Waits for another stretch than this; its size, or 0 at the end.
  int next(std::uint64_t& stretch);

  std::vector<Place> places_;
  std::atomic<int> joined_{0};
  std::atomic<std::uint64_t> stretch_{0};  // its number, and in the low bits its size
  std::atomic<int> stalls_{0};             // waits that outlasted the spinning
  std::atomic<bool> given_up_{false};
};

}  // namespace embedrnn::runtime
