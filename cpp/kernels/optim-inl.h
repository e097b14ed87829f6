// Steps of optimisers: one kernel, and one struct for each rule. Plain loops, which the compiler
// vectorises; each product that is added to something is so by name, in fma(): left to the
// compiler, which of two products is rounded could differ from one vector width to another.
#pragma once

#include "bag-inl.h"

namespace embedrnn::kernels {
namespace {

// The gradient with that of an L2 penalty. A weight of zero leaves it alone, whatever the parameter
// is: 0 * infinity would be NaN.
template <class T>
EMBEDRNN_INLINE T with_decay(T grad, T param, T decay) {
  const T sum = fma(decay, param, grad);
  return decay != T{0} ? sum : grad;
}

// --- The rules: what they keep, and the new value of a parameter. `a` and `b` are their states,
// elementwise; a rule that goes by rows sees its state and its gradient's mean square in row().

template <class T>
struct Sgd {
  static constexpr int kStates = 0;
  static constexpr bool kRowWise = false;
  static constexpr std::ptrdiff_t kCoefficients = 2;
  T lr, decay;

  explicit Sgd(const T* c) : lr(c[0]), decay(c[1]) {}
  EMBEDRNN_INLINE T operator()(T param, T grad, T&, T&) const {
    return fma(-lr, with_decay(grad, param, decay), param);
  }
};

template <class T>
struct Momentum {
  static constexpr int kStates = 1;
  static constexpr bool kRowWise = false;
  static constexpr std::ptrdiff_t kCoefficients = 4;
  T lr, decay, momentum, nesterov;  // the last is 1 or 0

  explicit Momentum(const T* c) : lr(c[0]), decay(c[1]), momentum(c[2]), nesterov(c[3]) {}
  EMBEDRNN_INLINE T operator()(T param, T grad, T& buffer, T&) const {
    const T decayed = with_decay(grad, param, decay);
    buffer = fma(momentum, buffer, decayed);
    const T ahead = fma(momentum, buffer, decayed);
    return fma(-lr, nesterov != T{0} ? ahead : buffer, param);
  }
};

template <class T>
struct Adagrad {
  static constexpr int kStates = 1;
  static constexpr bool kRowWise = false;
  static constexpr std::ptrdiff_t kCoefficients = 3;
  T lr, decay, eps;

  explicit Adagrad(const T* c) : lr(c[0]), decay(c[1]), eps(c[2]) {}
  EMBEDRNN_INLINE T operator()(T param, T grad, T& sum, T&) const {
    const T decayed = with_decay(grad, param, decay);
    sum = fma(decayed, decayed, sum);
    return fma(-lr, decayed / (sqrt(sum) + eps), param);
  }
};

// FBGEMM's: the mean square of a row's gradient, with its L2 penalty, is added to one sum.
template <class T>
struct RowWiseAdagrad {
  static constexpr int kStates = 1;
  static constexpr bool kRowWise = true;
  static constexpr std::ptrdiff_t kCoefficients = 3;
  T lr, decay, eps, rate = 0;

  explicit RowWiseAdagrad(const T* c) : lr(c[0]), decay(c[1]), eps(c[2]) {}
  EMBEDRNN_INLINE void row(T mean_square, T& sum) {
    sum += mean_square;
    rate = lr / (sqrt(sum) + eps);
  }
  EMBEDRNN_INLINE T operator()(T param, T grad, T&, T&) const {
    return fma(-rate, with_decay(grad, param, decay), param);
  }
};

// Adam and AdamW: the corrections of the bias are in `lr` and `eps`; `keep` is what the decoupled
// decay leaves of the parameter.
template <class T>
struct Adam {
  static constexpr int kStates = 2;
  static constexpr bool kRowWise = false;
  static constexpr std::ptrdiff_t kCoefficients = 7;
  T lr, decay, eps, keep, first, second, kept_of_second;

