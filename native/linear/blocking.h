// Blocking and threads of the linear drivers.
//
// A task is a block of rows times a range of panels.  The rows stay in L2 while panels stream through, and
// tasks are numbered so that neighbours share the rows.
#pragma once

#include <algorithm>

#include "seatrial/linear.h"
#include "seatrial/threads.h"

namespace seatrial {

constexpr i64 kRowBytes = i64{1400} << 10;  // of one block of rows: most of an L2, some left for panels
constexpr i64 kTileRowBytes = i64{700} << 10;  // the same for the tile kernel, whose sums need room too
constexpr i64 kTilesFrom = 9;               // rows from which the tile unit beats the memory-bound kernel
constexpr double kTaskFlops = 1e8;          // some tens of microseconds
constexpr i64 kTaskBytes = i64{1} << 20;    // of weights, when there are few rows

inline i64 ceil_div(i64 a, i64 b) { return (a + b - 1) / b; }

struct Blocking {
  i64 rows;    // per task
  i64 panels;  // per task
};

inline Blocking choose(const PackedLinear& packed, i64 m, i64 row_bytes, i64 row_multiple) {
  i64 rows = std::max(row_multiple, kRowBytes / std::max<i64>(row_bytes, 1) / row_multiple * row_multiple);
  if (rows < m) rows = ceil_div(ceil_div(m, ceil_div(m, rows)), row_multiple) * row_multiple;  // even blocks
  rows = std::min(rows, m);
  const double panel_flops = 2.0 * static_cast<double>(rows * packed.k_padded * packed.panel);
  const i64 panel_bytes = packed.panel_bytes();
  // Some tens of microseconds by arithmetic or by memory traffic, and at least three tasks per thread.
  i64 panels = std::max<i64>(1, std::min(static_cast<i64>(kTaskFlops / panel_flops), packed.panels()));
  panels = std::min(panels, std::max<i64>(1, kTaskBytes / std::max<i64>(panel_bytes, 1)));
  const i64 most = ceil_div(packed.panels() * ceil_div(m, rows), i64{3} * thread_count());
  panels = std::max<i64>(1, std::min(panels, most));
  if (panels > 1) panels = ceil_div(panels, 2) * 2;  // the tile kernel takes panels in pairs
  return {rows, panels};
}

// The tile kernel rounds the rows of its task first, so tasks are all panels of some rows where there are
// rows enough, and two per thread, since a core may be busy with something else.
inline Blocking choose_tiles(i64 m, i64 row_bytes, i64 panels) {
  const i64 fit = std::max<i64>(64, kTileRowBytes / row_bytes / 32 * 32);
  const i64 tasks = i64{2} * thread_count();
  const i64 even = std::max<i64>(64, ceil_div(ceil_div(m, tasks), 32) * 32);
  const i64 rows = std::min({fit, even, m});
  const i64 ranges = ceil_div(tasks, ceil_div(m, rows));
  return {rows, std::max<i64>(8, ceil_div(ceil_div(panels, ranges), 8) * 8)};
}

inline void run_blocks(const LinearCall& call, LinearBlock block, Blocking size, i64 first, i64 end) {
  const i64 ranges = ceil_div(end - first, size.panels);
  const i64 row_blocks = ceil_div(call.m, size.rows);
  parallel_for(ranges * row_blocks, [&](i64 task) {
    const i64 row = task / ranges * size.rows;
    const i64 panel = first + task % ranges * size.panels;
    block(call, row, std::min(call.m, row + size.rows), panel, std::min(end, panel + size.panels));
  });
}
inline void run_blocks(const LinearCall& call, LinearBlock block, Blocking size, i64 panels) {
  run_blocks(call, block, size, 0, panels);
}

// Calls body(row, rows) for all rows, a few per task.
template <typename Body>
void for_rows(const LinearCall& call, const Body& body) {
  const i64 per_task = std::max<i64>(16, (i64{65536} / std::max<i64>(call.k_padded, 1)) / 16 * 16);
  parallel_for(ceil_div(call.m, per_task),
               [&](i64 task) { body(task * per_task, std::min(per_task, call.m - task * per_task)); });
}

// Rounds x into `out` [m, k_padded].
template <typename Out, typename Round>
void round_rows(const LinearCall& call, Out* out, const Round& round) {
  for_rows(call, [&](i64 row, i64 rows) {
    round(call.x + row * call.ldx, call.ldx, rows, call.k, call.k_padded, out + row * call.k_padded);
  });
}

}  // namespace seatrial
