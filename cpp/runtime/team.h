// Threads that take the same steps side by side, each its part of every step.
//
// The leader opens a stretch of steps for those who are there by then, and works alone until
// somebody comes: a worker that wakes late, or never, holds nobody up. Within a stretch each waits
// for all others behind every step. A leader that waits for half of its time, because something
// else has the CPUs of the others, sends them away behind the step after, and goes on alone: two
// threads that wait so long take as long as one. For a while nobody forms a team then. An exception
// of one ends the work of all.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

namespace embedrnn::runtime {

class Team {
 public:
  using Clock = std::chrono::steady_clock;

  // Of so many at most, whose leader waits for so long, beside half of its time. Allocates.
  Team(int most, Clock::duration patience)
      : patience_(patience), places_(static_cast<std::size_t>(most)) {}

  // The most members that are of use: as many as there are CPUs to use, or 1 where a team has
  // waited too long just now.
  static int most_of_use();

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
  // Returns how many take the next step, the caller included: as many, the leader alone, or nobody,
  // if the leader has sent the caller away or the work was given up. All that was written in the
  // step is seen by who goes on.
  int arrive(int rank, int size, std::ptrdiff_t step);

  // To be called by whoever leaves with an exception, so that nobody waits for it.
  void give_up() { given_up_.store(true, std::memory_order_release); }

 private:
  struct alignas(64) Place {  // a cache line each
    std::atomic<std::ptrdiff_t> steps{0};
  };

  // Waits for another stretch than this; its size, or 0 at the end.
  int next(std::uint64_t& stretch);
  // The leader: sends the others away, for good.
  void dissolve();
  // The leader: has waited for longer than the spinning takes.
  void count(Clock::duration waited);

  // The leader's.
  const Clock::duration patience_;
  const Clock::time_point start_ = Clock::now();
  Clock::duration waited_{0};
  bool is_tired_ = false, is_dissolved_ = false;

  std::vector<Place> places_;
  std::atomic<int> joined_{0};
  std::atomic<std::uint64_t> stretch_{0};  // its number, and in the low bits its size
  // The last step that is taken together: the leader sets it before it arrives behind that step.
  std::atomic<std::ptrdiff_t> last_step_{std::numeric_limits<std::ptrdiff_t>::max()};
  std::atomic<bool> given_up_{false};
};

}  // namespace embedrnn::runtime
