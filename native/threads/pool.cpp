// The pool: workers take task numbers from one counter, so that a core which is busy elsewhere does not hold
// up the others.  Idle workers sleep on a futex (std::atomic::wait) after a spin of some microseconds.
#include <pthread.h>

#include <atomic>
#include <mutex>
#include <thread>
#include <vector>

#include "seatrial/threads.h"

namespace seatrial {
namespace {

constexpr int kSpins = 300;

void pause_cpu() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

// While kernels run, results below 1.2e-38 become zero: on x86 each such number would cost over a hundred
// cycles, and tails of exponentials are full of them; on arm64 so that all kernels there agree, as bfmmla has no
// other way.  The caller's mode is put back afterwards.
class FlushTiny {
 public:
#if defined(__x86_64__)
  FlushTiny() : before_(__builtin_ia32_stmxcsr()) { __builtin_ia32_ldmxcsr(before_ | kFlushAndDenormalsAreZero); }
  ~FlushTiny() { __builtin_ia32_ldmxcsr(before_); }
  FlushTiny(const FlushTiny&) = delete;
  FlushTiny& operator=(const FlushTiny&) = delete;

 private:
  static constexpr unsigned kFlushAndDenormalsAreZero = 0x8040;
  unsigned before_;
#elif defined(__aarch64__)
  FlushTiny() : before_(mode()) { set_mode(before_ | kFlushToZero); }
  ~FlushTiny() { set_mode(before_); }
  FlushTiny(const FlushTiny&) = delete;
  FlushTiny& operator=(const FlushTiny&) = delete;

 private:
  static constexpr std::uint64_t kFlushToZero = 1U << 24;  // of operands and results
  static std::uint64_t mode() {
    std::uint64_t value = 0;
    __asm__ volatile("mrs %0, fpcr" : "=r"(value));
    return value;
  }
  static void set_mode(std::uint64_t value) { __asm__ volatile("msr fpcr, %0" : : "r"(value)); }
  std::uint64_t before_;
#else
  FlushTiny() {}
#endif
};

// Waits until `value` differs from `old`; short spin, then sleep.
template <typename T>
void wait_change(const std::atomic<T>& value, T old) {
  for (int i = 0; i < kSpins; ++i) {
    if (value.load(std::memory_order_acquire) != old) return;
    pause_cpu();
  }
  value.wait(old, std::memory_order_acquire);
}

class Pool {
 public:
  explicit Pool(int threads) : threads_(threads) {
    for (int i = 1; i < threads; ++i) std::thread([this] { serve(); }).detach();
  }

  int threads() const { return threads_; }

  void run(i64 count, Task task, const void* context) {
    std::unique_lock<std::mutex> turn(turn_, std::try_to_lock);
    if (!turn.owns_lock()) {  // another Python thread has the workers: waiting would not be faster
      for (i64 i = 0; i < count; ++i) task(context, i);
      return;
    }
    task_ = task;
    context_ = context;
    count_ = count;
    next_.store(0, std::memory_order_relaxed);
    state_.store(kOpen, std::memory_order_release);
    round_.fetch_add(1, std::memory_order_release);
    round_.notify_all();
    work();
    // Close the round: workers that have not woken yet are not waited for.
    unsigned state = state_.fetch_and(~kOpen, std::memory_order_acq_rel) & ~kOpen;
    for (; state != 0; state = state_.load(std::memory_order_acquire)) wait_change(state_, state);
  }

 private:
  static constexpr unsigned kOpen = 1U << 31;  // the other bits of state_ count workers inside

  void work() {
    for (i64 i = next_.fetch_add(1, std::memory_order_relaxed); i < count_;
         i = next_.fetch_add(1, std::memory_order_relaxed))
      task_(context_, i);
  }

  void serve() {
    const FlushTiny flush;
    unsigned seen = 0;
    for (;;) {
      wait_change(round_, seen);
      seen = round_.load(std::memory_order_acquire);
      unsigned state = state_.load(std::memory_order_acquire);
      while ((state & kOpen) != 0) {
        if (!state_.compare_exchange_weak(state, state + 1, std::memory_order_acq_rel)) continue;
        work();
        if (state_.fetch_sub(1, std::memory_order_acq_rel) == 1) state_.notify_one();
        break;
      }
    }
  }

  const int threads_;
  std::mutex turn_;
  std::atomic<unsigned> round_{0};
  std::atomic<unsigned> state_{0};
  std::atomic<i64> next_{0};
  Task task_ = nullptr;
  const void* context_ = nullptr;
  i64 count_ = 0;
};

std::atomic<Pool*> current{nullptr};

// After fork the child has no workers; the parent's pool is abandoned there and a new one made on demand.
void forget_pool() { current.store(nullptr, std::memory_order_relaxed); }

Pool& pool() {
  Pool* existing = current.load(std::memory_order_acquire);
  if (existing != nullptr) return *existing;
  static const int registered = pthread_atfork(nullptr, nullptr, forget_pool);
  (void)registered;
  Pool* fresh = new Pool(usable_cpus());  // lives as long as the process: workers are detached
  if (current.compare_exchange_strong(existing, fresh)) return *fresh;
  return *existing;  // two first callers at once: the loser's idle workers sleep for good
}

}  // namespace

int thread_count() { return pool().threads(); }

void run_tasks(i64 count, Task task, const void* context) {
  if (count <= 0) return;
  const FlushTiny flush;
  if (count == 1 || thread_count() == 1) {
    for (i64 i = 0; i < count; ++i) task(context, i);
    return;
  }
  pool().run(count, task, context);
}

}  // namespace seatrial
