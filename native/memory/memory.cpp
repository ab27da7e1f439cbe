#include "seatrial/memory.h"

#include <map>
#include <mutex>
#include <utility>
#include <vector>

namespace seatrial {
namespace {

// A 64-byte header before each result says which list it belongs to.
struct Header {
  std::size_t capacity;
};

class ResultPool {
 public:
  void* take(std::size_t bytes) {
    const std::size_t capacity = size_class(bytes);
    {
      std::lock_guard<std::mutex> lock(mutex_);
      auto found = free_.find(capacity);
      if (found != free_.end() && !found->second.empty()) {
        void* block = found->second.back();
        found->second.pop_back();
        held_ -= capacity;
        return static_cast<char*>(block) + kAlignment;
      }
    }
    void* block = allocate(capacity + kAlignment);
    static_cast<Header*>(block)->capacity = capacity;
    return static_cast<char*>(block) + kAlignment;
  }

  void give(void* data) {
    void* block = static_cast<char*>(data) - kAlignment;
    const std::size_t capacity = static_cast<Header*>(block)->capacity;
    {
      std::lock_guard<std::mutex> lock(mutex_);
      if (held_ + capacity <= kRecycledBytes) {
        free_[capacity].push_back(block);
        held_ += capacity;
        return;
      }
    }
    release(block);
  }

 private:
  // Eight classes per power of two: at most 12.5 % is wasted.
  static std::size_t size_class(std::size_t bytes) {
    std::size_t step = kAlignment;
    while (step * 16 <= bytes) step *= 2;
    return ((bytes < kAlignment ? kAlignment : bytes) + step - 1) / step * step;
  }

  std::mutex mutex_;
  std::map<std::size_t, std::vector<void*>> free_;
  std::size_t held_ = 0;
};

ResultPool& results() {
  static ResultPool* pool = new ResultPool;  // never destroyed: arrays may outlive the module's statics
  return *pool;
}

void* grow(Buffer& buffer, std::size_t bytes) {
  const std::size_t capacity = scratch_capacity(buffer.bytes(), bytes);
  if (capacity != buffer.bytes()) {
    buffer = Buffer();  // free first: the old content is not needed
    buffer = Buffer(capacity);
  }
  return buffer.data();
}

}  // namespace

Buffer::Buffer(std::size_t bytes) : data_(allocate(bytes)), bytes_(bytes) {}
Buffer::Buffer(const void* data, std::size_t bytes, std::shared_ptr<const void> keeper)
    : data_(const_cast<void*>(data)), bytes_(bytes), keeper_(std::move(keeper)) {}
Buffer::~Buffer() {
  if (keeper_ == nullptr) release(data_);
}
Buffer::Buffer(Buffer&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)),
      bytes_(std::exchange(other.bytes_, 0)),
      keeper_(std::exchange(other.keeper_, nullptr)) {}
Buffer& Buffer::operator=(Buffer&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(bytes_, other.bytes_);
  std::swap(keeper_, other.keeper_);
  return *this;
}

void* call_scratch(std::size_t bytes) {
  thread_local Buffer buffer;
  return grow(buffer, bytes);
}

void* task_scratch(std::size_t bytes) {
  thread_local Buffer buffer;
  return grow(buffer, bytes);
}

void* take_result(std::size_t bytes) { return results().take(bytes); }
void give_result(void* data) { results().give(data); }

}  // namespace seatrial
