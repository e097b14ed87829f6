// Numbers as a table stores them, and the type they are summed in: float and double as they are;
// float16, bfloat16 and int8 in float. Plain loops, which the compiler vectorises: GCC 12 makes one
// lane at a time of a conversion between its vector types.
#pragma once

#include "kernels.h"
#include "simd-inl.h"

#if defined(__F16C__)
#include <immintrin.h>
#endif

namespace embedrnn::kernels {
namespace {

EMBEDRNN_INLINE std::uint32_t bits_of(float v) { return __builtin_bit_cast(std::uint32_t, v); }
EMBEDRNN_INLINE float float_of(std::uint32_t bits) { return __builtin_bit_cast(float, bits); }

// The exponent is moved to its place and corrected by an exact product, subnormals included.
EMBEDRNN_INLINE float widen(Float16 v) {
  constexpr std::uint32_t kInfinity16 = 0x7c00u << 13, kInfinity32 = 0x7f800000;
  const std::uint32_t magnitude = (v.bits & 0x7fffu) << 13;
  const std::uint32_t finite = bits_of(float_of(magnitude) * 0x1p112f);
  const std::uint32_t value = magnitude < kInfinity16 ? finite : finite | kInfinity32;
  return float_of(value | (v.bits & 0x8000u) << 16);
}

EMBEDRNN_INLINE float widen(BFloat16 v) { return float_of(std::uint32_t{v.bits} << 16); }

// Widens n numbers.
template <class S>
EMBEDRNN_INLINE void widen(const S* from, std::ptrdiff_t n, float* __restrict to) {
  for (std::ptrdiff_t i = 0; i < n; ++i) to[i] = widen(from[i]);
}

#if defined(__F16C__)
// Numbers by one instruction: as many as a vector of sums has, whose loads would wait for two
// narrower stores to reach the cache (AVX-512: four times as long).
template <int N>
EMBEDRNN_INLINE Part<float, N> widen_part(const Float16* from) {
  if constexpr (N == 16) {
#if defined(__AVX512F__)
    // With a mask of all lanes, for GCC 12 warns of its own header without one.
    return _mm512_maskz_cvtph_ps(0xffff,
                                 _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)));
#endif
  } else if constexpr (N == 8) {
    return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
  } else {
    __m128i halves = _mm_setzero_si128();
    __builtin_memcpy(&halves, from, N * sizeof *from);
    const __m128 numbers = _mm_cvtph_ps(halves);
    Part<float, N> part;
    __builtin_memcpy(&part, &numbers, N * sizeof(float));
    return part;
  }
}
template <int N>
EMBEDRNN_INLINE void narrow_part(Part<float, N> sums, Float16* to) {
  if constexpr (N == 16) {
#if defined(__AVX512F__)
    const __m256i halves = _mm512_maskz_cvtps_ph(0xffff, sums, _MM_FROUND_TO_NEAREST_INT);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), halves);
#endif
  } else if constexpr (N == 8) {
    const __m128i halves = _mm256_cvtps_ph(sums, _MM_FROUND_TO_NEAREST_INT);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to), halves);
  } else {
    __m128 numbers = _mm_setzero_ps();
    __builtin_memcpy(&numbers, &sums, N * sizeof(float));
    const __m128i halves = _mm_cvtps_ph(numbers, _MM_FROUND_TO_NEAREST_INT);
    __builtin_memcpy(to, &halves, N * sizeof *to);
  }
}

// Calls body(lanes, first) for the parts of n numbers, the widest first.
template <class Body>
EMBEDRNN_INLINE void for_all_parts(std::ptrdiff_t n, const Body& body) {
  constexpr int kLane = kLanes<float>;
  std::ptrdiff_t first = 0;
  for (; first + kLane <= n; first += kLane) body(Int<kLane>{}, first);
  for_parts<kLane / 2>(n - first, [&](auto lanes, std::ptrdiff_t at) { body(lanes, first + at); });
}

EMBEDRNN_INLINE void widen(const Float16* from, std::ptrdiff_t n, float* __restrict to) {
  for_all_parts(n, [=](auto lanes, std::ptrdiff_t at) EMBEDRNN_INLINE_LAMBDA {
    constexpr int kPart = decltype(lanes)::value;
    store_part<kPart>(to + at, widen_part<kPart>(from + at));
  });
}
#endif

// The sum as an output of the second argument's type: to the nearest, ties to even.
template <class T>
EMBEDRNN_INLINE T narrow(T v, T) {
  return v;
}

