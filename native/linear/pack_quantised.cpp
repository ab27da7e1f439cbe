// Packing whole numbers into panels of 16 columns; the numbers are chosen in ops/quantise.py.
#include <cstring>

#include "linear/blocking.h"

namespace seatrial {
namespace {

Buffer padded_floats(const float* values, i64 n, i64 columns) {
  Buffer to(static_cast<std::size_t>(columns) * sizeof(float));
  auto* floats = static_cast<float*>(to.data());
  for (i64 c = 0; c < columns; ++c) floats[c] = values != nullptr && c < n ? values[c] : 0.0F;
  return to;
}

// Panel p of [n/16][k_padded/4][16][4], and its offsets.
void pack_int8_panel(const PackedLinear& to, const std::int8_t* values, i64 p) {
  std::int8_t* panel = static_cast<std::int8_t*>(to.weights.data()) + p * to.k_padded * kBf16Panel;
  std::int32_t* offsets = static_cast<std::int32_t*>(to.offsets.data()) + p * kBf16Panel;
  std::memset(panel, 0, static_cast<std::size_t>(to.k_padded * kBf16Panel));
  for (i64 c = 0; c < kBf16Panel; ++c) {
    const i64 column = p * kBf16Panel + c;
    std::int32_t sum = 0;
    for (i64 i = 0; column < to.n && i < to.k; ++i) {
      const std::int8_t value = values[column * to.k + i];
      panel[(i / 4) * 4 * kBf16Panel + c * 4 + i % 4] = value;
      sum += value;
    }
    offsets[c] = -128 * sum;
  }
}

// Panel p of [n/16][k/8][16] words of eight codes.
void pack_codes(const PackedLinear& to, const std::uint8_t* codes, i64 p) {
  std::uint32_t* panel = static_cast<std::uint32_t*>(to.weights.data()) + p * (to.k / 8) * kBf16Panel;
  for (i64 c = 0; c < kBf16Panel; ++c) {
    const i64 column = p * kBf16Panel + c;
    for (i64 i = 0; i < to.k; i += 8) {
      std::uint32_t word = 0;
      for (i64 j = 0; column < to.n && j < 8; ++j)
        word |= static_cast<std::uint32_t>(codes[column * to.k + i + j] & 15U) << (j / 2 * 4 + j % 2 * 16);
      panel[(i / 8) * kBf16Panel + c] = word;
    }
  }
}

// Panel p of [n/16][k/group][16]: the scale's bfloat16 with the zero in its low bits.
void pack_groups(const PackedLinear& to, const float* scale, const std::uint8_t* zero, i64 p) {
  const i64 groups = to.k / to.group;
  std::uint16_t* panel = static_cast<std::uint16_t*>(to.scales.data()) + p * groups * kBf16Panel;
  for (i64 c = 0; c < kBf16Panel; ++c) {
    const i64 column = p * kBf16Panel + c;
    for (i64 g = 0; g < groups; ++g) {
      std::uint32_t bits = 0;
      if (column < to.n) {
        std::memcpy(&bits, scale + column * groups + g, sizeof bits);
        bits = (bits >> 16 & 0xFFF0U) | (zero[column * groups + g] & 15U);
      }
      panel[g * kBf16Panel + c] = static_cast<std::uint16_t>(bits);
    }
  }
}

}  // namespace

PackedLinear pack_int8(Level level, const std::int8_t* values, const float* scale, const float* bias, i64 n, i64 k) {
  PackedLinear to{level, Precision::int8, n, k, ceil_div(k, kInt8KStep) * kInt8KStep, kBf16Panel, {}, {}, {}, {}, 0};
  const i64 columns = to.panels() * kBf16Panel;
  to.weights = Buffer(static_cast<std::size_t>(columns * to.k_padded));
  to.offsets = Buffer(static_cast<std::size_t>(columns) * sizeof(std::int32_t));
  to.bias = padded_floats(bias, n, columns);
  to.scales = padded_floats(scale, n, columns);
  parallel_for(to.panels(), [&](i64 p) { pack_int8_panel(to, values, p); });
  return to;
}

PackedLinear pack_int4(Level level, const std::uint8_t* codes, const float* scale, const std::uint8_t* zero,
                       const float* bias, i64 n, i64 k, i64 group) {
  PackedLinear to{level, Precision::int4, n, k, k, kBf16Panel, {}, {}, {}, {}, group};
  const i64 columns = to.panels() * kBf16Panel;
  to.weights = Buffer(static_cast<std::size_t>(columns * k / 2));
  to.scales = Buffer(static_cast<std::size_t>(columns * (k / group)) * sizeof(std::uint16_t));
  to.bias = padded_floats(bias, n, columns);
  parallel_for(to.panels(), [&](i64 p) {
    pack_codes(to, codes, p);
    pack_groups(to, scale, zero, p);
  });
  return to;
}

}  // namespace seatrial
