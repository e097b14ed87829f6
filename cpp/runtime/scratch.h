// Temporary memory of one call: sized first, allocated once, carved up without further failure.
#pragma once

#include <atomic>
#include <cstddef>
#include <memory>
#include <new>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace embedrnn::runtime {

inline constexpr std::size_t kScratchAlignment = 64;
// From here on, where the C library gives memory back to the system at once, it begins at a large
// page, and is asked for in large pages where the system has them: a weight of 32 MB was packed in
// 0.15 of the time. Less is handed out again as it is, so that pages of any size cost nothing.
inline constexpr std::size_t kLargeScratch = std::size_t{1} << 25;
inline constexpr std::size_t kLargePage = std::size_t{1} << 21;

// Bytes of a (rows, cols) piece, rounded up to whole cache lines, so that the next one starts
// aligned. Throws std::bad_alloc where no machine has so many: padding may carry a size past what
// NumPy allows.
template <class T>
std::size_t scratch_bytes(std::ptrdiff_t rows, std::ptrdiff_t cols = 1) {
  constexpr std::size_t kMost = std::size_t{1} << 56;
  std::size_t count = 0;
  if (__builtin_mul_overflow(rows, cols, &count) || count > kMost) throw std::bad_alloc();
  return (count * sizeof(T) + kScratchAlignment - 1) / kScratchAlignment * kScratchAlignment;
}

// Owns aligned, uninitialised memory. Throws std::bad_alloc.
class Scratch {
 public:
  explicit Scratch(std::size_t bytes)
      : data_(static_cast<std::byte*>(::operator new(bytes, alignment(bytes))),
              Free{alignment(bytes)}),
        bytes_(bytes) {
#if defined(__linux__)
    if (bytes >= kLargeScratch) madvise(data_.get(), bytes, MADV_HUGEPAGE);
#endif
  }

  std::byte* data() const { return data_.get(); }
  std::size_t bytes() const { return bytes_; }

 private:
  struct Free {
    std::align_val_t alignment;
    void operator()(std::byte* p) const { ::operator delete(p, alignment); }
  };
  static std::align_val_t alignment(std::size_t bytes) {
    return std::align_val_t{bytes >= kLargeScratch ? kLargePage : kScratchAlignment};
  }

  std::unique_ptr<std::byte, Free> data_;
  std::size_t bytes_;
};

// Hands out consecutive pieces of memory, null for those that it has no room for: so one function
// lists the pieces of a scratch, whether they are placed or only measured.
class Carver {
 public:
  Carver() = default;
  Carver(std::byte* memory, std::size_t bytes) : memory_(memory), bytes_(bytes) {}
  explicit Carver(const Scratch& scratch) : Carver(scratch.data(), scratch.bytes()) {}

  template <class T>
  T* take(std::ptrdiff_t rows, std::ptrdiff_t cols = 1) {
    const std::size_t first = used_;
    used_ += scratch_bytes<T>(rows, cols);
    return used_ <= bytes_ ? reinterpret_cast<T*>(memory_ + first) : nullptr;
  }

  std::size_t used() const { return used_; }
  bool had_room() const { return used_ <= bytes_; }

 private:
  std::byte* memory_ = nullptr;
  std::size_t bytes_ = 0, used_ = 0;
};

// A scratch kept from call to call, so that only the first allocates, or one that needs more. A
// call that finds it taken by another thread has a scratch of its own.
class KeptScratch {
 public:
  KeptScratch() = default;
  KeptScratch(KeptScratch&& other) noexcept : kept_(other.kept_.exchange(nullptr)) {}
  ~KeptScratch() { delete kept_.load(); }

  // Calls use() with the pieces that place(carver) takes in their places; `place` may be called
  // twice, first for the memory that there is.
  template <class Place, class Use>
  void with(const Place& place, const Use& use) {
    std::unique_ptr<Scratch> scratch(kept_.exchange(nullptr));
    Carver carver = scratch ? Carver(*scratch) : Carver();
    place(carver);
    if (!scratch || !carver.had_room()) {
      scratch = std::make_unique<Scratch>(carver.used());
      carver = Carver(*scratch);
      place(carver);
    }
    use();
    delete kept_.exchange(scratch.release());
  }

 private:
  std::atomic<Scratch*> kept_{nullptr};
};

}  // namespace embedrnn::runtime