EMBEDRNN_INLINE Float16 narrow(float v, Float16) {
  constexpr std::uint32_t kInfinity = 0x7f800000, kOverflow = 0x477ff000, kNormal = 0x38800000;
  const std::uint32_t magnitude = bits_of(v) & 0x7fffffff;
  const std::uint32_t normal = (magnitude - 0x38000000 + 0xfff + (magnitude >> 13 & 1)) >> 13;
  // The ulp of 0.5 is the spacing of the subnormals of float16: the sum rounds to it.
  const std::uint32_t subnormal = bits_of(float_of(magnitude) + 0.5f) - bits_of(0.5f);
  std::uint32_t result = magnitude < kNormal ? subnormal : normal;
  result = magnitude < kOverflow ? result : 0x7c00;
  result = magnitude > kInfinity ? 0x7e00 : result;
  return {static_cast<std::uint16_t>(result | (bits_of(v) >> 16 & 0x8000))};
}

EMBEDRNN_INLINE BFloat16 narrow(float v, BFloat16) {
  const std::uint32_t bits = bits_of(v);
  const std::uint32_t rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
  const bool is_nan = (bits & 0x7fffffff) > 0x7f800000;
  return {static_cast<std::uint16_t>(is_nan ? bits >> 16 | 0x40 : rounded)};
}

// One stored row from a column on, read as sums need it: columns() gives n of them from `at` on,
// which are those of the table itself or have been put into `buffer`.
template <class S>
struct RowReader {
  using Output = S;
  const S* row;

  RowReader(const char* p, std::ptrdiff_t first) : row(reinterpret_cast<const S*>(p) + first) {}
  static std::ptrdiff_t bytes(std::ptrdiff_t cols) { return cols * std::ptrdiff_t{sizeof(S)}; }

  EMBEDRNN_INLINE const float*
  columns(std::ptrdiff_t at, std::ptrdiff_t n, float* __restrict buffer) const {
    widen(row + at, n, buffer);
    return buffer;
  }
};

template <class T>
struct PlainRowReader {
  using Output = T;
  const T* row;

  PlainRowReader(const char* p, std::ptrdiff_t first)
      : row(reinterpret_cast<const T*>(p) + first) {}
  static std::ptrdiff_t bytes(std::ptrdiff_t cols) { return cols * std::ptrdiff_t{sizeof(T)}; }

  EMBEDRNN_INLINE const T* columns(std::ptrdiff_t at, std::ptrdiff_t, T*) const { return row + at; }
};
template <>
struct RowReader<float> : PlainRowReader<float> {
  using PlainRowReader::PlainRowReader;
};
template <>
struct RowReader<double> : PlainRowReader<double> {
  using PlainRowReader::PlainRowReader;
};

template <>
struct RowReader<Int8Row> {
  using Output = float;
  const std::int8_t* codes;
  float scale, offset;

  RowReader(const char* p, std::ptrdiff_t first)
      : codes(reinterpret_cast<const std::int8_t*>(p) + kInt8RowHeader + first) {
    __builtin_memcpy(&scale, p, sizeof scale);
    __builtin_memcpy(&offset, p + sizeof scale, sizeof offset);
  }
  static std::ptrdiff_t bytes(std::ptrdiff_t cols) { return kInt8RowHeader + cols; }

  EMBEDRNN_INLINE const float*
  columns(std::ptrdiff_t at, std::ptrdiff_t n, float* __restrict buffer) const {
    for (std::ptrdiff_t i = 0; i < n; ++i) {
      buffer[i] = scale * static_cast<float>(codes[at + i]) + offset;
    }
    return buffer;
  }
};

// Puts n sums into a row of outputs.
template <class T, class O>
EMBEDRNN_INLINE void write_columns(const T* from, std::ptrdiff_t n, O* to) {
  for (std::ptrdiff_t i = 0; i < n; ++i) to[i] = narrow(from[i], O{});
}

#if defined(__F16C__)
// The instruction would keep some bits of a NaN: narrow() makes one of them all.
template <int N>
EMBEDRNN_INLINE Part<float, N> one_nan(Part<float, N> sums) {
  typedef std::uint32_t Bits __attribute__((vector_size(4 * N)));
  const Bits bits = __builtin_bit_cast(Bits, sums);
  const Bits one = sums == sums ? bits : (bits & 0x80000000u) | 0x7fc00000u;
  return __builtin_bit_cast(Part<float, N>, one);
}

EMBEDRNN_INLINE void write_columns(const float* from, std::ptrdiff_t n, Float16* to) {
  for_all_parts(n, [=](auto lanes, std::ptrdiff_t at) EMBEDRNN_INLINE_LAMBDA {
    constexpr int kPart = decltype(lanes)::value;
    narrow_part<kPart>(one_nan<kPart>(load_part<kPart>(from + at)), to + at);
  });
}
#endif

}  // namespace
}  // namespace embedrnn::kernels
