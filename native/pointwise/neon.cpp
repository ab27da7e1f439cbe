#include "seatrial/kernels.h"
#include "simd/vec_neon.h"
#include "simd/math.h"
#include "pointwise/body.h"

namespace seatrial {

PointwiseKernels pointwise_neon() { return {layer_norm, rms_norm, silu_mul, rope}; }

}  // namespace seatrial
