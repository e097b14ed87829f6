// What threads, signals and processes are to the operating system: POSIX, or Windows, which has no
// fork, and sends no signal to a thread of its own accord.
#pragma once

#if !defined(_WIN32)
#include <csignal>
#endif

namespace embedrnn::runtime {

// Python handles signals on this thread only. True where the system does not tell.
bool on_main_thread();

// Has this called in the child of every fork. False if there is no memory for it, or no fork.
bool call_in_child_of_fork(void (*function)()) noexcept;

// Blocks signals for the calling thread, and so for the threads that it starts, as long as this
// lives: signals go to Python's threads, but for those of a thread's own faults.
class BlockedSignals {
 public:
#if defined(_WIN32)
  BlockedSignals() {}  // of our own, so that no compiler calls an object of it unused
#else
  BlockedSignals();
  ~BlockedSignals();
#endif
  BlockedSignals(const BlockedSignals&) = delete;
  BlockedSignals& operator=(const BlockedSignals&) = delete;

#if !defined(_WIN32)
 private:
  sigset_t before_;
#endif
};

}  // namespace embedrnn::runtime
