// Four floats, NEON as every arm64 processor has it.  The interface is explained in vec_generic.h.
#pragma once

#include <arm_neon.h>

#include <cstdint>

namespace seatrial {
namespace {

using i64 = std::int64_t;

struct Vec {
  static constexpr int width = 4;
  static constexpr int micro_rows = 12;  // 24 sums of the 32 registers
  float32x4_t v;

  static Vec set(float x) { return {vdupq_n_f32(x)}; }
  static Vec zero() { return {vdupq_n_f32(0.0F)}; }
  static Vec load(const float* p) { return {vld1q_f32(p)}; }
  static Vec load_n(const float* p, i64 n, float fill) {
    Vec r = set(fill);
    if (n > 0) r.v = vld1q_lane_f32(p, r.v, 0);
    if (n > 1) r.v = vld1q_lane_f32(p + 1, r.v, 1);
    if (n > 2) r.v = vld1q_lane_f32(p + 2, r.v, 2);
    if (n > 3) r.v = vld1q_lane_f32(p + 3, r.v, 3);
    return r;
  }
  void store(float* p) const { vst1q_f32(p, v); }
  void stream(float* p) const { store(p); }
  void store_n(float* p, i64 n) const {
    if (n > 0) vst1q_lane_f32(p, v, 0);
    if (n > 1) vst1q_lane_f32(p + 1, v, 1);
    if (n > 2) vst1q_lane_f32(p + 2, v, 2);
    if (n > 3) vst1q_lane_f32(p + 3, v, 3);
  }

  friend Vec operator+(Vec a, Vec b) { return {vaddq_f32(a.v, b.v)}; }
  friend Vec operator-(Vec a, Vec b) { return {vsubq_f32(a.v, b.v)}; }
  friend Vec operator*(Vec a, Vec b) { return {vmulq_f32(a.v, b.v)}; }
  friend Vec operator/(Vec a, Vec b) { return {vdivq_f32(a.v, b.v)}; }
  static Vec quotient(Vec a, Vec b) { return a / b; }
  // Not vmaxq and vminq, which give NaN when either is.
  static Vec max(Vec a, Vec b) { return {vbslq_f32(vcgtq_f32(a.v, b.v), a.v, b.v)}; }
  static Vec min(Vec a, Vec b) { return {vbslq_f32(vcltq_f32(a.v, b.v), a.v, b.v)}; }
  static Vec fma(Vec a, Vec b, Vec c) { return {vfmaq_f32(c.v, a.v, b.v)}; }
  static Vec fnma(Vec a, Vec b, Vec c) { return {vfmsq_f32(c.v, a.v, b.v)}; }
  static Vec round(Vec a) { return {vrndnq_f32(a.v)}; }
  static Vec scale(Vec a, Vec n) {
    const int32x4_t whole = vcvtnq_s32_f32(n.v);
    const int32x4_t half = vshrq_n_s32(whole, 1);
    const int32x4_t bias = vdupq_n_s32(127);
    const int32x4_t low = vshlq_n_s32(vaddq_s32(half, bias), 23);
    const int32x4_t high = vshlq_n_s32(vaddq_s32(vsubq_s32(whole, half), bias), 23);
    return {vmulq_f32(vmulq_f32(a.v, vreinterpretq_f32_s32(low)), vreinterpretq_f32_s32(high))};
  }
  float sum() const {
    const float32x2_t halves = vadd_f32(vget_low_f32(v), vget_high_f32(v));
    return vget_lane_f32(halves, 0) + vget_lane_f32(halves, 1);
  }
  float largest() const { return vmaxnmvq_f32(v); }

  static Vec round_bf16(Vec a) {
    const uint32x4_t bits = vreinterpretq_u32_f32(a.v);
    const uint32x4_t odd = vandq_u32(vshrq_n_u32(bits, 16), vdupq_n_u32(1));
    const uint32x4_t sum = vaddq_u32(vaddq_u32(bits, vdupq_n_u32(0x7FFF)), odd);
    const uint32x4_t cut = vandq_u32(sum, vdupq_n_u32(0xFFFF0000U));
    return {vreinterpretq_f32_u32(vbslq_u32(vceqq_f32(a.v, a.v), cut, vdupq_n_u32(0x7FC00000U)))};
  }
  void store_bf16(std::uint16_t* p) const { vst1_u16(p, vshrn_n_u32(vreinterpretq_u32_f32(v), 16)); }
  static void load_pairs(const std::uint16_t* p, Vec& even, Vec& odd) {
    const uint32x4_t bits = vreinterpretq_u32_u16(vld1q_u16(p));
    even.v = vreinterpretq_f32_u32(vshlq_n_u32(bits, 16));
    odd.v = vreinterpretq_f32_u32(vandq_u32(bits, vdupq_n_u32(0xFFFF0000U)));
  }
};

}  // namespace
}  // namespace seatrial
