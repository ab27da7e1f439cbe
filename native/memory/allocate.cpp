// Where memory comes from.  The test program brings its own version of this file, which gives exactly the bytes
// asked for, so that a step beyond them is seen.
#include <sys/mman.h>

#include <cstdlib>
#include <new>

#include "seatrial/memory.h"

namespace seatrial {
namespace {

constexpr std::size_t kHugePage = std::size_t{2} << 20;

std::size_t round_up(std::size_t value, std::size_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

}  // namespace

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

void release(void* data) { std::free(data); }

std::size_t scratch_capacity(std::size_t held, std::size_t wanted) {
  if (held >= wanted) return held;
  const std::size_t roomy = wanted + wanted / 4;
  return round_up(roomy, roomy > kHugePage / 8 ? kHugePage : 4096);
}

}  // namespace seatrial
