// How a thread computes with floating-point numbers: the direction of rounding, and whether
// subnormal numbers count as zero. Each thread has a state of its own.
#pragma once

#if defined(__x86_64__) || defined(__aarch64__)
#include <cstdint>
#else
#include <cfenv>
#endif

namespace embedrnn::runtime {

// One register where the machine has it in one: fegetenv and fesetenv also save and set that of the
// x87 unit, which takes 40 times as long and computes nothing here.
class FloatState {
 public:
  // That of the calling thread.
  FloatState() {
#if defined(__x86_64__)
    bits_ = __builtin_ia32_stmxcsr();
#elif defined(__aarch64__)
    __asm__ volatile("mrs %0, fpcr" : "=r"(bits_));
#else
    std::fegetenv(&bits_);
#endif
  }

  // Makes it that of the calling thread.
  void set() const {
#if defined(__x86_64__)
    __builtin_ia32_ldmxcsr(bits_);
#elif defined(__aarch64__)
    __asm__ volatile("msr fpcr, %0" : : "r"(bits_));
#else
    std::fesetenv(&bits_);
#endif
  }

 private:
#if defined(__x86_64__)
  std::uint32_t bits_;
#elif defined(__aarch64__)
  std::uint64_t bits_;
#else
  std::fenv_t bits_;
#endif
};

// Gives the calling thread another one's state, as long as it lives.
class BorrowedFloatState {
 public:
  explicit BorrowedFloatState(const FloatState& state) { state.set(); }
  ~BorrowedFloatState() { own_.set(); }
  BorrowedFloatState(const BorrowedFloatState&) = delete;
  BorrowedFloatState& operator=(const BorrowedFloatState&) = delete;

 private:
  const FloatState own_;
};

}  // namespace embedrnn::runtime
