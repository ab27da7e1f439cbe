#include "seatrial/kernels.h"
#include "simd/vec_neon.h"
#include "simd/lanes_neon.h"
#include "simd/math.h"
#include "linear/body.h"
#include "linear/quantised_body.h"

namespace seatrial {

LinearKernels linear_neon() { return {kPanel, linear_f32_block, linear_bf16_block, false, nullptr}; }
RoundKernels round_neon() { return {round_to_f32, round_to_bits}; }
QuantisedKernels quantised_neon() {
  return {int8_block, to_int8, nullptr, int4_block, nullptr, int4_to_bf16};
}

}  // namespace seatrial
