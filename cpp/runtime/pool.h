// The thread pool, behind one parallel_for.
//
// Results never depend on the number of threads: every output belongs to one chunk, and every
// thread computes in the floating-point state of the caller. A call made while the pool is busy
// (from another Python thread, or from inside a chunk) runs on the calling thread alone, so nothing
// can deadlock. After fork the child starts a pool of its own; a fork inside a call, in a signal
// handler, gives that call of the child up if workers were at it, and lets it go on alone if none
// were. Workers touch no Python object and block all signals.
#pragma once

#include <cstdint>

namespace embedrnn::runtime {

// A reference to a callable of one chunk; the callable outlives the call.
class ChunkBody {
 public:
  template <class F>
  ChunkBody(const F& f)  // NOLINT(misc-explicit-constructor): a lambda is passed where it stands
      : context_(&f), call_([](const void* context, std::int64_t chunk) {
          (*static_cast<const F*>(context))(chunk);
        }) {}

  void operator()(std::int64_t chunk) const { call_(context_, chunk); }

 private:
  const void* context_;
  void (*call_)(const void*, std::int64_t);
};

// Calls body(chunk) for each chunk in [0, chunks), in any order and on any thread, the caller's
// included. The first exception stops the chunks not yet begun and is rethrown here; nothing but
// the body throws, and checkpoint().
void parallel_for(std::int64_t chunks, ChunkBody body);

}  // namespace embedrnn::runtime
