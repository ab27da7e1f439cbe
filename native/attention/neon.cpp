#include "seatrial/kernels.h"
#include "simd/vec_neon.h"
#include "simd/math.h"
#include "attention/body.h"
#include "attention/decode_body.h"

namespace seatrial {

AttentionKernels attention_neon() { return attention_kernels(); }
DecodeKernels decode_neon() { return decode_kernels(); }

}  // namespace seatrial
