// The affinity of threads and the quota of a container, where the system has them.
#include "runtime/cpus.h"

#include <algorithm>

#if defined(__linux__)
#include <pthread.h>
#include <sched.h>
#endif

#include "runtime/quota.h"

namespace embedrnn::runtime {
namespace {

#if defined(__linux__)
// False on a machine of more CPUs than cpu_set_t has bits for.
bool cpus_of_caller(cpu_set_t& set) { return sched_getaffinity(0, sizeof set, &set) == 0; }
#endif

int cpus_to_run_on() {
#if defined(__linux__)
  cpu_set_t set;
  if (cpus_of_caller(set)) return std::max(1, CPU_COUNT(&set));
#endif
  return static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
}

}  // namespace

int usable_cpus() {
  static const int quota = quota_cpus("");
  return quota > 0 ? std::min(quota, cpus_to_run_on()) : cpus_to_run_on();
}

void WorkerCpus::add(std::thread::native_handle_type worker) {
  workers_.push_back(worker);
#if defined(__linux__)
  CPU_ZERO(&given_);
#endif
}

void WorkerCpus::leave_cpu_of_caller() {
#if defined(__linux__)
  const int here = sched_getcpu();
  cpu_set_t others;
  if (here < 0 || here >= CPU_SETSIZE || !cpus_of_caller(others)) return;
  CPU_CLR(here, &others);
  if (CPU_COUNT(&others) == 0 || CPU_EQUAL(&others, &given_)) return;
  // It may fail where the CPUs of the process have just been changed: nothing is lost but time.
  for (const pthread_t worker : workers_) pthread_setaffinity_np(worker, sizeof others, &others);
  given_ = others;
#endif
}

}  // namespace embedrnn::runtime
