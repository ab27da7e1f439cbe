// Drivers of single precisions; each fills in what its kernels read.
#pragma once

#include "linear/blocking.h"
#include "seatrial/memory.h"

namespace seatrial {

void run_int8(const PackedLinear& packed, const KernelTable& table, LinearCall& call);
void run_int4(const PackedLinear& packed, const KernelTable& table, LinearCall& call);

// Most that rounding x takes, in bytes; a multiple of 64.
inline std::size_t entered_bytes(const LinearCall& call) {
  return static_cast<std::size_t>(ceil_div(call.m * call.k_padded * 4, 64) * 64);
}

// Rounds x to bfloat16 into `out`, as bits or as floats; returns the bytes of a row.
inline i64 round_for_bf16(const KernelTable& table, bool bits, LinearCall& call, void* out) {
  if (bits) {
    auto* to = static_cast<std::uint16_t*>(out);
    round_rows(call, to, table.round.to_bits);
    call.a_bits = to;
    return call.k_padded * 2;
  }
  auto* to = static_cast<float*>(out);
  round_rows(call, to, table.round.to_f32);
  call.a_f32 = to;
  return call.k_padded * 4;
}

}  // namespace seatrial
