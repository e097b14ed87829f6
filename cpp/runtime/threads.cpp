#include "runtime/threads.h"

#include <algorithm>
#include <atomic>
#include <charconv>
#include <chrono>
#include <condition_variable>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>

#include <pthread.h>

#include "runtime/cpus.h"
#include "runtime/pause.h"

namespace embedrnn::runtime {
namespace {

using Clock = std::chrono::steady_clock;

constexpr auto kPollInterval = std::chrono::milliseconds(20);

// About 20 us: a worker that waits longer sleeps. Spinning for ever fights with BLAS threads for
// the same cores: a matrix product and a small job in turn took 50 times as long.
constexpr int kSpins = 1000;

std::atomic<bool (*)()> interrupt_poll{nullptr};
thread_local Clock::time_point last_poll{};
// On a worker: the flag that tells it to give up. Null on a thread of the caller's.
thread_local const std::atomic<bool>* cancelled_flag = nullptr;

// One parallel_for under way. Lives on the caller's stack.
struct Job {
  Job(std::int64_t n, ChunkBody f) : chunks(n), body(f) {}

  void run_chunks() {
    try {
      while (!cancelled.load(std::memory_order_relaxed)) {
        checkpoint();
        const std::int64_t chunk = next.fetch_add(1, std::memory_order_relaxed);
        if (chunk >= chunks) return;
        body(chunk);
      }
    } catch (...) {
      // Who cancels first has the error to report; what follows from it is dropped.
      if (!cancelled.exchange(true)) error = std::current_exception();
    }
  }

  const std::int64_t chunks;
  const ChunkBody body;
  std::atomic<std::int64_t> next{0};
  std::atomic<bool> cancelled{false};
  std::exception_ptr error;  // written once, read after the last worker has left
};

class Pool {
 public:
  // Runs the job on up to `threads` threads; false if the pool is busy.
  bool try_run(Job& job, int threads) {
    // Not a mutex: a signal handler that runs in checkpoint() may come here again on the thread
    // that holds it.
    if (busy_.exchange(true, std::memory_order_acquire)) return false;
    grow(threads - 1);
    cpus_.leave_cpu_of_caller();
    open(job, threads - 1);
    job.run_chunks();
    close(job);
    busy_.store(false, std::memory_order_release);
    return true;
  }

 private:
  void grow(int workers) {
    if (workers_ >= workers) return;
    // Workers inherit the mask: signals go to Python's threads, but for those of a worker's faults.
    sigset_t blocked, before;
    sigfillset(&blocked);
    for (const int fault : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT}) sigdelset(&blocked, fault);
    pthread_sigmask(SIG_SETMASK, &blocked, &before);
    try {
      cpus_.reserve(workers);
      for (; workers_ < workers; ++workers_) {
        std::thread worker([this, id = workers_] { work(id); });
        cpus_.add(worker.native_handle());
        worker.detach();
      }
    } catch (const std::exception&) {
      // No more threads or memory to be had: go on with the workers there are.
    }
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
  }

  void open(Job& job, int workers) {
    bool wake = false;
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      job_ = &job;
      admitted_ = workers;
      epoch_.fetch_add(1, std::memory_order_release);
      wake = sleepers_ > 0;
    }
    if (wake) job_opened_.notify_all();
  }

  // Waits for the workers inside the job, not for those that have not come yet.
  void close(Job& job) {
    for (int i = 0; i < kSpins && inside_.load(std::memory_order_acquire) > 0; ++i) pause();
    std::unique_lock<std::mutex> lock(mutex_);
    job_ = nullptr;
    const auto left = [this] { return inside_.load(std::memory_order_relaxed) == 0; };
    while (!job_left_.wait_for(lock, kPollInterval, left)) {
      lock.unlock();
      job.run_chunks();  // none are left to run: it polls for an interrupt, and cancels the job
      lock.lock();
    }
  }

  [[noreturn]] void work(int id) {
    std::uint64_t seen = 0;
    for (;;) {
      wait_for_job(seen);
      Job* const job = enter(id, seen);
      if (job == nullptr) continue;
      cancelled_flag = &job->cancelled;
      job->run_chunks();
      cancelled_flag = nullptr;
      leave();
    }
  }

