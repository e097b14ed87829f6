// The number of threads, from the environment or as it was set.
#include "runtime/thread_count.h"

#include <algorithm>
#include <atomic>
#include <cctype>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string>

#include "runtime/cpus.h"

namespace embedrnn::runtime {
namespace {

// The number a text starts with, or 0.
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
  // OpenMP lets blanks come before the number, and behind it those of the nested levels.
  const char* omp = std::getenv("OMP_NUM_THREADS");
  while (omp != nullptr && std::isspace(static_cast<unsigned char>(*omp)) != 0) ++omp;
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

}  // namespace embedrnn::runtime
