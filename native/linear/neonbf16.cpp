// bf16 panels with bfmmla for two rows and more, bfdot for one.  Both round each step to odd instead of to nearest
// even and take numbers below 1.2e-38 as zero; sums are float32.
#include "seatrial/kernels.h"
#include "simd/vec_neon.h"
#include "simd/gemm_f32.h"
#include "simd/math.h"
#include "linear/finish.h"
#include "linear/neon_dot_body.h"

namespace seatrial {
namespace {

struct Bf16 {
  using Bytes = bfloat16x8_t;
  using Sums = float32x4_t;

  static Sums zero() { return vdupq_n_f32(0.0F); }
  static Sums add(Sums a, Sums b) { return vaddq_f32(a, b); }
  static Bytes load(const std::uint32_t* p) { return from(vld1q_u32(p)); }
  static Bytes from(uint32x4_t words) { return vreinterpretq_bf16_u32(words); }
  template <int lane>
  static Sums dot(Sums sums, Bytes w, Bytes x) {
    return vbfdotq_laneq_f32(sums, w, x, lane);
  }
  static Bytes load_halves(const std::uint32_t* first, const std::uint32_t* second) {
    return from(vcombine_u32(vld1_u32(first), vld1_u32(second)));
  }
  static Sums multiply(Sums sums, Bytes x, Bytes w) { return vbfmmlaq_f32(sums, x, w); }
  static Sums first_row(Sums a, Sums b) { return vcombine_f32(vget_low_f32(a), vget_low_f32(b)); }
  static Sums second_row(Sums a, Sums b) { return vcombine_f32(vget_high_f32(a), vget_high_f32(b)); }
};

void block(const LinearCall& call, i64 row0, i64 row1, i64 panel0, i64 panel1) {
  const i64 words = call.k_padded / 2;
  const auto* a = reinterpret_cast<const std::uint32_t*>(call.a_bits);
  for (i64 p = panel0; p < panel1; ++p) {
    const i64 before = (p - call.w_bf16_first) * words * kBf16Panel;
    const auto* panel = reinterpret_cast<const std::uint32_t*>(call.w_bf16) + before;
    const auto finisher = [&](i64 first) {
      return [&call, p, first](int r, int q, float32x4_t sums) {
        finish(call, first + r, p * kBf16Panel + q * 4, {sums});
      };
    };
    i64 row = row0;
    for (; row + 6 <= row1; row += 6) matrix_rows<Bf16, 3>(panel, a + row * words, words, finisher(row));
    for (; row + 2 <= row1; row += 2) matrix_rows<Bf16, 1>(panel, a + row * words, words, finisher(row));
    if (row < row1) dot_rows<Bf16, 1, 2>(panel, a + row * words, words, finisher(row));
  }
}

}  // namespace

LinearBlock linear_neonbf16() { return block; }

}  // namespace seatrial
