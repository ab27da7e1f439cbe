// bf16 panels with vdpbf16ps: one 64-byte load of weights feeds 32 products per row.  This is the decode
// kernel (one to eight rows, bound by memory) and, without AMX, the one for many rows too.
#include "seatrial/kernels.h"
#include "simd/vec_avx512.h"
#include "simd/math.h"
#include "linear/finish.h"

#include <cstring>

namespace seatrial {
namespace {

__m512bh broadcast_pair(const std::uint16_t* pair) {
  std::int32_t bits = 0;
  std::memcpy(&bits, pair, sizeof bits);
  return reinterpret_cast<__m512bh>(_mm512_set1_epi32(bits));
}

__m512bh weights(const std::uint16_t* p) { return reinterpret_cast<__m512bh>(_mm512_loadu_si512(p)); }

// Two sums per row for few rows: the instruction's latency is longer than a load.
template <int MR>
void rows_of_panel(const LinearCall& call, i64 row, i64 p) {
  Vec even[MR];
  Vec odd[MR];
#pragma GCC unroll 8
  for (int r = 0; r < MR; ++r) even[r] = odd[r] = Vec::zero();
  const std::uint16_t* w = call.w_bf16 + (p - call.w_bf16_first) * call.k_padded * kBf16Panel;
  const std::uint16_t* a = call.a_bits + row * call.k_padded;
  for (i64 i = 0; i < call.k_padded; i += 4, w += 64) {
    _mm_prefetch(reinterpret_cast<const char*>(w) + 2048, _MM_HINT_T0);
    _mm_prefetch(reinterpret_cast<const char*>(w) + 2048 + 64, _MM_HINT_T0);
    const __m512bh w0 = weights(w);
    const __m512bh w1 = weights(w + 32);
#pragma GCC unroll 8
    for (int r = 0; r < MR; ++r) {
      even[r].v = _mm512_dpbf16_ps(even[r].v, w0, broadcast_pair(a + r * call.k_padded + i));
      odd[r].v = _mm512_dpbf16_ps(odd[r].v, w1, broadcast_pair(a + r * call.k_padded + i + 2));
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < MR; ++r) finish(call, row + r, p * kBf16Panel, even[r] + odd[r]);
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

}  // namespace

LinearBlock linear_avx512bf16() { return block; }

}  // namespace seatrial
