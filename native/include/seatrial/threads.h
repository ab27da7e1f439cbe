// One pool of threads for all kernels.
#pragma once

#include "seatrial/kernels.h"

namespace seatrial {

// CPUs this process may really use: min(affinity, cgroup quota), or SEATRIAL_THREADS.
int usable_cpus();

int thread_count();

using Task = void (*)(const void* context, i64 index);
void run_tasks(i64 count, Task task, const void* context);

// Calls body(i) for i in [0, count) on the pool, the caller included; returns when all are done.
// Bodies must not throw and must not call parallel_for.
template <typename Body>
void parallel_for(i64 count, const Body& body) {
  run_tasks(
      count, [](const void* context, i64 index) { (*static_cast<const Body*>(context))(index); }, &body);
}

}  // namespace seatrial
