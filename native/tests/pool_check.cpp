// The thread pool and the results that are recycled, used as hard as anyone may.
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cmath>
#include <thread>

#include "seatrial/memory.h"
#include "seatrial/threads.h"
#include "tests/check.h"

namespace seatrial::check {
namespace {

// Every index once, for counts around the number of threads and far beyond it.
bool each_once(i64 count) {
  std::vector<std::atomic<int>> seen(static_cast<std::size_t>(count));
  parallel_for(count, [&](i64 i) { seen[static_cast<std::size_t>(i)].fetch_add(1, std::memory_order_relaxed); });
  for (const std::atomic<int>& times : seen)
    if (times.load() != 1) return false;
  return true;
}

// What tasks write without a lock is there when parallel_for returns, and what was written before is seen by them.
bool results_are_visible(i64 count, i64 round) {
  std::vector<i64> in(static_cast<std::size_t>(count), round);
  std::vector<i64> out(static_cast<std::size_t>(count), -1);
  parallel_for(count, [&](i64 i) { out[static_cast<std::size_t>(i)] = in[static_cast<std::size_t>(i)] + i; });
  for (i64 i = 0; i < count; ++i)
    if (out[static_cast<std::size_t>(i)] != round + i) return false;
  return true;
}

// A task must not start tasks: one that does gets no workers, and all its tasks on its own thread.
bool nested_tasks_stay_on_their_thread() {
  std::atomic<i64> done{0};
  std::atomic<bool> strayed{false};
  parallel_for(16, [&](i64) {
    const std::thread::id mine = std::this_thread::get_id();
    parallel_for(8, [&](i64) {
      if (std::this_thread::get_id() != mine) strayed = true;
      done.fetch_add(1);
    });
  });
  return done.load() == 16 * 8 && !strayed.load();
}

// Several callers at once: one has the workers, the others run alone; nobody waits for ever or misses an index.
bool callers_do_not_meet(int callers, int rounds) {
  std::atomic<bool> right{true};
  std::vector<std::thread> threads;
  for (int c = 0; c < callers; ++c)
    threads.emplace_back([&, c] {
      for (int r = 0; r < rounds; ++r)
        if (!results_are_visible(1 + (c * 7 + r) % 60, r)) right = false;
    });
  for (std::thread& thread : threads) thread.join();
  return right.load();
}

// Scratch of two threads is never the same memory, nor are a caller's and a task's on one thread.
bool scratch_is_private() {
  std::atomic<bool> right{true};
  auto* mine = static_cast<i64*>(call_scratch(sizeof(i64)));
  *mine = 42;
  parallel_for(64, [&](i64 i) {
    const i64 size = 1 + i % 9;
    auto* values = static_cast<i64*>(task_scratch(static_cast<std::size_t>(size) * sizeof(i64)));
    for (i64 j = 0; j < size; ++j) values[j] = i;
    std::this_thread::yield();
    for (i64 j = 0; j < size; ++j)
      if (values[j] != i) right = false;
  });
  return right.load() && *mine == 42;
}

// While tasks run, numbers too small to be normal are zero; the caller's own arithmetic stays as it was.
bool tiny_numbers_become_zero_in_tasks() {
  volatile float least = 1.2e-38F;
  std::atomic<bool> right{true};
  parallel_for(32, [&](i64) {
    if (least * 0.5F != 0.0F) right = false;
  });
  return right.load() && least * 0.5F != 0.0F;
}

#ifndef __SANITIZE_THREAD__  // which does not support threads in the child of a process that had some
// The child has no workers and makes its own pool; the parent keeps its.
bool fork_gives_a_pool_of_its_own() {
  if (!each_once(100)) return false;
  const pid_t child = fork();
  if (child == 0) _exit(each_once(100) && results_are_visible(64, 3) ? 0 : 1);
  const bool here = each_once(100);
  int status = 0;
  return waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0 && here;
}
#endif

// Nobody has made the pool yet; several threads want it at once.
bool first_callers_get_a_pool() {
  std::atomic<bool> right{true};
  std::vector<std::thread> threads;
  for (int c = 0; c < 8; ++c)
    threads.emplace_back([&] {
      if (!results_are_visible(40, 1)) right = false;
    });
  for (std::thread& thread : threads) thread.join();
  return right.load();
}

// Results are recycled only after they are given back, from any thread.
bool results_are_never_shared(int callers, int rounds) {
  std::atomic<bool> right{true};
  std::vector<std::thread> threads;
  for (int c = 0; c < callers; ++c)
    threads.emplace_back([&, c] {
      std::vector<int*> held;
      for (int r = 0; r < rounds; ++r) {
        held.push_back(static_cast<int*>(take_result(4096)));
        for (int i = 0; i < 1024; ++i) held.back()[i] = c;
        if (held.size() < 4) continue;
        for (int i = 0; i < 1024; ++i)
          if (held.front()[i] != c) right = false;
        give_result(held.front());
        held.erase(held.begin());
      }
      for (int* result : held) give_result(result);
    });
  for (std::thread& thread : threads) thread.join();
  return right.load();
}

}  // namespace

void check_pool(const Options& options) {
  const bool first = first_callers_get_a_pool();
  Tally tally("pool", std::to_string(thread_count()) + " threads");
  tally.expect("first callers get a pool", first);
  const i64 rounds = options.quick ? 300 : 3000;
  for (const i64 count : {0, 1, 2, 3, 7, 64, 257, 10007})
    tally.expect("each index once of " + text({count}), each_once(count));
  for (i64 r = 0; r < rounds; ++r) tally.expect("round " + text({r}), results_are_visible(1 + r % 37, r));
  tally.expect("nested tasks stay on their thread", nested_tasks_stay_on_their_thread());
  tally.expect("callers do not meet", callers_do_not_meet(5, static_cast<int>(rounds / 4)));
  tally.expect("scratch is private", scratch_is_private());
  tally.expect("tiny numbers become zero in tasks", tiny_numbers_become_zero_in_tasks());
#ifndef __SANITIZE_THREAD__
  tally.expect("fork gives a pool of its own", fork_gives_a_pool_of_its_own());
#endif
  tally.expect("results are never shared", results_are_never_shared(4, 200));
}

}  // namespace seatrial::check
