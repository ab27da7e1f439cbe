#include "seatrial/kernels.h"
#include "simd/vec_generic.h"
#include "simd/math.h"
#include "pointwise/body.h"

namespace seatrial {

PointwiseKernels pointwise_generic() { return {layer_norm, rms_norm, silu_mul, rope}; }

}  // namespace seatrial
