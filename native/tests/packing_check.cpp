// Packed weights have the layouts that native/README.md gives; rows of activations are rounded to the bit.
#include <bit>
#include <cmath>
#include <utility>

#include "seatrial/linear.h"
#include "seatrial/memory.h"
#include "tests/check.h"

namespace seatrial::check {
namespace {

struct Size {
  i64 n, k;
};

template <typename T>
const T* as(const Buffer& buffer) {
  return static_cast<const T*>(buffer.data());
}

std::uint16_t bits_of(float x) { return static_cast<std::uint16_t>(std::bit_cast<std::uint32_t>(round_bf16(x)) >> 16); }

void check_floats(Level level, Size s, Tally& tally) {
  const Floats weight = normal(s.n * s.k, 1);
  Exact<std::uint16_t> stored(s.n * s.k);
  for (i64 i = 0; i < s.n * s.k; ++i) stored[i] = bits_of(weight[i]);
  const Floats bias = normal(s.n, 2);
  const PackedLinear f32 = pack_linear(level, Precision::f32, weight.data(), bias.data(), s.n, s.k);
  const PackedLinear widened = pack_linear(level, Precision::f32, stored.data(), bias.data(), s.n, s.k);
  const PackedLinear rounded = pack_linear(level, Precision::bf16, weight.data(), nullptr, s.n, s.k);
  const PackedLinear kept = pack_linear(level, Precision::bf16, stored.data(), nullptr, s.n, s.k);
  const std::string what = text({s.n, s.k});
  const i64 columns = ceil_to(s.n, f32.panel);
  for (i64 c = 0; c < columns; ++c) {
    tally.expect("bias " + what, as<float>(f32.bias)[c] == (c < s.n ? bias[c] : 0.0F));
    for (i64 i = 0; i < s.k; ++i) {
      const i64 at = (c / f32.panel * s.k + i) * f32.panel + c % f32.panel;
      const float x = c < s.n ? weight[c * s.k + i] : 0.0F;
      tally.expect("f32 " + what, as<float>(f32.weights)[at] == x);
      tally.expect("f32 from bf16 " + what, as<float>(widened.weights)[at] == round_bf16(x));
    }
  }
  for (i64 c = 0; c < ceil_to(s.n, 16); ++c)
    for (i64 i = 0; i < ceil_to(s.k, kBf16KStep); ++i) {
      const i64 at = ((c / 16 * rounded.k_padded + i / 2 * 2) * 16) + c % 16 * 2 + i % 2;
      const std::uint16_t x = c < s.n && i < s.k ? stored[c * s.k + i] : std::uint16_t{0};
      tally.expect("bf16 " + what, as<std::uint16_t>(rounded.weights)[at] == x);
      tally.expect("bf16 from bf16 " + what, as<std::uint16_t>(kept.weights)[at] == x);
    }
}

void check_whole(Level level, Size s, Tally& tally) {
  Exact<std::int8_t> values(s.n * s.k);
  for (i64 i = 0; i < s.n * s.k; ++i) values[i] = static_cast<std::int8_t>(static_cast<int>(whole(3, i, 255)) - 127);
  const Floats scale = normal(s.n, 4);
  const PackedLinear packed = pack_int8(level, values.data(), scale.data(), nullptr, s.n, s.k);
  const std::string what = "int8 " + text({s.n, s.k});
  for (i64 c = 0; c < ceil_to(s.n, 16); ++c) {
    std::int32_t sum = 0;
    for (i64 i = 0; i < packed.k_padded; ++i) {
      const std::int8_t x = c < s.n && i < s.k ? values[c * s.k + i] : std::int8_t{0};
      const i64 at = (c / 16 * packed.k_padded + i / 4 * 4) * 16 + c % 16 * 4 + i % 4;
      tally.expect(what, as<std::int8_t>(packed.weights)[at] == x);
      sum += x;
    }
    tally.expect(what + " offset", as<std::int32_t>(packed.offsets)[c] == -128 * sum);
    tally.expect(what + " scale", as<float>(packed.scales)[c] == (c < s.n ? scale[c] : 0.0F));
    tally.expect(what + " bias", as<float>(packed.bias)[c] == 0.0F);
  }
}

void check_grouped(Level level, Size s, i64 group, Tally& tally) {
  const i64 groups = s.k / group;
  Exact<std::uint8_t> codes(s.n * s.k);
  Exact<std::uint8_t> zero(s.n * groups);
  const Floats scale(s.n * groups);
  for (i64 i = 0; i < codes.size(); ++i) codes[i] = static_cast<std::uint8_t>(whole(5, i, 16));
  for (i64 i = 0; i < zero.size(); ++i) {
    zero[i] = static_cast<std::uint8_t>(whole(6, i, 16));
    scale[i] = static_cast<float>(8 + whole(7, i, 8)) / 64.0F;
  }
  const PackedLinear packed = pack_int4(level, codes.data(), scale.data(), zero.data(), nullptr, s.n, s.k, group);
  const std::string what = "int4 " + text({s.n, s.k});
  for (i64 c = 0; c < ceil_to(s.n, 16); ++c) {
    for (i64 i = 0; i < s.k; ++i) {
      const std::uint32_t word = as<std::uint32_t>(packed.weights)[(c / 16 * (s.k / 8) + i / 8) * 16 + c % 16];
      const auto shift = static_cast<unsigned>(i % 8 / 2 * 4 + i % 2 * 16);
      tally.expect(what, ((word >> shift) & 15U) == (c < s.n ? codes[c * s.k + i] : 0U));
    }
    for (i64 g = 0; g < groups; ++g) {
      const std::uint16_t both = as<std::uint16_t>(packed.scales)[(c / 16 * groups + g) * 16 + c % 16];
      const unsigned wanted = c < s.n ? bits_of(scale[c * groups + g]) | zero[c * groups + g] : 0U;
      tally.expect(what + " scale and zero", both == wanted);
    }
  }
}

// Every bfloat16 with lower bits on both sides of a tie, and a row of each length up to two vectors.
void check_rounding(Level level, Tally& tally) {
  const RoundKernels& round = kernel_table(level).round;
  constexpr std::uint32_t kLower[] = {0, 1, 0x7FFF, 0x8000, 0x8001, 0xFFFF, 0x1234, 0xABCD};
  const i64 count = 65536 * 8;
  const Floats x(count);
  for (i64 i = 0; i < count; ++i)
    x[i] = std::bit_cast<float>(static_cast<std::uint32_t>(i / 8) << 16 | kLower[i % 8]);
  const Floats wide(count);
  const Exact<std::uint16_t> bits(count);
  round.to_f32(x.data(), 64, count / 64, 64, 64, wide.data());
  round.to_bits(x.data(), 64, count / 64, 64, 64, bits.data());
  for (i64 i = 0; i < count; ++i) {
    const std::uint16_t wanted = std::isnan(x[i]) ? std::uint16_t{0x7FC0} : bits_of(x[i]);
    tally.expect("rounded, as bits", bits[i] == wanted);
    const auto got = std::bit_cast<std::uint32_t>(wide[i]);
    tally.expect("rounded, as floats", got == static_cast<std::uint32_t>(wanted) << 16);
  }
  for (i64 k = 1; k <= 33; ++k) {
    const Floats row = normal(k, 8);
    const i64 padded = ceil_to(k, 32);
    const Exact<std::uint16_t> out(padded);
    round.to_bits(row.data(), k, 1, k, padded, out.data());
    for (i64 i = 0; i < padded; ++i) tally.expect("rounded row", out[i] == (i < k ? bits_of(row[i]) : 0));
  }
}

// Rows as int8, bit for bit as ops/quantise.py has them: the product is rounded to float32 before it is rounded to a
// whole number.  Kernels for unsigned rows have 128 added.
void check_quantising(Level level, Tally& tally) {
  const QuantisedKernels& kernels = kernel_table(level).quantised;
  const i64 rows = 1500;
  const i64 k = 301;
  const i64 padded = ceil_to(k, kInt8KStep);
  const Floats x = normal(rows * k, 9);
  const Exact<std::int8_t> out(rows * padded);
  const Floats scales(rows);
  kernels.to_int8(x.data(), k, rows, k, padded, out.data(), scales.data());
  const int zero = out[padded - 1];
  tally.expect("padding of int8 rows", zero == 0 || zero == -128);
  for (i64 r = 0; r < rows; ++r) {
    float largest = 0;
    for (i64 i = 0; i < k; ++i) largest = std::fmax(largest, std::fabs(x[r * k + i]));
    tally.expect("scale of an int8 row", scales[r] == largest / 127.0F);
    for (i64 i = 0; i < padded; ++i) {
      const volatile float scaled = i < k ? x[r * k + i] * (127.0F / largest) : 0.0F;
      const int wanted = static_cast<int>(std::nearbyint(static_cast<float>(scaled)));
      tally.expect("int8 row", out[r * padded + i] == static_cast<std::int8_t>(wanted + zero));
    }
  }
}

}  // namespace

void check_packing(const Options& options) {
  const std::vector<i64> sizes = options.quick ? std::vector<i64>{33} : std::vector<i64>{1, 15, 16, 17, 33, 72, 97};
  std::vector<Tally> lines = tallies("packing");
  for (std::size_t l = 0; l < levels().size(); ++l) {
    for (const i64 n : sizes) {
      for (const i64 k : sizes) {
        check_floats(levels()[l], {n, k}, lines[l]);
        check_whole(levels()[l], {n, k}, lines[l]);
      }
      check_grouped(levels()[l], {n, 96}, 32, lines[l]);
      check_grouped(levels()[l], {n, 128}, 64, lines[l]);
    }
    check_rounding(levels()[l], lines[l]);
    check_quantising(levels()[l], lines[l]);
  }
}

}  // namespace seatrial::check
