// A packed weight matrix and the multiply with it.
#pragma once

#include <cstdint>

#include "seatrial/kernels.h"
#include "seatrial/memory.h"

namespace seatrial {

enum class Precision : int { f32 = 0, bf16 = 1, int8 = 2, int4 = 3 };

struct PackedLinear {
  Level level;
  Precision precision;
  i64 n, k, k_padded;
  i64 panel;  // columns per panel
  Buffer weights;
  Buffer bias;  // floats, zeros when there is none
  Buffer scales;   // int8: floats per column; int4: w_groups of LinearCall
  Buffer offsets;  // int8: w_offset of LinearCall
  i64 group = 0;   // int4

  i64 panels() const { return (n + panel - 1) / panel; }
  i64 panel_bytes() const { return panels() == 0 ? 0 : static_cast<i64>(weights.bytes()) / panels(); }
  std::size_t bytes() const { return weights.bytes() + bias.bytes() + scales.bytes() + offsets.bytes(); }
};

// Whether every part has exactly the bytes that the sizes say.
bool has_whole_parts(const PackedLinear& packed);

// `weight` [n, k] is float32, or raw bfloat16 bits; `bias` [n] or null.
PackedLinear pack_linear(Level level, Precision precision, const float* weight, const float* bias, i64 n, i64 k);
PackedLinear pack_linear(Level level, Precision precision, const std::uint16_t* weight, const float* bias, i64 n,
                         i64 k);

// `values` [n, k] in -127..127, `scale` [n].
PackedLinear pack_int8(Level level, const std::int8_t* values, const float* scale, const float* bias, i64 n, i64 k);

// `codes` [n, k] in 0..15; `scale` and `zero` [n, k/group]; a scale is a bfloat16 whose four low bits are zeros.
PackedLinear pack_int4(Level level, const std::uint8_t* codes, const float* scale, const std::uint8_t* zero,
                       const float* bias, i64 n, i64 k, i64 group);

// y [m, n] = activation(x @ weight.T + bias) + residual; rows of x are `ldx` apart; residual may be null.
void run_linear(const PackedLinear& packed, const float* x, i64 ldx, i64 m, bool gelu, const float* residual,
                float* y);

}  // namespace seatrial