  explicit Adam(const T* c)
      : lr(c[0]), decay(c[1]), eps(c[2]), keep(c[3]), first(c[4]), second(c[5]),
        kept_of_second(c[6]) {}
  EMBEDRNN_INLINE T operator()(T param, T grad, T& mean, T& square) const {
    const T decayed = with_decay(grad, param, decay);
    mean = fma(first, decayed - mean, mean);
    square = fma(second * decayed, decayed, kept_of_second * square);
    return fma(-lr, mean / (sqrt(square) + eps), keep * param);
  }
};

// --- Halves that are rounded by chance

// The finalizer of MurmurHash3: every bit of the result depends on every bit of x.
EMBEDRNN_INLINE std::uint32_t scrambled(std::uint32_t x) {
  x = (x ^ x >> 16) * 0x85ebca6bu;
  x = (x ^ x >> 13) * 0xc2b2ae35u;
  return x ^ x >> 16;
}

EMBEDRNN_INLINE std::uint32_t low(std::uint64_t v) { return static_cast<std::uint32_t>(v); }
EMBEDRNN_INLINE std::uint32_t high(std::uint64_t v) { return low(v >> 32); }

EMBEDRNN_INLINE std::uint32_t key_of_step(std::uint64_t seed, std::int64_t step) {
  return scrambled(scrambled(low(seed)) ^ low(static_cast<std::uint64_t>(step))) + high(seed);
}

// 32 random bits for an element, by its number: the same whoever asks.
EMBEDRNN_INLINE std::uint32_t random_bits(std::uint32_t key, std::uint64_t element) {
  return scrambled(low(element) + high(element) * 0x9e3779b9u + key);
}

// The value up or down, so that its mean is the value: by 13 random bits; those of a number that is
// subnormal as float16 are summed as a fraction of its spacing, 2^-24.
EMBEDRNN_INLINE Float16 narrow_by_chance(float v, std::uint32_t random, Float16) {
  constexpr std::uint32_t kTooGreat = 0x47800000, kNormal = 0x38800000, kInfinity = 0x7f800000;
  const std::uint32_t magnitude = bits_of(v) & 0x7fffffff, part = random & 0x1fff;
  const std::uint32_t normal = (magnitude - 0x38000000 + part) >> 13;
  const float sum = float_of(magnitude < kNormal ? magnitude : 0u) * 0x1p24f +
                    static_cast<float>(static_cast<std::int32_t>(part)) * 0x1p-13f;
  const auto subnormal = static_cast<std::uint32_t>(static_cast<std::int32_t>(sum));
  std::uint32_t result = magnitude < kNormal ? subnormal : normal;
  result = magnitude < kTooGreat ? result : 0x7c00;
  result = magnitude > kInfinity ? 0x7e00 : result;
  return {static_cast<std::uint16_t>(result | (bits_of(v) >> 16 & 0x8000))};
}

EMBEDRNN_INLINE BFloat16 narrow_by_chance(float v, std::uint32_t random, BFloat16 nearest) {
  const std::uint32_t bits = bits_of(v);
  const bool is_finite = (bits & 0x7fffffff) < 0x7f800000;
  const std::uint32_t result =
      is_finite ? (bits + (random & 0xffff)) >> 16 : std::uint32_t{narrow(v, nearest).bits};
  return {static_cast<std::uint16_t>(result)};
}

// --- One row

// Columns that are in hand at once: those of halves are widened into a buffer.
template <class T>
inline constexpr std::ptrdiff_t kStepColumns = 1024 / std::ptrdiff_t{sizeof(T)};

// One step of n elements. A function of its own, and so are the conversions below: all dtypes that
// are stepped in T share one, which halves the code.
template <class Rule, class T>
EMBEDRNN_NOINLINE void update(const Rule& by,
                              std::ptrdiff_t n,
                              T* __restrict param,
                              const T* __restrict grad,
                              T* __restrict a,
                              T* __restrict b) {
  constexpr int kArrays = Rule::kRowWise ? 0 : Rule::kStates;
  const Rule rule = by;  // a copy that no store can change
  for (std::ptrdiff_t i = 0; i < n; ++i) {
    T first{}, second{};
    if constexpr (kArrays > 0) first = a[i];
    if constexpr (kArrays > 1) second = b[i];
    param[i] = rule(param[i], grad[i], first, second);
    if constexpr (kArrays > 0) a[i] = first;
    if constexpr (kArrays > 1) b[i] = second;
  }
}

template <class S>
EMBEDRNN_NOINLINE void widen_columns(const S* from, std::ptrdiff_t n, float* to) {
  widen(from, n, to);
}

// Rounds n columns to halves, to the nearest or, of the elements from the given one on, by chance.
template <class S>
EMBEDRNN_NOINLINE void round_columns(const float* from, std::ptrdiff_t n, S* to) {
  write_columns(from, n, to);
}
template <class S>
EMBEDRNN_NOINLINE void round_columns_by_chance(
    const float* from, std::ptrdiff_t n, std::uint32_t key, std::uint64_t element, S* to) {
  for (std::ptrdiff_t i = 0; i < n; ++i) {
    const std::uint32_t random = random_bits(key, element + static_cast<std::uint64_t>(i));
    to[i] = narrow_by_chance(from[i], random, S{});
  }
}

// What one step of one row works with.
template <class S>
class RowStep {
  using T = Sum<S>;
  static constexpr bool kHalves = sizeof(S) < sizeof(T);
  static constexpr std::ptrdiff_t kColumns = kStepColumns<T>;

