// What one core can do at most: multiplications with an addition, and bytes read. Each loop does
// nothing else; enough of its chains are independent to hide what one of them waits for.
#include <stddef.h>

#if defined(__AVX512F__)
#define VECTOR_BYTES 64
#elif defined(__AVX__)
#define VECTOR_BYTES 32
#else
#define VECTOR_BYTES 16
#endif
#define CHAINS 12

typedef float Vector __attribute__((vector_size(VECTOR_BYTES)));

const long lanes = VECTOR_BYTES / sizeof(float);
const long chains = CHAINS;

// 2 * chains * lanes operations a round.
float multiply_add(long rounds) {
  Vector sums[CHAINS], factor = {0.5f}, term = {1.0f};
  for (int i = 0; i < CHAINS; ++i) sums[i] = term * (float)i;  // equal ones would be made once
  for (long round = 0; round < rounds; ++round) {
    __asm__ volatile("" : "+x"(factor), "+x"(term));  // not known to the compiler
#pragma GCC unroll 12
    for (int i = 0; i < CHAINS; ++i) sums[i] = sums[i] * factor + term;
  }
  for (int i = 1; i < CHAINS; ++i) sums[0] += sums[i];
  return sums[0][0];
}

// Reads `n` floats, a multiple of chains * lanes, this many times.
float read_floats(const float* from, size_t n, long times) {
  Vector sums[CHAINS] = {{0}};
  for (long time = 0; time < times; ++time) {
    for (size_t at = 0; at < n; at += CHAINS * VECTOR_BYTES / sizeof(float)) {
#pragma GCC unroll 12
      for (int i = 0; i < CHAINS; ++i) {
        sums[i] += *(const Vector*)(from + at + (size_t)i * (VECTOR_BYTES / sizeof(float)));
      }
    }
  }
  for (int i = 1; i < CHAINS; ++i) sums[0] += sums[i];
  return sums[0][0];
}
