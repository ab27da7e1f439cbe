// Row-wise operations, spread over the pool when there is enough to do.
#pragma once

#include "seatrial/kernels.h"

namespace seatrial {

struct Rows {  // [count, columns] float32, rows `stride` apart
  const float* data;
  i64 count, columns, stride;
};

void run_layer_norm(Level level, Rows x, const float* weight, const float* bias, float eps, float* y);
void run_rms_norm(Level level, Rows x, const float* weight, float eps, float* y);
void run_silu_mul(Level level, Rows gate_up, float* y);  // y [count, columns / 2]

// x [positions, heads, 2 * half] with strides; cos and sin [positions, half].
struct RopeCall {
  const float* x;
  i64 positions, heads, half, position_stride, head_stride;
  const float* cos;
  const float* sin;
  float* y;
};
void run_rope(Level level, const RopeCall& call);

}  // namespace seatrial