 public:
  RowStep(const OptimBlock<T>& block, std::int64_t row, const char* grad, std::int64_t step)
      : b_(block), row_(row), grad_(grad), step_(step),
        param_(reinterpret_cast<S*>(block.param + row * block.param_row_stride)) {}

  template <class Rule>
  EMBEDRNN_INLINE void run(Rule rule) {
    if constexpr (Rule::kRowWise) rule.row(mean_square(rule.decay), b_.states[0][row_]);
    for (std::ptrdiff_t at = 0; at < b_.cols; at += kColumns) {
      const std::ptrdiff_t n = columns(at);
      T* const param = params(at, n);
      update(rule, n, param, grads(at, n), state<Rule, 0>(at), state<Rule, 1>(at));
      if constexpr (kHalves) put_back(at, n);
    }
  }

 private:
  std::ptrdiff_t columns(std::ptrdiff_t at) const {
    return b_.cols - at < kColumns ? b_.cols - at : kColumns;
  }

  EMBEDRNN_INLINE T* params(std::ptrdiff_t at, std::ptrdiff_t n) {
    if constexpr (kHalves) {
      widen_columns(param_ + at, n, params_);
      return params_;
    } else {
      return param_ + at;
    }
  }

  EMBEDRNN_INLINE const T* grads(std::ptrdiff_t at, std::ptrdiff_t n) {
    if (grad_ == nullptr) {
      for (std::ptrdiff_t i = 0; i < n; ++i) grads_[i] = 0;
      return grads_;
    }
    if constexpr (kHalves) {
      if (b_.half_grad) {
        widen_columns(reinterpret_cast<const S*>(grad_) + at, n, grads_);
        return grads_;
      }
    }
    return reinterpret_cast<const T*>(grad_) + at;
  }

  template <class Rule, int Which>
  EMBEDRNN_INLINE T* state(std::ptrdiff_t at) const {
    if constexpr (Rule::kRowWise || Which >= Rule::kStates) return nullptr;
    return b_.states[Which] + row_ * b_.cols + at;
  }

