// Arrays that end where they say: reading or writing beyond them is a report or a crash, not luck.
//
// With a sanitizer they are on its heap.  Without one each array ends at a page that may not be touched, which
// also catches what sanitizers do not see: masked loads and stores, scatters, loads of real tiles.
#pragma once

#include <cstring>
#include <initializer_list>
#include <utility>

#include "seatrial/kernels.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SEATRIAL_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SEATRIAL_SANITIZED 1
#endif
#endif

namespace seatrial::check {

// Filled with bytes 0xFF: a float of these is NaN, so nobody reads what nobody wrote without being noticed.
void* take_exact(std::size_t bytes, std::size_t alignment);
void give_exact(void* data);

template <typename T>
class Exact {
 public:
  Exact() = default;
  explicit Exact(i64 count)
      : data_(static_cast<T*>(take_exact(static_cast<std::size_t>(count) * sizeof(T), alignof(T)))), count_(count) {}
  Exact(const T* from, i64 count) : Exact(count) {
    std::memcpy(data_, from, static_cast<std::size_t>(count) * sizeof(T));
  }
  Exact(Exact&& other) noexcept : data_(std::exchange(other.data_, nullptr)), count_(std::exchange(other.count_, 0)) {}
  Exact& operator=(Exact&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(count_, other.count_);
    return *this;
  }
  Exact(const Exact&) = delete;
  Exact& operator=(const Exact&) = delete;
  ~Exact() {
    if (data_ != nullptr) give_exact(data_);
  }

  T* data() const { return data_; }
  i64 size() const { return count_; }
  T& operator[](i64 i) const { return data_[i]; }

 private:
  T* data_ = nullptr;
  i64 count_ = 0;
};

using Floats = Exact<float>;

}  // namespace seatrial::check
