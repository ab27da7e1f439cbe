#include "seatrial/kernels.h"
#include "simd/vec_avx2.h"
#include "simd/lanes_avx2.h"
#include "simd/math.h"
#include "linear/body.h"
#include "linear/quantised_body.h"

namespace seatrial {

LinearKernels linear_avx2() { return {kPanel, linear_f32_block, linear_bf16_block, false, nullptr}; }
RoundKernels round_avx2() { return {round_to_f32, round_to_bits}; }
QuantisedKernels quantised_avx2() {
  return {int8_block, to_int8, nullptr, int4_block, nullptr, int4_to_bf16};
}

}  // namespace seatrial
