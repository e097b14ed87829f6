// What a thread does between two looks at a flag.
#pragma once

namespace embedrnn::runtime {

inline void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

}  // namespace embedrnn::runtime
