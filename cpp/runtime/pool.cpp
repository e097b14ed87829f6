// Workers that spin briefly for the next job, and then sleep.
#include "runtime/pool.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <new>
#include <thread>

#include "runtime/cpus.h"
#include "runtime/float_state.h"
#include "runtime/interrupt.h"
#include "runtime/pause.h"
#include "runtime/system.h"
#include "runtime/thread_count.h"

namespace embedrnn::runtime {
namespace {

// About 20 us: a worker that waits longer sleeps. Spinning for ever fights with BLAS threads for
// the same cores: a matrix product and a small job in turn took 50 times as long.
constexpr int kSpins = 1000;

class Pool;

// The pool of this process. Never destroyed: workers may still look at it while the process exits.
// After fork the child forgets it, because its threads and perhaps its locks belong to the parent.
std::atomic<Pool*> shared_pool{nullptr};

[[maybe_unused]] const bool forgets_pool_after_fork =
    call_in_child_of_fork([] { shared_pool.store(nullptr); });

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
  const FloatState float_state;  // of the caller: no bit depends on who computes
  std::atomic<std::int64_t> next{0};
  std::atomic<bool> cancelled{false};
  std::exception_ptr error;  // written once, read after the last worker has left
};

class Pool final : public Workers {
 public:
  // Runs the job on up to `threads` threads; false if the pool is busy.
  bool try_run(Job& job, int threads) {
    // Not a mutex: a signal handler that runs in checkpoint() may come here again on the thread
    // that holds it.
    if (busy_.exchange(true, std::memory_order_acquire)) return false;
    grow(threads - 1);
    cpus_.leave_cpu_of_caller();
    open(job, threads - 1);
    {
      const Helped scope(*this);
      job.run_chunks();
      close(job);
    }
    busy_.store(false, std::memory_order_release);
    return true;
  }

  // Whether this is the child of a fork, and workers were inside the job: their chunks are lost.
  bool are_lost() const override {
    return is_left_behind() && inside_.load(std::memory_order_relaxed) > 0;
  }

 private:
  // Whether this is the child of a fork, which must not touch the locks of its parent.
  bool is_left_behind() const { return shared_pool.load(std::memory_order_relaxed) != this; }

  void grow(int workers) {
    if (workers_ >= workers) return;
    const BlockedSignals inherited;
    try {
      cpus_.reserve(workers);
      for (; workers_ < workers; ++workers_) {
        std::thread worker([this, id = workers_] { work(id); });
        cpus_.add(worker.native_handle());
        worker.detach();
      }
    } catch (const std::exception&) {  // NOLINT(bugprone-empty-catch)
      // No more threads or memory to be had: go on with the workers there are.
    }
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
    if (is_left_behind()) return give_up_lost(job);
    for (int i = 0; i < kSpins && inside_.load(std::memory_order_acquire) > 0; ++i) pause();
    std::unique_lock<std::mutex> lock(mutex_);
    job_ = nullptr;
    const auto left = [this] { return inside_.load(std::memory_order_relaxed) == 0; };
    while (!job_left_.wait_for(lock, kPollInterval, left)) {
      lock.unlock();
      job.run_chunks();  // none are left to run: it polls for an interrupt, and cancels the job
      if (is_left_behind()) return give_up_lost(job);
      lock.lock();
    }
  }

  // A worker that cancelled the job may not have come to say why.
  void give_up_lost(Job& job) const {
    if (are_lost()) job.error = std::make_exception_ptr(Forked());
  }

  [[noreturn]] void work(int id) {
    std::uint64_t seen = 0;
    for (;;) {
      wait_for_job(seen);
      Job* const job = enter(id, seen);
      if (job == nullptr) continue;
      {
        const Helping scope(job->cancelled);
        const BorrowedFloatState borrowed(job->float_state);
        job->run_chunks();
      }
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

// Null if there is no memory for one: a call that has begun to write must not fail for it.
Pool* pool() {
  if (Pool* existing = shared_pool.load(std::memory_order_acquire)) return existing;
  Pool* const fresh = new (std::nothrow) Pool;
  Pool* expected = nullptr;
  if (shared_pool.compare_exchange_strong(expected, fresh, std::memory_order_acq_rel)) return fresh;
  delete fresh;
  return expected;
}

// False if there is no pool, or it is busy.
bool run_in_pool(Job& job, int threads) {
  Pool* const shared = pool();
  return shared != nullptr && shared->try_run(job, threads);
}

}  // namespace

void parallel_for(std::int64_t chunks, ChunkBody body) {
  Job job(chunks, body);
  const int threads = static_cast<int>(std::min<std::int64_t>(chunks, num_threads()));
  if (threads < 2 || Helping::now() || !run_in_pool(job, threads)) job.run_chunks();
  if (job.error) std::rethrow_exception(job.error);
}

}  // namespace embedrnn::runtime
