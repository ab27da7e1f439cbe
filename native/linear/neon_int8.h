// int8 panels as neon_dot_body.h wants them; include after it.
#pragma once

namespace seatrial {
namespace {

struct Int8 {
  using Bytes = int8x16_t;
  using Sums = int32x4_t;

  static Sums zero() { return vdupq_n_s32(0); }
  static Sums add(Sums a, Sums b) { return vaddq_s32(a, b); }
  static Bytes load(const std::uint32_t* p) { return from(vld1q_u32(p)); }
  static Bytes from(uint32x4_t words) { return vreinterpretq_s8_u32(words); }
  template <int lane>
  static Sums dot(Sums sums, Bytes w, Bytes x) {
    return vdotq_laneq_s32(sums, w, x, lane);
  }
#ifdef __ARM_FEATURE_MATMUL_INT8
  static Bytes load_halves(const std::uint32_t* first, const std::uint32_t* second) {
    return from(vcombine_u32(vld1_u32(first), vld1_u32(second)));
  }
  static Sums multiply(Sums sums, Bytes x, Bytes w) { return vmmlaq_s32(sums, x, w); }
  static Sums first_row(Sums a, Sums b) { return vcombine_s32(vget_low_s32(a), vget_low_s32(b)); }
  static Sums second_row(Sums a, Sums b) { return vcombine_s32(vget_high_s32(a), vget_high_s32(b)); }
#endif
};

// The rows of one panel, wherever they stand.
struct Int8Panel {
  const LinearCall& call;
  i64 p;

  i64 words() const { return call.k_padded / 4; }
  const std::uint32_t* weights() const {
    return reinterpret_cast<const std::uint32_t*>(call.w_int8 + p * call.k_padded * kBf16Panel);
  }
  const std::uint32_t* row(i64 r) const {
    return reinterpret_cast<const std::uint32_t*>(call.a_int8 + r * call.k_padded);
  }
  auto finisher(i64 first) const {
    return [this, first](int r, int q, int32x4_t sums) {
      finish_int8(call, first + r, p * kBf16Panel + q * 4, {vcvtq_f32_s32(sums)}, call.a_scale[first + r]);
    };
  }
};

}  // namespace
}  // namespace seatrial
