#include "runtime/team.h"

#include <algorithm>
#include <thread>

#include "runtime/pause.h"

namespace embedrnn::runtime {
namespace {

constexpr int kSizeBits = 16;
constexpr std::uint64_t kSizeMask = (std::uint64_t{1} << kSizeBits) - 1;
// Some 40 us: who is waited for has lost its CPU, and may be waiting for this one.
constexpr int kSpins = 2000;
// Such waits in one call, after which its team is dissolved.
constexpr int kMostStalls = 8;

// Waits until ready() is true: a step takes a few microseconds, too few to sleep. True if it took
// longer than that.
template <class Ready>
bool spin_until(const Ready& ready) {
  int spins = 0;
  for (; !ready(); ++spins) spins < kSpins ? pause() : std::this_thread::yield();
  return spins > kSpins;
}

}  // namespace

int Team::open() {
  if (stalls_.load(std::memory_order_relaxed) > kMostStalls) {
    close();
    return 1;
  }
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

int Team::next(std::uint64_t& stretch) {
  std::uint64_t now = stretch;
  spin_until([&] {
    now = stretch_.load(std::memory_order_acquire);
    return now != stretch || given_up_.load(std::memory_order_relaxed);
  });
  if (now == stretch) return 0;
  stretch = now;
  return static_cast<int>(now & kSizeMask);
}

bool Team::arrive(int rank, int size, std::ptrdiff_t step) {
  places_[static_cast<std::size_t>(rank)].steps.store(step + 1, std::memory_order_release);
  for (int other = 0; other < size; ++other) {
    const std::atomic<std::ptrdiff_t>& steps = places_[static_cast<std::size_t>(other)].steps;
    const bool stalled = spin_until([&] {
      return steps.load(std::memory_order_acquire) > step ||
             given_up_.load(std::memory_order_acquire);
    });
    if (stalled) stalls_.fetch_add(1, std::memory_order_relaxed);
  }
  return !given_up_.load(std::memory_order_relaxed);
}

}  // namespace embedrnn::runtime
