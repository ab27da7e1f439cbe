// Softmax attention with grouped queries.
#pragma once

#include "seatrial/kernels.h"

namespace seatrial {

// Fills call.out; strides of q, k, v may be anything.
void run_attention(Level level, const AttentionCall& call);

}  // namespace seatrial
