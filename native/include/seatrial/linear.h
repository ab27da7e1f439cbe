// A packed weight matrix and the multiply with it.
#pragma once

#include <cstdint>

#include "seatrial/kernels.h"
#include "seatrial/memory.h"

namespace seatrial {

enum class Precision : int { f32 = 0, bf16 = 1 };

struct PackedLinear {
  Level level;
  Precision precision;
  i64 n, k, k_padded;
  i64 panel;  // columns per panel
  Buffer weights;
  Buffer bias;  // floats, zeros when there is none

  i64 panels() const { return (n + panel - 1) / panel; }
  std::size_t bytes() const { return weights.bytes() + bias.bytes(); }
};

// `weight` [n, k] is float32, or raw bfloat16 bits; `bias` [n] or null.
PackedLinear pack_linear(Level level, Precision precision, const float* weight, const float* bias, i64 n, i64 k);
PackedLinear pack_linear(Level level, Precision precision, const std::uint16_t* weight, const float* bias, i64 n,
                         i64 k);

// y [m, n] = activation(x @ weight.T + bias) + residual; rows of x are `ldx` apart; residual may be null.
void run_linear(const PackedLinear& packed, const float* x, i64 ldx, i64 m, bool gelu, const float* residual,
                float* y);

}  // namespace seatrial
