// int8 panels with vpdpbusd, which multiplies unsigned by signed bytes: rows come with 128 added, and sums
// begin with what that adds too much.  The decode kernel and, without AMX, the one for many rows too.
#include "seatrial/kernels.h"
#include "simd/vec_avx512.h"
#include "simd/lanes_avx512.h"
#include "simd/math.h"
#include "linear/finish.h"
#include "linear/quantise_row.h"

namespace seatrial {
namespace {

__m512i broadcast_quad(const std::int8_t* quad) {
  std::int32_t bits = 0;
  std::memcpy(&bits, quad, sizeof bits);
  return _mm512_set1_epi32(bits);
}

// Two sums per row, as in avx512bf16.cpp; k_padded is a multiple of 64.
template <int MR>
void rows_of_panel(const LinearCall& call, i64 row, i64 p) {
  __m512i even[MR];
  __m512i odd[MR];
#pragma GCC unroll 8
  for (int r = 0; r < MR; ++r) {
    even[r] = _mm512_loadu_si512(call.w_offset + p * kBf16Panel);
    odd[r] = _mm512_setzero_si512();
  }
  const std::int8_t* w = call.w_int8 + p * call.k_padded * kBf16Panel;
  const std::int8_t* a = call.a_int8 + row * call.k_padded;
  for (i64 i = 0; i < call.k_padded; i += 8, w += 128) {
    _mm_prefetch(reinterpret_cast<const char*>(w) + 2048, _MM_HINT_T0);
    _mm_prefetch(reinterpret_cast<const char*>(w) + 2048 + 64, _MM_HINT_T0);
    const __m512i w0 = _mm512_loadu_si512(w);
    const __m512i w1 = _mm512_loadu_si512(w + 64);
#pragma GCC unroll 8
    for (int r = 0; r < MR; ++r) {
      even[r] = _mm512_dpbusd_epi32(even[r], broadcast_quad(a + r * call.k_padded + i), w0);
      odd[r] = _mm512_dpbusd_epi32(odd[r], broadcast_quad(a + r * call.k_padded + i + 4), w1);
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < MR; ++r) {
    const Vec sum = {_mm512_cvtepi32_ps(_mm512_add_epi32(even[r], odd[r]))};
    finish_int8(call, row + r, p * kBf16Panel, sum, call.a_scale[row + r]);
  }
}

void block(const LinearCall& call, i64 row0, i64 row1, i64 panel0, i64 panel1) {
  for (i64 p = panel0; p < panel1; ++p) {
    i64 row = row0;
    for (; row + 8 <= row1; row += 8) rows_of_panel<8>(call, row, p);
    for (; row + 4 <= row1; row += 4) rows_of_panel<4>(call, row, p);
    if (row + 2 <= row1) rows_of_panel<2>(call, row, p), row += 2;
    if (row < row1) rows_of_panel<1>(call, row, p);
  }
}

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
  kernels.int8 = block;
  kernels.to_int8 = to_offset_int8;
}

}  // namespace seatrial
