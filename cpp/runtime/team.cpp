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

// Waits until ready() is true: a step takes a few microseconds, too few to sleep.
template <class Ready>
void spin_until(const Ready& ready) {
  for (int i = 0; !ready(); ++i) i < kSpins ? pause() : std::this_thread::yield();
}

}  // namespace

int Team::open() {
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
    spin_until([&] {
      return steps.load(std::memory_order_acquire) > step ||
             given_up_.load(std::memory_order_acquire);
    });
  }
  return !given_up_.load(std::memory_order_relaxed);
}

}  // namespace embedrnn::runtime
