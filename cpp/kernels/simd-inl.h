// The vector type of the ISA this text is compiled for: the compiler's own vector extension, so one
// file serves all. EMBEDRNN_VECTOR_BYTES is set by the isa_*.cpp file that includes it. No
// intrinsics, no standard library: an inline function of the standard library compiled here could
// become the copy that the whole module uses.
#pragma once

#include <cstddef>
#include <cstdint>

#define EMBEDRNN_INLINE inline __attribute__((always_inline))
#define EMBEDRNN_NOINLINE __attribute__((noinline))
// Behind the parameters of a lambda that must not become a call: vectors would go through memory.
#define EMBEDRNN_INLINE_LAMBDA __attribute__((always_inline))

namespace embedrnn::kernels {
namespace {

template <class T>
struct BitsOf;
template <>
struct BitsOf<float> {
  using Int = std::int32_t;
};
template <>
struct BitsOf<double> {
  using Int = std::int64_t;
};

template <class T>
inline constexpr int kLanes = EMBEDRNN_VECTOR_BYTES / int{sizeof(T)};

template <class T, int N = kLanes<T>>
struct VectorTypes {
  typedef T Vector __attribute__((vector_size(N * sizeof(T))));
  typedef T Unaligned __attribute__((vector_size(N * sizeof(T)), aligned(alignof(T)), may_alias));
};

// A vector of one lane would pass through memory in GCC 12.
template <class T>
struct VectorTypes<T, 1> {
  typedef T Vector;
  typedef T Unaligned __attribute__((may_alias));
};

template <class T>
using Vec = typename VectorTypes<T>::Vector;
// As wide as Vec<T>, of integers: comparison masks (0 or -1) and bit patterns.
template <class T>
using IntVec = typename VectorTypes<typename BitsOf<T>::Int>::Vector;

// N lanes, where fewer than a whole vector are meant.
template <class T, int N>
using Part = typename VectorTypes<T, N>::Vector;

template <int N, class T>
EMBEDRNN_INLINE Part<T, N> load_part(const T* p) {
  return *reinterpret_cast<const typename VectorTypes<T, N>::Unaligned*>(p);
}

template <int N, class T>
EMBEDRNN_INLINE void store_part(T* p, Part<T, N> v) {
  *reinterpret_cast<typename VectorTypes<T, N>::Unaligned*>(p) = v;
}

template <class T>
EMBEDRNN_INLINE Vec<T> load(const T* p) {
  return load_part<kLanes<T>>(p);
}

template <class T>
EMBEDRNN_INLINE void store(T* p, Vec<T> v) {
  store_part<kLanes<T>>(p, v);
}

// Loads the first n lanes, and zeros behind them.
template <class T>
EMBEDRNN_INLINE Vec<T> load_first(const T* p, std::ptrdiff_t n) {
  Vec<T> v = {};
  for (std::ptrdiff_t i = 0; i < n; ++i) v[i] = p[i];
  return v;
}

// Stores the first n lanes.
template <class T>
EMBEDRNN_INLINE void store_first(T* p, Vec<T> v, std::ptrdiff_t n) {
  for (std::ptrdiff_t i = 0; i < n; ++i) p[i] = v[i];
}

template <class T>
EMBEDRNN_INLINE Vec<T> broadcast(T s) {
  return s - Vec<T>{};  // s - 0 keeps the sign of a zero, as s + 0 would not
}

#if defined(__FMA__) || defined(__ARM_FEATURE_FMA)
EMBEDRNN_INLINE float fma(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
EMBEDRNN_INLINE double fma(double a, double b, double c) { return __builtin_fma(a, b, c); }
#else
template <class T>
EMBEDRNN_INLINE T fma(T a, T b, T c) {
  return a * b + c;
}
#endif

// One instruction: the kernels are compiled without math errno. In a plain loop it is one of whole
// vectors, as the division is.
EMBEDRNN_INLINE float sqrt(float v) { return __builtin_sqrtf(v); }
EMBEDRNN_INLINE double sqrt(double v) { return __builtin_sqrt(v); }

// sum + a * b, rounded once where the ISA can. For vectors the compiler sees to that. A single lane
// asks by name: GCC takes a chain of such sums apart into sums and products, made side by side.
template <class T, class V>
EMBEDRNN_INLINE V multiply_add(T a, V b, V sum) {
  if constexpr (sizeof(V) == sizeof(T)) {
    return fma(a, b, sum);
  } else {
    return sum + a * b;
  }
}

// A product that is rounded before it is added to another one: else either of the two could be
// rounded together with their sum, and compilers choose differently.
template <class V>
EMBEDRNN_INLINE V rounded(V v) {
#if defined(__x86_64__)
  __asm__("" : "+x"(v));
#elif defined(__aarch64__)
  __asm__("" : "+w"(v));
#endif
  return v;
}

template <class T>
EMBEDRNN_INLINE IntVec<T> bits(Vec<T> v) {
  return reinterpret_cast<IntVec<T>>(v);
}

template <class T>
EMBEDRNN_INLINE Vec<T> from_bits(IntVec<T> v) {
  return reinterpret_cast<Vec<T>>(v);
}

// Stores past the caches, where the hardware can: 16 bytes, at an address that is a multiple of 16.
// Others see them after stream_fence().
typedef long long StreamVec __attribute__((vector_size(16), may_alias));
EMBEDRNN_INLINE void stream(char* to, StreamVec v) {
#if defined(__x86_64__) && !defined(__clang__)
  __builtin_ia32_movntdq(reinterpret_cast<StreamVec*>(to), v);
#elif defined(__clang__)
  __builtin_nontemporal_store(v, reinterpret_cast<StreamVec*>(to));
#else
  *reinterpret_cast<StreamVec*>(to) = v;
#endif
}
EMBEDRNN_INLINE void stream_fence() {
#if defined(__x86_64__)
  __builtin_ia32_sfence();
#endif
}

// An integer known at compile time, as an argument.
template <int N>
struct Int {
  static constexpr int value = N;
};

// Calls body(Int<n>{}) for an n in [1, Max] known only at run time.
template <int Max, class Body>
EMBEDRNN_INLINE void with_constant(std::ptrdiff_t n, const Body& body) {
  if constexpr (Max == 1) {
    body(Int<1>{});
  } else if (n == Max) {
    body(Int<Max>{});
  } else {
    with_constant<Max - 1>(n, body);
  }
}

// Calls body(Int<N>{}, first) for the parts of n elements that fill no vector: one of N for each
// bit N of their number, the widest first. Nothing beyond the last is touched.
template <int Widest, class Body>
EMBEDRNN_INLINE void for_parts(std::ptrdiff_t n, const Body& body, std::ptrdiff_t first = 0) {
  if constexpr (Widest > 0) {
    if (n & Widest) body(Int<Widest>{}, first);
    for_parts<Widest / 2>(n, body, first + (n & Widest));
  }
}

}  // namespace
}  // namespace embedrnn::kernels
