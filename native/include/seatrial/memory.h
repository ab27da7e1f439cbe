// Memory that is touched once and reused: first touch of a page costs more than the arithmetic on it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

namespace seatrial {

inline constexpr std::size_t kAlignment = 64;

// Aligned to kAlignment, huge pages where the size allows; throws std::bad_alloc.
void* allocate(std::size_t bytes);
void release(void* data);
// Bytes that scratch shall have which has `held` and must have `wanted`.
std::size_t scratch_capacity(std::size_t held, std::size_t wanted);

// What `allocate` gives, owned; or a view of memory that `keeper` owns.
class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(std::size_t bytes);
  Buffer(const void* data, std::size_t bytes, std::shared_ptr<const void> keeper);
  ~Buffer();
  Buffer(Buffer&& other) noexcept;
  Buffer& operator=(Buffer&& other) noexcept;
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

  void* data() const { return data_; }
  std::size_t bytes() const { return bytes_; }

 private:
  void* data_ = nullptr;
  std::size_t bytes_ = 0;
  std::shared_ptr<const void> keeper_;
};

// A 64-bit sum that any changed, missing or exchanged bytes change; not against intent.
std::uint64_t checksum(const void* data, std::size_t bytes);

// Scratch of the calling thread: grows, is never given back before the thread ends.  Two arenas, since a
// caller's scratch must survive the tasks it runs itself.
void* call_scratch(std::size_t bytes);
void* task_scratch(std::size_t bytes);

// Result arrays.  Freed ones are kept (at most kRecycledBytes together) and handed out again.
inline constexpr std::size_t kRecycledBytes = std::size_t{256} << 20;
void* take_result(std::size_t bytes);
void give_result(void* data);

}  // namespace seatrial
