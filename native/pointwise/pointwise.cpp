#include "seatrial/pointwise.h"

#include <algorithm>

#include "seatrial/threads.h"

namespace seatrial {
namespace {

constexpr i64 kTaskElements = 32768;  // below this a thread costs more than it saves

// body(first, count) over ranges of rows.
template <typename Body>
void over_rows(i64 rows, i64 elements_per_row, const Body& body) {
  const i64 per_task = std::max<i64>(1, kTaskElements / std::max<i64>(elements_per_row, 1));
  parallel_for((rows + per_task - 1) / per_task, [&](i64 task) {
    const i64 first = task * per_task;
    body(first, std::min(per_task, rows - first));
  });
}

}  // namespace

void run_layer_norm(Level level, Rows x, const float* weight, const float* bias, float eps, float* y) {
  const auto kernel = kernel_table(level).pointwise.layer_norm;
  over_rows(x.count, x.columns, [&](i64 first, i64 count) {
    kernel(x.data + first * x.stride, x.stride, count, x.columns, weight, bias, eps, y + first * x.columns);
  });
}

void run_rms_norm(Level level, Rows x, const float* weight, float eps, float* y) {
  const auto kernel = kernel_table(level).pointwise.rms_norm;
  over_rows(x.count, x.columns, [&](i64 first, i64 count) {
    kernel(x.data + first * x.stride, x.stride, count, x.columns, weight, eps, y + first * x.columns);
  });
}

void run_silu_mul(Level level, Rows gate_up, float* y) {
  const auto kernel = kernel_table(level).pointwise.silu_mul;
  const i64 half = gate_up.columns / 2;
  over_rows(gate_up.count, gate_up.columns, [&](i64 first, i64 count) {
    kernel(gate_up.data + first * gate_up.stride, gate_up.stride, count, half, y + first * half);
  });
}

void run_rope(Level level, const RopeCall& c) {
  const auto kernel = kernel_table(level).pointwise.rope;
  const i64 width = c.heads * 2 * c.half;
  over_rows(c.positions, width, [&](i64 first, i64 count) {
    for (i64 s = first; s < first + count; ++s)
      kernel(c.x + s * c.position_stride, c.head_stride, c.heads, c.half, c.cos + s * c.half, c.sin + s * c.half,
             c.y + s * width);
  });
}

}  // namespace seatrial
