#include "seatrial/kernels.h"
#include "simd/vec_generic.h"
#include "simd/math.h"
#include "attention/body.h"
#include "attention/decode_body.h"

namespace seatrial {

AttentionKernels attention_generic() { return attention_kernels(); }
DecodeKernels decode_generic() { return decode_kernels(); }

}  // namespace seatrial