  void wait_for_job(std::uint64_t seen) {
    for (int i = 0; i < kSpins; ++i) {
      if (epoch_.load(std::memory_order_acquire) != seen) return;
      pause();
    }
    std::unique_lock<std::mutex> lock(mutex_);
    ++sleepers_;
    job_opened_.wait(lock, [&] { return epoch_.load(std::memory_order_relaxed) != seen; });
    --sleepers_;
  }

  Job* enter(int id, std::uint64_t& seen) {
    const std::lock_guard<std::mutex> lock(mutex_);
    seen = epoch_.load(std::memory_order_relaxed);
    if (job_ == nullptr || id >= admitted_) return nullptr;
    inside_.fetch_add(1, std::memory_order_relaxed);
    return job_;
  }

  void leave() {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (inside_.fetch_sub(1, std::memory_order_release) == 1) job_left_.notify_one();
  }

  std::atomic<bool> busy_{false};  // held by the one caller whose job is open
  // Guarded by busy_.
  int workers_ = 0;  // started
  WorkerCpus cpus_;

  std::mutex mutex_;  // guards what follows; epoch_ and inside_ are also watched without it
  std::condition_variable job_opened_, job_left_;
  Job* job_ = nullptr;
  int admitted_ = 0;  // workers that may enter the job
  int sleepers_ = 0;
  std::atomic<std::uint64_t> epoch_{0};
  std::atomic<int> inside_{0};
};

// Never destroyed: workers may still look at it while the process exits. After fork the child
// forgets it, because its threads and perhaps its locks belong to the parent.
std::atomic<Pool*> shared_pool{nullptr};

Pool& pool() {
  static const bool registered =
      pthread_atfork(nullptr, nullptr, [] { shared_pool.store(nullptr); }) == 0;
  (void)registered;
  if (Pool* existing = shared_pool.load(std::memory_order_acquire)) return *existing;
  Pool* const fresh = new Pool;
  Pool* expected = nullptr;
  if (shared_pool.compare_exchange_strong(expected, fresh, std::memory_order_acq_rel))
    return *fresh;
  delete fresh;
  return *expected;
}

// The number a text starts with, or 0: OMP_NUM_THREADS may go on with a list of the nested levels.
int leading_number(const char* text, const char** rest) {
  int n = 0;
  *rest = std::from_chars(text, text + std::strlen(text), n).ptr;
  return n;
}

int threads_from_environment() {
  const char* rest = nullptr;
  const char* own = std::getenv("EMBEDRNN_NUM_THREADS");
  if (own != nullptr && *own != '\0') {
    const int n = leading_number(own, &rest);
    if (n >= 1 && n <= kMostThreads && *rest == '\0') return n;
    throw std::invalid_argument("EMBEDRNN_NUM_THREADS must be a whole number from 1 to " +
                                std::to_string(kMostThreads) + ", got '" + own + "'");
  }
  const char* omp = std::getenv("OMP_NUM_THREADS");
  const int n = omp == nullptr ? 0 : leading_number(omp, &rest);
  return std::min(n >= 1 ? n : usable_cpus(), kMostThreads);
}

std::atomic<int> thread_count{0};  // 0: not read yet

}  // namespace

int num_threads() {
  int n = thread_count.load(std::memory_order_relaxed);
  if (n > 0) return n;
  const int read = threads_from_environment();
  return thread_count.compare_exchange_strong(n, read) ? read : n;
}

void set_num_threads(int n) { thread_count.store(n, std::memory_order_relaxed); }

void parallel_for(std::int64_t chunks, ChunkBody body) {
  Job job(chunks, body);
  const int threads = static_cast<int>(std::min<std::int64_t>(chunks, num_threads()));
  if (threads < 2 || cancelled_flag != nullptr || !pool().try_run(job, threads)) job.run_chunks();
  if (job.error) std::rethrow_exception(job.error);
}

void set_interrupt_poll(bool (*poll)()) { interrupt_poll.store(poll); }

void start_interrupt_clock() { last_poll = Clock::now(); }

void checkpoint() {
  if (cancelled_flag != nullptr) {
    if (cancelled_flag->load(std::memory_order_relaxed)) throw Interrupted();
    return;
  }
  const Clock::time_point now = Clock::now();
  if (now - last_poll < kPollInterval) return;
  last_poll = now;
  bool (*const poll)() = interrupt_poll.load(std::memory_order_relaxed);
  if (poll != nullptr && poll()) throw Interrupted();
}

}  // namespace embedrnn::runtime
