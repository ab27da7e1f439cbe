// Blocking and threads of the linear kernels.
//
// A task is a block of rows times a range of panels.  The rows stay in L2 while panels stream through, and
// tasks are numbered so that neighbours share the rows.
#include "seatrial/linear.h"

#include <algorithm>

#include "seatrial/threads.h"

namespace seatrial {
namespace {

constexpr i64 kRowBytes = i64{1400} << 10;  // of one block of rows: most of an L2, some left for panels
constexpr i64 kTileRowBytes = i64{700} << 10;  // the same for the tile kernel, whose sums need room too
constexpr i64 kTilesFrom = 9;               // rows from which the tile unit beats the memory-bound kernel
constexpr double kTaskFlops = 1e8;          // some tens of microseconds
constexpr i64 kTaskBytes = i64{1} << 20;    // of weights, when there are few rows

i64 ceil_div(i64 a, i64 b) { return (a + b - 1) / b; }

struct Blocking {
  i64 rows;    // per task
  i64 panels;  // per task
};

Blocking choose(const PackedLinear& packed, i64 m, i64 row_bytes, i64 row_multiple) {
  i64 rows = std::max(row_multiple, kRowBytes / std::max<i64>(row_bytes, 1) / row_multiple * row_multiple);
  if (rows < m) rows = ceil_div(ceil_div(m, ceil_div(m, rows)), row_multiple) * row_multiple;  // even blocks
  rows = std::min(rows, m);
  const double panel_flops = 2.0 * static_cast<double>(rows * packed.k_padded * packed.panel);
  const i64 panel_bytes = packed.k_padded * packed.panel * (packed.precision == Precision::bf16 ? 2 : 4);
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
Blocking choose_tiles(const PackedLinear& packed, i64 m) {
  const i64 fit = std::max<i64>(64, kTileRowBytes / (packed.k_padded * 2) / 32 * 32);
  const i64 tasks = i64{2} * thread_count();
  const i64 even = std::max<i64>(64, ceil_div(ceil_div(m, tasks), 32) * 32);
  const i64 rows = std::min({fit, even, m});
  const i64 ranges = ceil_div(tasks, ceil_div(m, rows));
  return {rows, std::max<i64>(8, ceil_div(ceil_div(packed.panels(), ranges), 8) * 8)};
}

void run_blocks(const LinearCall& call, LinearBlock block, Blocking size, i64 panels) {
  const i64 ranges = ceil_div(panels, size.panels);
  const i64 row_blocks = ceil_div(call.m, size.rows);
  parallel_for(ranges * row_blocks, [&](i64 task) {
    const i64 row = task / ranges * size.rows;
    const i64 panel = task % ranges * size.panels;
    block(call, row, std::min(call.m, row + size.rows), panel, std::min(panels, panel + size.panels));
  });
}

// Rounds x into scratch, a few rows per task.
template <typename Out, typename Round>
Out* rounded(const LinearCall& call, i64 rows_per_task, const Round& round) {
  auto* out = static_cast<Out*>(call_scratch(static_cast<std::size_t>(call.m * call.k_padded) * sizeof(Out)));
  parallel_for(ceil_div(call.m, rows_per_task), [&](i64 task) {
    const i64 row = task * rows_per_task;
    const i64 rows = std::min(rows_per_task, call.m - row);
    round(call.x + row * call.ldx, call.ldx, rows, call.k, call.k_padded, out + row * call.k_padded);
  });
  return out;
}

}  // namespace

void run_linear(const PackedLinear& packed, const float* x, i64 ldx, i64 m, bool gelu, const float* residual,
                float* y) {
  if (m == 0 || packed.n == 0) return;
  const KernelTable& table = kernel_table(packed.level);
  const LinearKernels& kernels = table.linear;
  LinearCall call{};
  call.m = m;
  call.n = packed.n;
  call.k = packed.k;
  call.k_padded = packed.k_padded;
  call.x = x;
  call.ldx = ldx;
  call.bias = static_cast<const float*>(packed.bias.data());
  call.residual = residual;
  call.y = y;
  call.gelu = gelu;
  if (packed.precision == Precision::f32) {
    call.w_f32 = static_cast<const float*>(packed.weights.data());
    run_blocks(call, kernels.f32, choose(packed, m, packed.k * 4, 12), packed.panels());
    return;
  }
  call.w_bf16 = static_cast<const std::uint16_t*>(packed.weights.data());
  const i64 rows_per_task = std::max<i64>(16, (i64{65536} / packed.k_padded) / 16 * 16);
  if (kernels.bf16_tiles != nullptr && m >= kTilesFrom) {
    run_blocks(call, kernels.bf16_tiles, choose_tiles(packed, m), packed.panels());
  } else if (kernels.bf16_takes_bits) {
    call.a_bits = rounded<std::uint16_t>(call, rows_per_task, table.round.to_bits);
    run_blocks(call, kernels.bf16, choose(packed, m, packed.k_padded * 2, 8), packed.panels());
  } else {
    call.a_f32 = rounded<float>(call, rows_per_task, table.round.to_f32);
    run_blocks(call, kernels.bf16, choose(packed, m, packed.k_padded * 4, 8), packed.panels());
  }
}

}  // namespace seatrial
