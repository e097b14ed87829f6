// The one file that knows POSIX threads by name, beside the affinity of Linux in cpus.cpp.
#include "runtime/system.h"

#include <initializer_list>

#if !defined(_WIN32)
#include <pthread.h>
#include <unistd.h>
#endif
#if defined(__linux__)
#include <sys/syscall.h>
#endif

namespace embedrnn::runtime {

bool on_main_thread() {
#if defined(__linux__)
  return getpid() == static_cast<pid_t>(syscall(SYS_gettid));
#elif defined(__APPLE__)
  return pthread_main_np() != 0;
#else
  return true;
#endif
}

#if defined(_WIN32)

bool call_in_child_of_fork(void (* /*function*/)()) noexcept { return false; }

#else

bool call_in_child_of_fork(void (*function)()) noexcept {
  return pthread_atfork(nullptr, nullptr, function) == 0;
}

BlockedSignals::BlockedSignals() {
  sigset_t blocked;
  sigfillset(&blocked);
  for (const int fault : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT}) sigdelset(&blocked, fault);
  pthread_sigmask(SIG_SETMASK, &blocked, &before_);
}

BlockedSignals::~BlockedSignals() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

#endif

}  // namespace embedrnn::runtime
