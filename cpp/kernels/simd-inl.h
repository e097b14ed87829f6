// The vector type of the ISA this text is compiled for: the compiler's own vector extension, so one
// file serves all. EMBEDRNN_VECTOR_BYTES is set by the isa_*.cpp file that includes it. No
// intrinsics, no standard library: an inline function of the standard library compiled here could
// become the copy that the whole module uses.
#pragma once

#include <cstddef>
#include <cstdint>

#define EMBEDRNN_INLINE inline __attribute__((always_inline))

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

template <class T>
using Vec = typename VectorTypes<T>::Vector;
// As wide as Vec<T>, of integers: comparison masks (0 or -1) and bit patterns.
template <class T>
using IntVec = typename VectorTypes<typename BitsOf<T>::Int>::Vector;

template <class T>
EMBEDRNN_INLINE Vec<T> load(const T* p) {
  return *reinterpret_cast<const typename VectorTypes<T>::Unaligned*>(p);
}

template <class T>
EMBEDRNN_INLINE void store(T* p, Vec<T> v) {
  *reinterpret_cast<typename VectorTypes<T>::Unaligned*>(p) = v;
}

// Stores the first n lanes.
template <class T>
EMBEDRNN_INLINE void store_first(T* p, Vec<T> v, std::ptrdiff_t n) {
  for (std::ptrdiff_t i = 0; i < n; ++i) p[i] = v[i];
}

// The columns of a row that fill no vector: a part of N lanes for each bit N of their number, the
// widest first. Less than an instruction a lane, and nothing beyond the last is touched.
template <class T, int N = kLanes<T> / 2>
struct Tail {
  using Unaligned = typename VectorTypes<T, N>::Unaligned;

  typename VectorTypes<T, N>::Vector part = {};
  Tail<T, N / 2> rest;

  EMBEDRNN_INLINE void load(const T* p, std::ptrdiff_t n) {
    if (n & N) part = *reinterpret_cast<const Unaligned*>(p);
    rest.load(p + (n & N), n);
  }
  EMBEDRNN_INLINE void add(T weight, const T* p, std::ptrdiff_t n) {
    if (n & N) part += weight * *reinterpret_cast<const Unaligned*>(p);
    rest.add(weight, p + (n & N), n);
  }
  EMBEDRNN_INLINE void divide(T by) {
    part /= by;
    rest.divide(by);
  }
  EMBEDRNN_INLINE void store(T* p, std::ptrdiff_t n) const {
    if (n & N) *reinterpret_cast<Unaligned*>(p) = part;
    rest.store(p + (n & N), n);
  }
};
template <class T>
struct Tail<T, 0> {
  EMBEDRNN_INLINE void load(const T*, std::ptrdiff_t) {}
  EMBEDRNN_INLINE void add(T, const T*, std::ptrdiff_t) {}
  EMBEDRNN_INLINE void divide(T) {}
  EMBEDRNN_INLINE void store(T*, std::ptrdiff_t) const {}
};

template <class T>
EMBEDRNN_INLINE Vec<T> broadcast(T s) {
  return s - Vec<T>{};  // s - 0 keeps the sign of a zero, as s + 0 would not
}

template <class T>
EMBEDRNN_INLINE IntVec<T> bits(Vec<T> v) {
  return reinterpret_cast<IntVec<T>>(v);
}

template <class T>
EMBEDRNN_INLINE Vec<T> from_bits(IntVec<T> v) {
  return reinterpret_cast<Vec<T>>(v);
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

}  // namespace
}  // namespace embedrnn::kernels
