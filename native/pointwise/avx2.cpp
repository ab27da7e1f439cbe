#include "seatrial/kernels.h"
#include "simd/vec_avx2.h"
#include "simd/math.h"
#include "pointwise/body.h"

namespace seatrial {

PointwiseKernels pointwise_avx2() { return {layer_norm, rms_norm, silu_mul, rope}; }

}  // namespace seatrial
