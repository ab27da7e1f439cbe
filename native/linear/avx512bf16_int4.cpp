// int4 panels with vdpbf16ps.  A table turns codes into bfloat16: the permutation takes its index from the five
// low bits of each 16-bit word, so a table of 16 entries twice over needs no masking.  64 bytes hold 8 columns
// of K; they are read once for up to eight rows.
#include "seatrial/kernels.h"
#include "simd/vec_avx512.h"
#include "simd/lanes_avx512.h"
#include "simd/math.h"
#include "linear/finish.h"

namespace seatrial {
namespace {

__m512bh broadcast_pair(const std::uint16_t* pair) {
  std::int32_t bits = 0;
  std::memcpy(&bits, pair, sizeof bits);
  return reinterpret_cast<__m512bh>(_mm512_set1_epi32(bits));
}

__m512i code_table() {
  alignas(64) std::uint16_t table[32];
  for (int i = 0; i < 32; ++i) {
    const float value = static_cast<float>(i % 16);
    std::uint32_t bits = 0;
    std::memcpy(&bits, &value, sizeof bits);
    table[i] = static_cast<std::uint16_t>(bits >> 16);
  }
  return _mm512_load_si512(table);
}

// Scale and zero of a group come in at its end, as in quantised_body.h.
template <int MR, int Chains>
void rows_of_panel(const LinearCall& call, i64 row, i64 p, __m512i table) {
  const i64 groups = call.k / call.group;
  const std::uint32_t* codes = call.w_int4 + p * (call.k / 8) * kBf16Panel;
  const std::uint16_t* scales = call.w_groups + p * groups * kBf16Panel;
  const std::uint16_t* a = call.a_bits + row * call.k_padded;
  Vec sums[MR];
#pragma GCC unroll 8
  for (int r = 0; r < MR; ++r) sums[r] = Vec::zero();
  for (i64 g = 0; g < groups; ++g) {
    Vec part[MR][Chains];
#pragma GCC unroll 8
    for (int r = 0; r < MR; ++r)
#pragma GCC unroll 4
      for (int chain = 0; chain < Chains; ++chain) part[r][chain] = Vec::zero();
    for (i64 i = 0; i < call.group; i += 8, codes += kBf16Panel, a += 8) {
      _mm_prefetch(reinterpret_cast<const char*>(codes) + 2048, _MM_HINT_T0);
      const __m512i eight = _mm512_loadu_si512(codes);
#pragma GCC unroll 4
      for (int j = 0; j < 4; ++j) {
        const __m512i index = _mm512_srli_epi32(eight, static_cast<unsigned>(4 * j));
        const auto pair = reinterpret_cast<__m512bh>(_mm512_permutexvar_epi16(index, table));
#pragma GCC unroll 8
        for (int r = 0; r < MR; ++r) {
          Vec& sum = part[r][j % Chains];
          sum.v = _mm512_dpbf16_ps(sum.v, pair, broadcast_pair(a + r * call.k_padded + 2 * j));
        }
      }
    }
    Vec scale;
    Vec zero;
    load_group(scales + g * kBf16Panel, scale, zero);
#pragma GCC unroll 8
    for (int r = 0; r < MR; ++r) {
      Vec sum = part[r][0];
      for (int chain = 1; chain < Chains; ++chain) sum = sum + part[r][chain];
      const Vec x = Vec::set(call.a_sums[(row + r) * groups + g]);
      sums[r] = Vec::fma(scale, Vec::fnma(zero, x, sum), sums[r]);
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < MR; ++r) finish(call, row + r, p * kBf16Panel, sums[r]);
}

void block(const LinearCall& call, i64 row0, i64 row1, i64 panel0, i64 panel1) {
  const __m512i table = code_table();
  for (i64 p = panel0; p < panel1; ++p) {
    i64 row = row0;
    for (; row + 8 <= row1; row += 8) rows_of_panel<8, 1>(call, row, p, table);
    for (; row + 4 <= row1; row += 4) rows_of_panel<4, 1>(call, row, p, table);
    if (row + 2 <= row1) rows_of_panel<2, 2>(call, row, p, table), row += 2;
    if (row < row1) rows_of_panel<1, 4>(call, row, p, table);
  }
}

}  // namespace

LinearBlock int4_avx512bf16() { return block; }

}  // namespace seatrial
