#include "seatrial/kernels.h"
#include "simd/vec_avx512.h"
#include "simd/math.h"
#include "attention/body.h"
#include "attention/decode_body.h"

namespace seatrial {

AttentionKernels attention_avx512() { return attention_kernels(); }
DecodeKernels decode_avx512() { return decode_kernels(); }

}  // namespace seatrial