  EMBEDRNN_INLINE T mean_square(T decay) {
    alignas(EMBEDRNN_VECTOR_BYTES) T decayed[kColumns];
    Dot<T> dot;
    for (std::ptrdiff_t at = 0; at < b_.cols; at += kColumns) {
      const std::ptrdiff_t n = columns(at);
      const T* const param = params(at, n);
      const T* const grad = grads(at, n);
      for (std::ptrdiff_t i = 0; i < n; ++i) decayed[i] = with_decay(grad[i], param[i], decay);
      dot.add(decayed, decayed, n);
    }
    return dot.sum() / static_cast<T>(b_.cols);
  }

  EMBEDRNN_INLINE void put_back(std::ptrdiff_t at, std::ptrdiff_t n) {
    if (!b_.by_chance) return round_columns(params_, n, param_ + at);
    const auto element = b_.first_element + static_cast<std::uint64_t>(row_ * b_.cols + at);
    round_columns_by_chance(params_, n, key_of_step(b_.seed, step_), element, param_ + at);
  }

  const OptimBlock<T>& b_;
  const std::int64_t row_;
  const char* const grad_;  // null: zeros
  const std::int64_t step_;
  S* const param_;
  alignas(EMBEDRNN_VECTOR_BYTES) T params_[kHalves ? kColumns : 1];
  alignas(EMBEDRNN_VECTOR_BYTES) T grads_[kColumns];
};

// --- All rows

template <template <class> class Rule, class S>
EMBEDRNN_INLINE void
step_row(const OptimBlock<Sum<S>>& b, std::int64_t row, const char* grad, std::int64_t step) {
  using R = Rule<Sum<S>>;
  const Sum<S>* const coefficients = b.coefficients + (step - b.first_step) * R::kCoefficients;
  RowStep<S>(b, row, grad, step).run(R(coefficients));
}

// Makes up for the steps that a row has missed until now. A function of its own: most rows of most
// steps do without it.
template <template <class> class Rule, class S>
EMBEDRNN_NOINLINE void
catch_up(const OptimBlock<Sum<S>>& b, std::int64_t row, std::int64_t last, std::int64_t now) {
  if (last == 0 && b.rests) return;
  std::int64_t step = last + 1 < b.first_step ? b.first_step : last + 1;
  for (; step <= now; ++step) step_row<Rule, S>(b, row, nullptr, step);
}

template <template <class> class Rule, class T>
EMBEDRNN_INLINE void fetch_row(const OptimBlock<T>& b, std::int64_t row, std::ptrdiff_t row_bytes) {
  constexpr std::ptrdiff_t kItem = sizeof(T);
  prefetch(b.param + row * b.param_row_stride, row_bytes);
  const std::ptrdiff_t cols = Rule<T>::kRowWise ? 1 : b.cols;
  for (int k = 0; k < Rule<T>::kStates; ++k)
    prefetch(reinterpret_cast<const char*>(b.states[k] + row * cols), cols * kItem);
}

template <template <class> class Rule, class S>
void optim_step(const OptimBlock<Sum<S>>& block) noexcept {
  const OptimBlock<Sum<S>> b = block;  // a copy that no store can change
  const std::ptrdiff_t row_bytes = b.cols * std::ptrdiff_t{sizeof(S)};
  for (std::ptrdiff_t i = 0; i < b.n; ++i) {
    if (b.rows != nullptr && b.ahead > 0 && i + b.ahead < b.n)
      fetch_row<Rule>(b, b.rows[i + b.ahead], row_bytes);
    const std::int64_t row = b.rows != nullptr ? b.rows[i] : b.first_row + i;
    const char* const grad = b.grad != nullptr ? b.grad + i * b.grad_row_stride : nullptr;
    if (b.last != nullptr && (grad != nullptr || b.last[row] > 0 || !b.rests)) {
      const std::int64_t now = grad != nullptr ? b.step - 1 : b.step;
      if (b.last[row] < now) catch_up<Rule, S>(b, row, b.last[row], now);
      b.last[row] = b.step;
    }
    if (grad != nullptr) step_row<Rule, S>(b, row, grad, b.step);
  }
}

}  // namespace
}  // namespace embedrnn::kernels
