// What each thread knows of the call that it is in, and how it learns that the call should end.
#include "runtime/interrupt.h"

namespace embedrnn::runtime {
namespace {

using Clock = std::chrono::steady_clock;

std::atomic<bool (*)()> interrupt_poll{nullptr};
// What a thread knows, together: it is looked up once.
struct Here {
  Clock::time_point last_poll;
  const Workers* workers = nullptr;              // who works for the call on this thread
  const std::atomic<bool>* cancelled = nullptr;  // on a worker: the flag that tells it to give up
};
constinit thread_local Here here;  // NOLINT(bugprone-throwing-static-initialization)

}  // namespace

void set_interrupt_poll(bool (*poll)()) { interrupt_poll.store(poll); }

void checkpoint() {
  Here& mine = here;
  if (mine.cancelled != nullptr) {
    if (mine.cancelled->load(std::memory_order_relaxed)) throw Interrupted();
    return;
  }
  const Clock::time_point now = Clock::now();
  if (now - mine.last_poll < kPollInterval) return;
  mine.last_poll = now;
  bool (*const poll)() = interrupt_poll.load(std::memory_order_relaxed);
  if (poll != nullptr && poll()) throw Interrupted();
  if (mine.workers != nullptr && mine.workers->are_lost()) throw Forked();
}

Call::Call() : outer_(here.workers) {
  Here& mine = here;
  mine.workers = nullptr;
  mine.last_poll = Clock::now();
}

Call::~Call() { here.workers = outer_; }

Helped::Helped(const Workers& workers) { here.workers = &workers; }
Helped::~Helped() { here.workers = nullptr; }

Helping::Helping(const std::atomic<bool>& cancelled) { here.cancelled = &cancelled; }
Helping::~Helping() { here.cancelled = nullptr; }
bool Helping::now() { return here.cancelled != nullptr; }

}  // namespace embedrnn::runtime
