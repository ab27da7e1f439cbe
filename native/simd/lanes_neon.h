// Whole numbers beside Vec, NEON without its dot products.  The interface is explained in lanes_generic.h.
#pragma once

#include <cstring>

namespace seatrial {
namespace {

struct Quads {
  int8x16_t v;

  static Quads load(const std::int8_t* p) { return {vld1q_s8(p)}; }
  static Quads set(const std::int8_t* p) {
    std::int32_t bits = 0;
    std::memcpy(&bits, p, sizeof bits);
    return {vreinterpretq_s8_s32(vdupq_n_s32(bits))};
  }
};

// Two sums per lane, of its first and of its last two products: adding neighbours once, at the end, is enough.
struct Sums {
  int32x4_t low, high;  // of lanes 0, 1 and of lanes 2, 3

  static Sums zero() { return {vdupq_n_s32(0), vdupq_n_s32(0)}; }
  void add(const Quads& a, const Quads& b) {
    low = vpadalq_s16(low, vmull_s8(vget_low_s8(a.v), vget_low_s8(b.v)));
    high = vpadalq_s16(high, vmull_high_s8(a.v, b.v));
  }
  Vec to_float() const { return {vcvtq_f32_s32(vpaddq_s32(low, high))}; }
};

struct Codes {
  uint32x4_t v;

  static Codes load(const std::uint32_t* p) { return {vld1q_u32(p)}; }
  Vec at(int shift) const {  // a shift to the left by a negative number is one to the right
    return {vcvtq_f32_u32(vandq_u32(vshlq_u32(v, vdupq_n_s32(-shift)), vdupq_n_u32(15)))};
  }
};

inline void load_group(const std::uint16_t* p, Vec& scale, Vec& zero) {
  const uint32x4_t bits = vmovl_u16(vld1_u16(p));
  scale.v = vreinterpretq_f32_u32(vshlq_n_u32(vshrq_n_u32(bits, 4), 20));
  zero.v = vcvtq_f32_u32(vandq_u32(bits, vdupq_n_u32(15)));
}

inline void store_pairs(Vec even, Vec odd, std::uint16_t* p) {
  const uint32x4_t low = vshrq_n_u32(vreinterpretq_u32_f32(even.v), 16);
  vst1q_u16(p, vreinterpretq_u16_u32(vorrq_u32(low, vreinterpretq_u32_f32(odd.v))));
}

inline void store_bytes(Vec x, std::int8_t* p) {
  const int16x4_t words = vmovn_s32(vcvtnq_s32_f32(x.v));
  const int8x8_t bytes = vmovn_s16(vcombine_s16(words, words));
  std::memcpy(p, &bytes, 4);
}

}  // namespace
}  // namespace seatrial
