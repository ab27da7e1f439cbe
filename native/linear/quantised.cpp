// How the int8 and int4 kernels are driven.
#include "linear/blocking.h"
#include "linear/drivers.h"

namespace seatrial {
namespace {

// Rows from which int4 is turned into bf16 panels first, without and with a kernel that takes bfloat16.
constexpr i64 kExpandFrom = 9;
constexpr i64 kExpandBitsFrom = 17;
// Bytes of those panels at a time: for a few rows they should stay in L2; for many, which each range rounds
// anew, in the last level.
constexpr i64 kFewExpandedBytes = i64{1} << 20;
constexpr i64 kManyExpandedBytes = i64{8} << 20;

// Sums of rounded rows over each group; eight chains, so that the compiler can use vectors.
void sum_groups(const LinearCall& call, const float* a, float* sums) {
  const i64 groups = call.m * (call.k / call.group);
  for (i64 g = 0; g < groups; ++g, a += call.group) {
    float chains[8] = {};
    for (i64 i = 0; i < call.group; i += 8)
      for (i64 j = 0; j < 8; ++j) chains[j] += a[i + j];
    sums[g] = ((chains[0] + chains[4]) + (chains[1] + chains[5])) + ((chains[2] + chains[6]) + (chains[3] + chains[7]));
  }
}

// A few rows: codes are read once, straight from memory.
void few_rows(const PackedLinear& packed, const KernelTable& table, LinearCall& call) {
  const bool bits = table.quantised.int4_bits != nullptr;
  const std::size_t entered = entered_bytes(call);
  const std::size_t sums_bytes = static_cast<std::size_t>(call.m * (call.k / call.group)) * sizeof(float);
  auto* scratch = static_cast<char*>(call_scratch((bits ? 2 : 1) * entered + sums_bytes));
  i64 row_bytes = round_for_bf16(table, false, call, scratch);
  if (bits) row_bytes = round_for_bf16(table, true, call, scratch + entered);
  auto* sums = reinterpret_cast<float*>(scratch + (bits ? 2 : 1) * entered);
  sum_groups(call, call.a_f32, sums);
  call.a_sums = sums;
  const LinearBlock block = bits ? table.quantised.int4_bits : table.quantised.int4;
  run_blocks(call, block, choose(packed, call.m, row_bytes, 16), packed.panels());
}

// Many rows: some panels at a time become bf16 panels in scratch, and the bf16 kernels multiply.
void many_rows(const PackedLinear& packed, const KernelTable& table, LinearCall& call) {
  const LinearKernels& kernels = table.linear;
  const bool tiles = kernels.bf16_tiles != nullptr;
  const i64 panel_bytes = call.k * kBf16Panel * 2;
  const i64 bytes = call.m < 64 ? kFewExpandedBytes : kManyExpandedBytes;
  const i64 most = std::min(packed.panels(), std::max<i64>(8, bytes / panel_bytes / 8 * 8));
  const std::size_t entered = tiles ? 0 : entered_bytes(call);
  auto* scratch = static_cast<char*>(call_scratch(entered + static_cast<std::size_t>(most * panel_bytes)));
  auto* expanded = reinterpret_cast<std::uint16_t*>(scratch + entered);
  const i64 row_bytes = tiles ? call.k * 2 : round_for_bf16(table, kernels.bf16_takes_bits, call, scratch);
  call.w_bf16 = expanded;
  for (i64 first = 0; first < packed.panels(); first += most) {
    const i64 count = std::min(most, packed.panels() - first);
    parallel_for(count, [&](i64 p) {
      table.quantised.int4_to_bf16(call, first + p, expanded + p * call.k * kBf16Panel);
    });
    call.w_bf16_first = first;
    const Blocking size = tiles ? choose_tiles(call.m, row_bytes, count) : choose(packed, call.m, row_bytes, 8);
    run_blocks(call, tiles ? kernels.bf16_tiles : kernels.bf16, size, first, first + count);
  }
}

}  // namespace

void run_int8(const PackedLinear& packed, const KernelTable& table, LinearCall& call) {
  const QuantisedKernels& kernels = table.quantised;
  call.w_int8 = static_cast<const std::int8_t*>(packed.weights.data());
  call.w_scale = static_cast<const float*>(packed.scales.data());
  call.w_offset = static_cast<const std::int32_t*>(packed.offsets.data());
  if (kernels.int8_tiles != nullptr && call.m >= kTilesFrom) {
    run_blocks(call, kernels.int8_tiles, choose_tiles(call.m, call.k_padded, packed.panels()), packed.panels());
    return;
  }
  const i64 value_bytes = ceil_div(call.m * call.k_padded, 64) * 64;
  auto* values = static_cast<std::int8_t*>(call_scratch(static_cast<std::size_t>(value_bytes + call.m * 4)));
  auto* scales = reinterpret_cast<float*>(values + value_bytes);
  for_rows(call, [&](i64 row, i64 rows) {
    kernels.to_int8(call.x + row * call.ldx, call.ldx, rows, call.k, call.k_padded, values + row * call.k_padded,
                    scales + row);
  });
  call.a_int8 = values;
  call.a_scale = scales;
  run_blocks(call, kernels.int8, choose(packed, call.m, call.k_padded, 8), packed.panels());
}

void run_int4(const PackedLinear& packed, const KernelTable& table, LinearCall& call) {
  call.w_int4 = static_cast<const std::uint32_t*>(packed.weights.data());
  call.w_groups = static_cast<const std::uint16_t*>(packed.scales.data());
  call.group = packed.group;
  if (call.m < (table.quantised.int4_bits != nullptr ? kExpandBitsFrom : kExpandFrom))
    few_rows(packed, table, call);
  else
    many_rows(packed, table, call);
}

}  // namespace seatrial
