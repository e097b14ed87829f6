// What the processor and the operating system can do, and the choice.
#include "runtime/isa.h"

#include <atomic>
#include <cstdlib>
#include <stdexcept>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace embedrnn::runtime {
namespace {

using kernels::Registry;

#if defined(__x86_64__)

bool has_bits(unsigned value, unsigned mask) { return (value & mask) == mask; }

// The register state that the operating system saves on a task switch.
unsigned enabled_state() {
  unsigned low, high;
  __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return low;
}

// Our own test: __builtin_cpu_supports answers "no" to AVX2 in some clang builds of shared
// libraries. The bits are those of x86-64-v3 and -v4 in the System V psABI, which is what the two
// files are compiled for.
int x86_level() {
  unsigned a, b, c, d;
  constexpr unsigned kV3Leaf1 = bit_SSE3 | bit_SSSE3 | bit_FMA | bit_CMPXCHG16B | bit_SSE4_1 |
                                bit_SSE4_2 | bit_MOVBE | bit_POPCNT | bit_OSXSAVE | bit_AVX |
                                bit_F16C;
  if (!__get_cpuid(1, &a, &b, &c, &d) || !has_bits(c, kV3Leaf1)) return 1;
  const unsigned state = enabled_state();
  constexpr unsigned kAvxState = 0x6, kAvx512State = 0xe6;
  if (!has_bits(state, kAvxState)) return 1;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !has_bits(b, bit_BMI | bit_AVX2 | bit_BMI2))
    return 1;
  const unsigned leaf7 = b;
  if (!__get_cpuid(0x80000001, &a, &b, &c, &d) || !has_bits(c, bit_LAHF_LM | bit_ABM)) return 1;
  constexpr unsigned kV4 = bit_AVX512F | bit_AVX512DQ | bit_AVX512CD | bit_AVX512BW | bit_AVX512VL;
  return has_bits(leaf7, kV4) && has_bits(state, kAvx512State) ? 4 : 3;
}

std::vector<const Registry*> available() {
  const int level = x86_level();
  std::vector<const Registry*> found;
  if (level >= 4) found.push_back(&kernels::avx512_kernels);
  if (level >= 3) found.push_back(&kernels::avx2_kernels);
  found.push_back(&kernels::baseline_kernels);
  return found;
}

#elif defined(__aarch64__)

std::vector<const Registry*> available() { return {&kernels::neon_kernels}; }

#else

std::vector<const Registry*> available() { return {&kernels::baseline_kernels}; }

#endif

std::atomic<const Registry*>& current() {
  static std::atomic<const Registry*> registry{available().front()};
  return registry;
}

std::string joined(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : ", ") + name;
  return text;
}

}  // namespace

std::vector<std::string> isas() {
  std::vector<std::string> names;
  for (const Registry* each : available()) names.emplace_back(each->isa);
  return names;
}

const kernels::Registry& registry() { return *current().load(std::memory_order_relaxed); }

void set_isa(std::string_view name) {
  for (const Registry* each : available()) {
    if (name == each->isa) {
      current().store(each, std::memory_order_relaxed);
      return;
    }
  }
  throw std::invalid_argument("ISA '" + std::string(name) +
                              "' is unknown or not supported here; this machine has " +
                              joined(isas()));
}

void set_isa_from_environment() {
  const char* name = std::getenv("EMBEDRNN_ISA");
  if (name == nullptr || *name == '\0') return;
  try {
    set_isa(name);
  } catch (const std::invalid_argument& error) {
    throw std::invalid_argument(std::string("EMBEDRNN_ISA: ") + error.what());
  }
}

}  // namespace embedrnn::runtime
