// The multiply with a packed weight: which kernel, and for f32 and bf16 how it is driven.
#include "seatrial/linear.h"

#include "linear/blocking.h"
#include "linear/drivers.h"

namespace seatrial {
namespace {

void run_f32(const PackedLinear& packed, const LinearKernels& kernels, LinearCall& call) {
  call.w_f32 = static_cast<const float*>(packed.weights.data());
  run_blocks(call, kernels.f32, choose(packed, call.m, packed.k * 4, 12), packed.panels());
}

void run_bf16(const PackedLinear& packed, const KernelTable& table, LinearCall& call) {
  const LinearKernels& kernels = table.linear;
  call.w_bf16 = static_cast<const std::uint16_t*>(packed.weights.data());
  if (kernels.bf16_tiles != nullptr && call.m >= kTilesFrom) {
    run_blocks(call, kernels.bf16_tiles, choose_tiles(call.m, packed.k_padded * 2, packed.panels()),
               packed.panels());
    return;
  }
  const i64 row_bytes = round_for_bf16(table, kernels.bf16_takes_bits, call, call_scratch(entered_bytes(call)));
  run_blocks(call, kernels.bf16, choose(packed, call.m, row_bytes, 8), packed.panels());
}

}  // namespace

void run_linear(const PackedLinear& packed, const float* x, i64 ldx, i64 m, bool gelu, const float* residual,
                float* y) {
  if (m == 0 || packed.n == 0) return;
  const KernelTable& table = kernel_table(packed.level);
  LinearCall call{};
  call.m = m;
  call.n = packed.n;
  call.k = packed.k;
  call.k_padded = packed.k_padded;
  call.x = x;
  call.ldx = ldx;
  call.bias = static_cast<const float*>(packed.bias.data());
  call.residual = residual;
  call.y = y;
  call.gelu = gelu;
  switch (packed.precision) {
    case Precision::f32:
      return run_f32(packed, table.linear, call);
    case Precision::bf16:
      return run_bf16(packed, table, call);
    case Precision::int8:
      return run_int8(packed, table, call);
    case Precision::int4:
      return run_int4(packed, table, call);
  }
}

}  // namespace seatrial
