// Takes the place of memory/allocate.cpp too: packed weights and scratch end where their size says.
#include "tests/exact_memory.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>
#include <new>

#include "seatrial/memory.h"

namespace seatrial::check {

#ifdef SEATRIAL_SANITIZED

void* take_exact(std::size_t bytes, std::size_t alignment) {
  void* data = nullptr;
  if (alignment < sizeof(void*)) alignment = sizeof(void*);
  if (posix_memalign(&data, alignment, bytes) != 0) throw std::bad_alloc();
  std::memset(data, 0xFF, bytes);
  return data;
}

void give_exact(void* data) { std::free(data); }

#else

namespace {

std::size_t page() {
  static const auto size = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  return size;
}

std::size_t pages(std::size_t bytes) { return (bytes + page() - 1) / page() * page(); }

}  // namespace

// A page that holds the size of the whole, pages of data, a page that may not be touched.
void* take_exact(std::size_t bytes, std::size_t alignment) {
  const std::size_t used = (bytes + alignment - 1) / alignment * alignment;
  const std::size_t whole = pages(used) + 2 * page();
  void* base = mmap(nullptr, whole, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (base == MAP_FAILED) throw std::bad_alloc();
  *static_cast<std::size_t*>(base) = whole;
  char* end = static_cast<char*>(base) + whole - page();
  if (mprotect(end, page(), PROT_NONE) != 0) throw std::bad_alloc();
  std::memset(end - used, 0xFF, used);
  return end - used;
}

void give_exact(void* data) {
  // An empty array begins where it ends: at the guard page, which is one page after the size.
  const auto address = reinterpret_cast<std::uintptr_t>(data);
  void* base = reinterpret_cast<void*>(address / page() * page() - page());
  munmap(base, *static_cast<std::size_t*>(base));
}

#endif

}  // namespace seatrial::check

namespace seatrial {

void* allocate(std::size_t bytes) { return check::take_exact(bytes, kAlignment); }

void release(void* data) {
  if (data != nullptr) check::give_exact(data);
}

// What scratch held before is given back even when it would do: a later, smaller use must not hide in it.
std::size_t scratch_capacity(std::size_t, std::size_t wanted) { return wanted; }

}  // namespace seatrial
