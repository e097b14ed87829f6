// exp, sigmoid and tanh of a vector. NaN stays NaN, infinities and subnormals give what the
// function gives. Worst error over all float32 values, against float64, in units in the last place:
// exp 1.10, sigmoid 1.53, tanh 1.81 where there is FMA; 1.05, 2.38, 2.46 without.
// tests/test_math.py samples it.
#pragma once

#include "simd-inl.h"

namespace embedrnn::kernels {
namespace {

// q(r) = (exp(r) - 1 - r) / r^2 on [-ln2/2, ln2/2], a Chebyshev fit in rising powers, and where to
// cut the argument.
template <class T>
struct ExpConstants;

template <>
struct ExpConstants<float> {
  static constexpr float kQ[] = {0.5f,
                                 0.16666576845993976f,
                                 0.041666554437685939f,
                                 0.0083632029715758549f,
                                 0.0013926213466332443f};
  static constexpr float kLog2E = 1.44269504088896341f;
  // ln 2 in two parts; the first has so few bits that its product with any exponent is exact.
  static constexpr float kLn2High = 0.693359375f, kLn2Low = -2.12194440054690583e-4f;
  static constexpr float kRound =
      12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer, kept in the low bits
  static constexpr int kMantissaBits = 23, kBias = 127, kHalfRange = 64;
  static constexpr float kLowest = -104.0f, kHighest = 89.0f;  // exp is 0 below and infinite above
  static constexpr float kTanhIsOne = 9.1f;                    // tanh rounds to 1 from here
};

template <>
struct ExpConstants<double> {
  static constexpr double kQ[] = {0.50000000000000010262,
                                  0.16666666666666667456,
                                  0.041666666666623991516,
                                  0.0083333333333300513464,
                                  0.0013888888917281793308,
                                  0.00019841269863105968748,
                                  0.000024801521190217727651,
                                  2.7557268378684192873e-6,
                                  2.7620138719733995569e-7,
                                  2.5100424157005066788e-8};
  static constexpr double kLog2E = 1.44269504088896340736;
  static constexpr double kLn2High = 0.693147180369123816490, kLn2Low = 1.90821492927058770002e-10;
  static constexpr double kRound = 6755399441055744.0;  // 1.5 * 2^52
  static constexpr int kMantissaBits = 52, kBias = 1023, kHalfRange = 512;
  static constexpr double kLowest = -746.0, kHighest = 710.0;
  static constexpr double kTanhIsOne = 19.1;
};

// exp(x) = 2^n (1 + p): n in the low bits of `rounded`, p accurate relative to itself.
template <class T>
struct ExpParts {
  Vec<T> rounded, p;
};

template <class T>
EMBEDRNN_INLINE ExpParts<T> exp_parts(Vec<T> x) {
  using C = ExpConstants<T>;
  const Vec<T> rounded = x * C::kLog2E + C::kRound;
  const Vec<T> n = rounded - C::kRound;
  const Vec<T> r = (x - n * C::kLn2High) - n * C::kLn2Low;
  constexpr int kTerms = sizeof(C::kQ) / sizeof(T);
  Vec<T> q = broadcast(C::kQ[kTerms - 1]);
  for (int i = kTerms - 2; i >= 0; --i) q = q * r + C::kQ[i];
  return {rounded, r * r * q + r};
}

// 2^(n + shift), for n in the low bits of `rounded`; the rest of those bits is shifted out.
template <class T>
EMBEDRNN_INLINE Vec<T> power_of_two(Vec<T> rounded, IntVec<T> shift) {
  using C = ExpConstants<T>;
  return from_bits<T>((bits<T>(rounded) + shift + C::kBias) << C::kMantissaBits);
}

template <class T>
EMBEDRNN_INLINE Vec<T> exp(Vec<T> x) {
  using C = ExpConstants<T>;
  x = x < C::kLowest ? broadcast(C::kLowest) : x;  // comparisons with NaN are false: it passes
  x = x > C::kHighest ? broadcast(C::kHighest) : x;
  const ExpParts<T> e = exp_parts<T>(x);
  // 2^n alone may be subnormal or infinite where the result is not: multiply in two steps.
  const IntVec<T> half = (x < T{0}) & IntVec<T>(IntVec<T>{} + 2 * C::kHalfRange);
  const Vec<T> first = power_of_two<T>(e.rounded, half - C::kHalfRange);
  const Vec<T> second = from_bits<T>((C::kBias + C::kHalfRange - half) << C::kMantissaBits);
  return (first + first * e.p) * second;
}

// n / (d + d_low), where d_low is what rounding took from d.
template <class T>
struct Fraction {
  Vec<T> n, d, d_low;
};

// The remainder of the division is put back, for a fifth of the cost of tanh: without it the three
// roundings came to 2.3 to 2.5 ULP.
template <class T>
EMBEDRNN_INLINE Vec<T> divide(const Fraction<T>& f) {
  const Vec<T> reciprocal = T{1} / f.d;
  const Vec<T> quotient = f.n * reciprocal;
  const Vec<T> remainder = (f.n - quotient * f.d) - quotient * f.d_low;
  return quotient + remainder * reciprocal;
}

// exp of a number whose sign bit is set, which never overflows: a quarter less work than exp.
template <class T>
EMBEDRNN_INLINE Vec<T> exp_negative(Vec<T> x) {
  using C = ExpConstants<T>;
  x = x < C::kLowest ? broadcast(C::kLowest) : x;
  const ExpParts<T> e = exp_parts<T>(x);
  const Vec<T> first = power_of_two<T>(e.rounded, IntVec<T>{} + C::kHalfRange);
  const IntVec<T> second = (IntVec<T>{} + (C::kBias - C::kHalfRange)) << C::kMantissaBits;
  return (first + first * e.p) * from_bits<T>(second);
}

template <class T>
EMBEDRNN_INLINE Fraction<T> sigmoid_fraction(Vec<T> x) {
  // e / (1 + e) keeps the small results of a negative x exact.
  const Vec<T> e = exp_negative<T>(from_bits<T>(bits<T>(x) | bits<T>(broadcast(T{-0.0}))));
  const Vec<T> d = e + T{1};
  return {x > T{0} ? broadcast(T{1}) : e, d, e - (d - T{1})};
}

template <class T>
EMBEDRNN_INLINE IntVec<T> sign_bit(Vec<T> x) {
  return bits<T>(x) & bits<T>(broadcast(T{-0.0}));
}

// tanh of |x|; its sign is that of x.
template <class T>
EMBEDRNN_INLINE Fraction<T> tanh_fraction(Vec<T> x) {
  using C = ExpConstants<T>;
  Vec<T> y = from_bits<T>(bits<T>(x) ^ sign_bit<T>(x));
  y = y > C::kTanhIsOne ? broadcast(C::kTanhIsOne) : y;
  // expm1(2y) / (expm1(2y) + 2), without the cancellation that 1 - 2 / (exp(2y) + 1) has near zero.
  const ExpParts<T> e = exp_parts<T>(y + y);
  const Vec<T> scale = power_of_two<T>(e.rounded, IntVec<T>{});
  const Vec<T> expm1 = scale * e.p + (scale - T{1});
  const Vec<T> d = expm1 + T{2};
  return {expm1, d, expm1 - (d - T{2})};
}

template <class T>
EMBEDRNN_INLINE Vec<T> sigmoid(Vec<T> x) {
  return divide<T>(sigmoid_fraction<T>(x));
}

template <class T>
EMBEDRNN_INLINE Vec<T> tanh(Vec<T> x) {
  return from_bits<T>(bits<T>(divide<T>(tanh_fraction<T>(x))) | sign_bit<T>(x));
}

// sigmoid(x) tanh(y) with one division, whose fewer roundings need no remainder: two thirds of the
// cost of the two.
template <class T>
EMBEDRNN_INLINE Vec<T> sigmoid_times_tanh(Vec<T> x, Vec<T> y) {
  const Fraction<T> a = sigmoid_fraction<T>(x), b = tanh_fraction<T>(y);
  return from_bits<T>(bits<T>(a.n * b.n / (a.d * b.d)) | sign_bit<T>(y));
}

// The two without their remainders, which makes up to 2.5 ULP: next to the product of both, which
// shares their fractions, a division each is all that they cost.
template <class T>
EMBEDRNN_INLINE Vec<T> near_sigmoid(Vec<T> x) {
  const Fraction<T> f = sigmoid_fraction<T>(x);
  return f.n / f.d;
}
template <class T>
EMBEDRNN_INLINE Vec<T> near_tanh(Vec<T> x) {
  const Fraction<T> f = tanh_fraction<T>(x);
  return from_bits<T>(bits<T>(f.n / f.d) | sign_bit<T>(x));
}

template <class T>
EMBEDRNN_INLINE Vec<T> relu(Vec<T> x) {
  return x < T{0} ? Vec<T>{} : x;  // NaN passes
}

// out[i] = F(x[i]); the tail goes through a full vector, so every lane takes the same path.
template <class T, Vec<T> (*F)(Vec<T>)>
void elementwise(const T* x, std::ptrdiff_t n, T* out) noexcept {
  std::ptrdiff_t i = 0;
  for (; i + kLanes<T> <= n; i += kLanes<T>) store(out + i, F(load(x + i)));
  if (i == n) return;
  Vec<T> tail{};
  for (std::ptrdiff_t j = 0; j < n - i; ++j) tail[j] = x[i + j];
  store_first(out + i, F(tail), n - i);
}

}  // namespace
}  // namespace embedrnn::kernels
