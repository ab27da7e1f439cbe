// int4 panels with vdpbf16ps, for a few rows: codes become bfloat16 as they are, by a table; a group's scale and zero
// come in at its end, as in quantised_body.h.
#include "seatrial/kernels.h"
#include "simd/vec_avx512.h"
#include "simd/lanes_avx512.h"
#include "simd/codes_avx512.h"
#include "simd/dot_bf16.h"
#include "simd/math.h"
#include "linear/finish.h"

namespace seatrial {
namespace {

// Sums of code times x over one group.  NT panels, as one row alone would wait for the instruction.
template <int MR, int NT>
[[gnu::noinline]] void group_sums(const std::uint16_t* a, i64 lda, const std::uint32_t* const* codes, i64 group,
                                  __m512i table, float* out) {
  __m512i sums[MR][NT];
  each<MR>([&](auto r) __attribute__((always_inline)) {
    each<NT>([&](auto c) __attribute__((always_inline)) { sums[r.value][c.value] = _mm512_setzero_si512(); });
  });
  for (i64 i = 0; i < group; i += 8) {
    __m512i eight[NT];
    each<NT>([&](auto c) __attribute__((always_inline)) {
      const std::uint32_t* at = codes[c.value] + i * 2;
      _mm_prefetch(reinterpret_cast<const char*>(at) + 2048, _MM_HINT_T0);
      eight[c.value] = _mm512_loadu_si512(at);
    });
    each<4>([&](auto j) __attribute__((always_inline)) {
      __m512i w[NT];
      each<NT>([&](auto c) __attribute__((always_inline)) {
        w[c.value] = code_pairs<j.value>(eight[c.value], table);
      });
      each<MR>([&](auto r) __attribute__((always_inline)) {
        const __m512i x = broadcast_step(a + r.value * lda + i + 2 * j.value);
        each<NT>([&](auto c) __attribute__((always_inline)) {
          sums[r.value][c.value] = Bf16Dot::add(sums[r.value][c.value], w[c.value], x);
        });
      });
    });
  }
  each<MR>([&](auto r) __attribute__((always_inline)) {
    each<NT>([&](auto c) __attribute__((always_inline)) {
      _mm512_storeu_si512(out + (r.value * NT + c.value) * 16, sums[r.value][c.value]);
    });
  });
}

template <int MR, int NT>
void panels(const LinearCall& call, i64 row, i64 p, __m512i table) {
  const i64 groups = call.k / call.group;
  alignas(64) float parts[MR * NT * 16];
  alignas(64) float sums[MR * NT * 16] = {};
  const std::uint32_t* codes[NT];
  for (i64 g = 0; g < groups; ++g) {
    for (int c = 0; c < NT; ++c) codes[c] = call.w_int4 + ((p + c) * call.k + g * call.group) * 2;
    group_sums<MR, NT>(call.a_bits + row * call.k + g * call.group, call.k, codes, call.group, table, parts);
    for (int c = 0; c < NT; ++c) {
      Vec scale;
      Vec zero;
      load_group(call.w_groups + ((p + c) * groups + g) * kBf16Panel, scale, zero);
      for (int r = 0; r < MR; ++r) {
        float* sum = sums + (r * NT + c) * 16;
        const Vec x = Vec::set(call.a_sums[(row + r) * groups + g]);
        const Vec part = Vec::fnma(zero, x, Vec::load(parts + (r * NT + c) * 16));
        Vec::fma(scale, part, Vec::load(sum)).store(sum);
      }
    }
  }
  for (int r = 0; r < MR; ++r)
    for (int c = 0; c < NT; ++c) finish(call, row + r, (p + c) * kBf16Panel, Vec::load(sums + (r * NT + c) * 16));
}

template <int MR, int NT>
void range(const LinearCall& call, i64 row, i64 panel0, i64 panel1, __m512i table) {
  i64 p = panel0;
  for (; p + NT <= panel1; p += NT) panels<MR, NT>(call, row, p, table);
  for (; p < panel1; ++p) panels<MR, 1>(call, row, p, table);
}

void block(const LinearCall& call, i64 row0, i64 row1, i64 panel0, i64 panel1) {
  const __m512i table = code_table();
  i64 row = row0;
  for (; row + 8 <= row1; row += 8) range<8, 2>(call, row, panel0, panel1, table);
  if (row + 4 <= row1) range<4, 2>(call, row, panel0, panel1, table), row += 4;
  if (row + 2 <= row1) range<2, 4>(call, row, panel0, panel1, table), row += 2;
  if (row < row1) range<1, 4>(call, row, panel0, panel1, table);
}

}  // namespace

LinearBlock int4_avx512bf16() { return block; }

}  // namespace seatrial
