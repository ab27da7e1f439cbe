// Packing weights into panels; done once per weight, over the pool.
#include <bit>
#include <cstring>

#include "seatrial/linear.h"
#include "seatrial/threads.h"

namespace seatrial {
namespace {

float widen(float value) { return value; }
float widen(std::uint16_t bits) { return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16); }

std::uint16_t narrow(std::uint16_t bits) { return bits; }
std::uint16_t narrow(float value) {  // nearest, ties to even; as the reference
  if (value != value) return 0x7FC0;
  const auto bits = std::bit_cast<std::uint32_t>(value);
  return static_cast<std::uint16_t>((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16);
}

// Panel p of [n/panel][k][panel].
template <typename W>
void pack_f32_panel(const PackedLinear& to, const W* weight, i64 p) {
  float* panel = static_cast<float*>(to.weights.data()) + p * to.k * to.panel;
  for (i64 c = 0; c < to.panel; ++c) {
    const i64 column = p * to.panel + c;
    for (i64 i = 0; i < to.k; ++i)
      panel[i * to.panel + c] = column < to.n ? widen(weight[column * to.k + i]) : 0.0F;
  }
}

// Panel p of [n/16][k_padded/2][16][2].
template <typename W>
void pack_bf16_panel(const PackedLinear& to, const W* weight, i64 p) {
  std::uint16_t* panel = static_cast<std::uint16_t*>(to.weights.data()) + p * to.k_padded * kBf16Panel;
  std::memset(panel, 0, static_cast<std::size_t>(to.k_padded * kBf16Panel) * 2);
  for (i64 c = 0; c < kBf16Panel; ++c) {
    const i64 column = p * kBf16Panel + c;
    if (column >= to.n) break;
    for (i64 i = 0; i < to.k; ++i)
      panel[(i / 2) * 2 * kBf16Panel + c * 2 + i % 2] = narrow(weight[column * to.k + i]);
  }
}

template <typename W>
PackedLinear pack(Level level, Precision precision, const W* weight, const float* bias, i64 n, i64 k) {
  const bool bf16 = precision == Precision::bf16;
  const i64 k_padded = bf16 ? (k + kBf16KStep - 1) / kBf16KStep * kBf16KStep : k;
  const i64 panel = bf16 ? kBf16Panel : kernel_table(level).linear.f32_panel;
  const i64 columns = (n + panel - 1) / panel * panel;
  const i64 element = bf16 ? 2 : 4;
  PackedLinear to{level, precision, n, k, k_padded, panel, {}, {}, {}, {}, 0};
  to.weights = Buffer(static_cast<std::size_t>(columns * k_padded * element));
  to.bias = Buffer(static_cast<std::size_t>(columns) * sizeof(float));
  auto* bias_to = static_cast<float*>(to.bias.data());
  for (i64 c = 0; c < columns; ++c) bias_to[c] = bias != nullptr && c < n ? bias[c] : 0.0F;
  parallel_for(to.panels(), [&](i64 p) {
    if (bf16)
      pack_bf16_panel(to, weight, p);
    else
      pack_f32_panel(to, weight, p);
  });
  return to;
}

}  // namespace

bool has_whole_parts(const PackedLinear& p) {
  if (!level_available(p.level) || p.n < 0 || p.k < 0) return false;
  const bool f32 = p.precision == Precision::f32;
  const bool int8 = p.precision == Precision::int8;
  const bool int4 = p.precision == Precision::int4;
  const i64 step = p.precision == Precision::bf16 ? kBf16KStep : int8 ? kInt8KStep : 1;
  if (p.panel != (f32 ? kernel_table(p.level).linear.f32_panel : kBf16Panel)) return false;
  if (p.k_padded != (p.k + step - 1) / step * step) return false;
  if (int4 && (p.group < 32 || p.group % 32 != 0 || p.k % p.group != 0)) return false;
  const i64 columns = p.panels() * p.panel;
  const i64 half_bytes = int4 ? 1 : int8 ? 2 : f32 ? 8 : 4;  // of a weight
  const auto has = [](const Buffer& buffer, i64 bytes) { return buffer.bytes() == static_cast<std::size_t>(bytes); };
  return has(p.weights, columns * p.k_padded * half_bytes / 2) && has(p.bias, columns * 4) &&
         has(p.scales, int8 ? columns * 4 : int4 ? columns * (p.k / p.group) * 2 : 0) &&
         has(p.offsets, int8 ? columns * 4 : 0);
}

PackedLinear pack_linear(Level level, Precision precision, const float* weight, const float* bias, i64 n, i64 k) {
  return pack(level, precision, weight, bias, n, k);
}

PackedLinear pack_linear(Level level, Precision precision, const std::uint16_t* weight, const float* bias, i64 n,
                         i64 k) {
  return pack(level, precision, weight, bias, n, k);
}

}  // namespace seatrial
