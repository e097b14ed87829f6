// The way out of a long call: a signal, an error of another thread, or a fork.
#pragma once

#include <atomic>
#include <chrono>
#include <exception>
#include <stdexcept>

namespace embedrnn::runtime {

// Thrown by checkpoint() when the call is to be given up.
struct Interrupted : std::exception {
  const char* what() const noexcept override { return "interrupted"; }
};

// Thrown by checkpoint() and parallel_for() in the child of a fork inside the call.
struct Forked : std::runtime_error {
  Forked()
      : runtime_error(
            "the process was forked inside this call while other threads worked at it: the child "
            "has no such threads, and what the call writes to holds nothing of use here") {}
};

// How long a call goes on between two looks for a signal.
inline constexpr auto kPollInterval = std::chrono::milliseconds(20);

// Sets what the calling thread asks then: true means give up. Set once, at load time.
void set_interrupt_poll(bool (*poll)());

// To be called every few microseconds to milliseconds of work, between writes. Throws Interrupted,
// or Forked.
void checkpoint();

// Those who work for a call beside its own thread.
class Workers {
 public:
  // Whether some of them are missing since the process was forked, with what they had begun.
  virtual bool are_lost() const = 0;

 protected:
  ~Workers() = default;
};

// A call of the library on this thread, which may be inside another one: that of a signal handler.
// Starts the clock of the call, so that a short one never polls.
class Call {
 public:
  Call();
  ~Call();
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

 private:
  const Workers* const outer_;  // of the call around this one
};

// Says, as long as it lives, that these work for the call on this thread.
class Helped {
 public:
  explicit Helped(const Workers& workers);
  ~Helped();
  Helped(const Helped&) = delete;
  Helped& operator=(const Helped&) = delete;
};

// Says, as long as it lives, that this thread works for a call of another one, which cancels its
// work by this flag.
class Helping {
 public:
  explicit Helping(const std::atomic<bool>& cancelled);
  ~Helping();
  Helping(const Helping&) = delete;
  Helping& operator=(const Helping&) = delete;

  // Whether the calling thread does.
  static bool now();
};

}  // namespace embedrnn::runtime
