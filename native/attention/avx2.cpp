#include "seatrial/kernels.h"
#include "simd/vec_avx2.h"
#include "simd/math.h"
#include "attention/body.h"
#include "attention/decode_body.h"

namespace seatrial {

AttentionKernels attention_avx2() { return attention_kernels(); }
DecodeKernels decode_avx2() { return decode_kernels(); }

}  // namespace seatrial
