#include "seatrial/memory.h"

#include <sys/mman.h>

#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <new>
#include <utility>
#include <vector>

namespace seatrial {
namespace {

constexpr std::size_t kHugePage = std::size_t{2} << 20;

std::size_t round_up(std::size_t value, std::size_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

void* allocate(std::size_t bytes) {
  const bool huge = bytes >= kHugePage;
  const std::size_t alignment = huge ? kHugePage : kAlignment;
  void* data = std::aligned_alloc(alignment, round_up(bytes == 0 ? 1 : bytes, alignment));
  if (data == nullptr) throw std::bad_alloc();
#ifdef MADV_HUGEPAGE
  if (huge) madvise(data, bytes / kHugePage * kHugePage, MADV_HUGEPAGE);  // a wish; failure is harmless
#endif
  return data;
}

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
    std::free(block);
  }

 private:
  // Eight classes per power of two: at most 12.5 % is wasted.
  static std::size_t size_class(std::size_t bytes) {
    std::size_t step = kAlignment;
    while (step * 16 <= bytes) step *= 2;
    return round_up(bytes < kAlignment ? kAlignment : bytes, step);
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
  if (buffer.bytes() < bytes) {
    buffer = Buffer();  // free first: the old content is not needed
    const std::size_t roomy = bytes + bytes / 4;
    buffer = Buffer(round_up(roomy, roomy > kHugePage / 8 ? kHugePage : 4096));
  }
  return buffer.data();
}

}  // namespace

Buffer::Buffer(std::size_t bytes) : data_(allocate(bytes)), bytes_(bytes) {}
Buffer::~Buffer() { std::free(data_); }
Buffer::Buffer(Buffer&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}
Buffer& Buffer::operator=(Buffer&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(bytes_, other.bytes_);
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
