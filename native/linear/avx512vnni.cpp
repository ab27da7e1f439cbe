// int8 panels with vpdpbusd, which multiplies unsigned by signed bytes: rows come with 128 added, and sums
// begin with what that adds too much.  The decode kernel and, without AMX, the one for many rows too.
#include "seatrial/kernels.h"
#include "simd/vec_avx512.h"
#include "simd/lanes_avx512.h"
#include "simd/dot_avx512.h"
#include "simd/math.h"
#include "linear/finish.h"
#include "linear/quantise_row.h"
#include "linear/dot_body.h"

namespace seatrial {
namespace {

struct VnniDot {
  [[gnu::always_inline]] static __m512i add(__m512i sums, __m512i w, __m512i x) {
    return _mm512_dpbusd_epi32(sums, x, w);
  }
};

struct Int8Rows {
  using Dot = VnniDot;
  static i64 row_bytes(const LinearCall& call) { return call.k_padded; }
  static const char* row(const LinearCall& call, i64 row) {
    return reinterpret_cast<const char*>(call.a_int8 + row * call.k_padded);
  }
  static const char* panel(const LinearCall& call, i64 p) {
    return reinterpret_cast<const char*>(call.w_int8 + p * call.k_padded * kBf16Panel);
  }
  static constexpr Begin from = Begin::from_first;
  static const std::int32_t* first(const LinearCall& call, i64 p) { return call.w_offset + p * kBf16Panel; }
  static void finish_sums(const LinearCall& call, i64 row, i64 p, __m512i sums) {
    finish_int8(call, row, p * kBf16Panel, {_mm512_cvtepi32_ps(sums)}, call.a_scale[row]);
  }
};

void to_offset_int8(const float* x, i64 ldx, i64 rows, i64 k, i64 k_padded, std::int8_t* out, float* scales) {
  const __m128i top = _mm_set1_epi8(static_cast<char>(0x80));
  for (i64 r = 0; r < rows; ++r)
    scales[r] = quantise_row(x + r * ldx, k, k_padded, [&](i64 i, Vec value) {
      const __m128i bytes = _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(value.v));
      _mm_storeu_si128(reinterpret_cast<__m128i*>(out + r * k_padded + i), _mm_xor_si128(bytes, top));
    });
}

}  // namespace

void use_avx512vnni(QuantisedKernels& kernels) {
  kernels.int8 = dot_rows<Int8Rows>;
  kernels.to_int8 = to_offset_int8;
}

}  // namespace seatrial
