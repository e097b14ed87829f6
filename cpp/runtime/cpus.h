// The CPUs that threads may run on.
#pragma once

#include <thread>
#include <vector>

#if defined(__linux__)
#include <sched.h>
#endif

namespace embedrnn::runtime {

// How many CPUs the calling thread may use: those that it may run on, but no more than the quota
// of its container is worth, which is read once.
int usable_cpus();

// Keeps the workers of a pool off the CPU of its caller. A scheduler may wake a worker where its
// waker runs, to fill one CPU before it uses the next; there it waits until the work is done, and
// two threads take as long as one.
class WorkerCpus {
 public:
  void reserve(int workers) { workers_.reserve(static_cast<std::size_t>(workers)); }
  // Within what has been reserved.
  void add(std::thread::native_handle_type worker);
  // Lets the workers run wherever the caller may, but where it is. If the caller may run nowhere
  // else, the workers stay where they are.
  void leave_cpu_of_caller();

 private:
  std::vector<std::thread::native_handle_type> workers_;
#if defined(__linux__)
  cpu_set_t given_ = {};  // to all workers; none: not yet
#endif
};

}  // namespace embedrnn::runtime
