// The thread pool, behind one parallel_for, and the way out of a long call.
//
// Results never depend on the number of threads: every output belongs to one chunk. A call made
// while the pool is busy (from another Python thread, or from inside a chunk) runs on the calling
// thread alone, so nothing can deadlock. After fork the child starts a pool of its own. Workers
// touch no Python object and block all signals.
#pragma once

#include <cstdint>
#include <exception>

namespace embedrnn::runtime {

// More would be a mistake, and sizes that depend on the number of threads stay small.
inline constexpr int kMostThreads = 1024;

// EMBEDRNN_NUM_THREADS, else OMP_NUM_THREADS, else the CPUs this process may use; read at first
// use. Throws std::invalid_argument if EMBEDRNN_NUM_THREADS is not a whole number from 1 to
// kMostThreads.
int num_threads();
void set_num_threads(int n);

// A reference to a callable of one chunk; the callable outlives the call.
class ChunkBody {
 public:
  template <class F>
  ChunkBody(const F& f)  // NOLINT(google-explicit-constructor): a lambda is passed where it stands
      : context_(&f), call_([](const void* context, std::int64_t chunk) {
          (*static_cast<const F*>(context))(chunk);
        }) {}

  void operator()(std::int64_t chunk) const { call_(context_, chunk); }

 private:
  const void* context_;
  void (*call_)(const void*, std::int64_t);
};

// Calls body(chunk) for each chunk in [0, chunks), in any order and on any thread, the caller's
// included. The first exception stops the chunks not yet begun and is rethrown here.
void parallel_for(std::int64_t chunks, ChunkBody body);

// Thrown by checkpoint() when the call is to be given up.
struct Interrupted : std::exception {
  const char* what() const noexcept override { return "interrupted"; }
};

// Sets what the calling thread asks every 20 ms of a long call: true means give up. Set once, at
// load time.
void set_interrupt_poll(bool (*poll)());

// Starts the clock of a call on this thread, so that a short call never polls.
void start_interrupt_clock();

// To be called every few microseconds to milliseconds of work, between writes. Throws Interrupted.
void checkpoint();

}  // namespace embedrnn::runtime
