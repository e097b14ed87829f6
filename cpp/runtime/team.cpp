// Members wait for each other by spinning: a step takes a few microseconds.
#include "runtime/team.h"

#include <algorithm>
#include <thread>

#include "runtime/cpus.h"
#include "runtime/pause.h"

namespace embedrnn::runtime {
namespace {

constexpr int kSizeBits = 16;
constexpr std::uint64_t kSizeMask = (std::uint64_t{1} << kSizeBits) - 1;
// Some 40 us: who is waited for has lost its CPU, and may be waiting for this one.
constexpr int kSpins = 2000;
// For so many times what a team has waited, and no longer than this, nobody forms another: on a
// machine whose CPUs others use too, short calls lose a twentieth of their time to it.
constexpr int kTimesAlone = 20;
constexpr std::chrono::milliseconds kMostAlone{500};

// Until when threads work alone, in the time of the clock; of the whole process.
std::atomic<std::chrono::steady_clock::rep> alone_until{0};

// Waits until ready() is true. The time that this took beyond the spinning, which is most often
// none.
template <class Ready>
std::chrono::steady_clock::duration wait_until(const Ready& ready) {
  for (int spins = 0; spins < kSpins; ++spins) {
    if (ready()) return {};
    pause();
  }
  using Clock = std::chrono::steady_clock;
  const Clock::time_point start = Clock::now();
  while (!ready()) std::this_thread::yield();
  return Clock::now() - start;
}

}  // namespace

int Team::most_of_use() {
  const Clock::rep now = Clock::now().time_since_epoch().count();
  return now < alone_until.load(std::memory_order_relaxed) ? 1 : usable_cpus();
}

int Team::open() {
  if (is_tired_) dissolve();
  if (is_dissolved_) return 1;
  const int joined = joined_.load(std::memory_order_relaxed) + 1;
  const int size = std::min(joined, static_cast<int>(places_.size()));
  const std::uint64_t number = (stretch_.load(std::memory_order_relaxed) >> kSizeBits) + 1;
  stretch_.store(number << kSizeBits | static_cast<std::uint64_t>(size), std::memory_order_release);
  return size;
}

void Team::close() {
  const std::uint64_t number = (stretch_.load(std::memory_order_relaxed) >> kSizeBits) + 1;
  stretch_.store(number << kSizeBits, std::memory_order_release);
}

void Team::dissolve() {
  if (is_dissolved_) return;
  is_dissolved_ = true;
  close();
  const auto alone = std::min<Clock::duration>(kTimesAlone * waited_, kMostAlone);
  alone_until.store((Clock::now() + alone).time_since_epoch().count(), std::memory_order_relaxed);
}

int Team::next(std::uint64_t& stretch) {
  std::uint64_t now = stretch;
  wait_until([&] {
    now = stretch_.load(std::memory_order_acquire);
    return now != stretch || given_up_.load(std::memory_order_relaxed);
  });
  if (now == stretch) return 0;
  stretch = now;
  return static_cast<int>(now & kSizeMask);
}

int Team::arrive(int rank, int size, std::ptrdiff_t step) {
  const bool leads = rank == 0;
  // Once: a member that is slow to look must not find a later step here.
  if (leads && is_tired_ && size > 1) last_step_.store(step, std::memory_order_relaxed);
  places_[static_cast<std::size_t>(rank)].steps.store(step + 1, std::memory_order_release);
  Clock::duration waited{0};
  for (int other = 0; other < size; ++other) {
    const std::atomic<std::ptrdiff_t>& steps = places_[static_cast<std::size_t>(other)].steps;
    waited += wait_until([&] {
      return steps.load(std::memory_order_acquire) > step ||
             given_up_.load(std::memory_order_acquire);
    });
  }
  if (given_up_.load(std::memory_order_relaxed)) return 0;
  if (leads && waited > Clock::duration{0}) count(waited);
  if (size == 1 || last_step_.load(std::memory_order_relaxed) > step) return size;
  if (!leads) return 0;
  dissolve();
  return 1;
}

void Team::count(Clock::duration waited) {
  waited_ += waited;
  is_tired_ = waited_ > patience_ + (Clock::now() - start_) / 2;
}

}  // namespace embedrnn::runtime
