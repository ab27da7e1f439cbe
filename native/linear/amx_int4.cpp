// int4 panels on the tile unit, for a few rows.  Codes become bfloat16 as they are, by a table.  A group is one or
// two steps of the tile unit; scale and zero come in afterwards, as in quantised_body.h.  Some groups are opened at
// a time: table, tiles and scaling of neighbours overlap.
#include "seatrial/kernels.h"
#include "seatrial/memory.h"
#include "simd/vec_avx512.h"
#include "simd/lanes_avx512.h"
#include "simd/codes_avx512.h"
#include "simd/amx.h"
#include "simd/math.h"
#include "linear/finish.h"

namespace seatrial {
namespace {

constexpr i64 kMostRows = 16;
constexpr i64 kOpenCodes = 256;  // of K, opened at a time
constexpr i64 kMostGroups = kOpenCodes / 32;

// Rows as tiles [k/32][m][32].
void tile_rows(const LinearCall& call, i64 row0, i64 rows, std::uint16_t* out) {
  for (i64 i = 0; i < call.k; i += 32)
    for (i64 r = 0; r < rows; ++r, out += 32)
      _mm512_storeu_si512(out, _mm512_loadu_si512(call.a_bits + (row0 + r) * call.k + i));
}

// `k` codes of 16 columns as tiles [k/32][16][16][2].
void open_codes(const std::uint32_t* codes, i64 k, __m512i table, std::uint16_t* out) {
  for (i64 i = 0; i < k; i += 8, codes += kBf16Panel, out += 8 * kBf16Panel) {
    _mm_prefetch(reinterpret_cast<const char*>(codes) + 2048, _MM_HINT_T0);
    const __m512i eight = _mm512_loadu_si512(codes);
    _mm512_storeu_si512(out, code_pairs<0>(eight, table));
    _mm512_storeu_si512(out + 2 * kBf16Panel, code_pairs<1>(eight, table));
    _mm512_storeu_si512(out + 4 * kBf16Panel, code_pairs<2>(eight, table));
    _mm512_storeu_si512(out + 6 * kBf16Panel, code_pairs<3>(eight, table));
  }
}

struct Scratch {
  std::uint16_t codes[kOpenCodes * kBf16Panel];
  float parts[kMostGroups][kMostRows * kBf16Panel];  // sums of code times x, per group
  float sums[kMostRows * kBf16Panel];
};

void scale_group(const LinearCall& call, i64 row0, i64 rows, const std::uint16_t* scales, i64 g, const float* part,
                 float* sums) {
  const i64 groups = call.k / call.group;
  Vec scale;
  Vec zero;
  load_group(scales + g * kBf16Panel, scale, zero);
  for (i64 r = 0; r < rows; ++r) {
    const Vec x = Vec::set(call.a_sums[(row0 + r) * groups + g]);
    const Vec sum = Vec::fnma(zero, x, Vec::load(part + r * kBf16Panel));
    Vec::fma(scale, sum, Vec::load(sums + r * kBf16Panel)).store(sums + r * kBf16Panel);
  }
}

void panel_sums(const LinearCall& call, i64 row0, i64 rows, i64 p, const std::uint16_t* a, __m512i table,
                Scratch& scratch) {
  const i64 groups = call.k / call.group;
  const std::uint32_t* codes = call.w_int4 + p * (call.k / 8) * kBf16Panel;
  const std::uint16_t* scales = call.w_groups + p * groups * kBf16Panel;
  const i64 steps = call.group / 32;
  const i64 at_once = kOpenCodes / call.group;
  for (i64 r = 0; r < rows; ++r) Vec::zero().store(scratch.sums + r * kBf16Panel);
  for (i64 g = 0; g < groups; g += at_once) {
    const i64 count = groups - g < at_once ? groups - g : at_once;
    open_codes(codes + g * call.group / 8 * kBf16Panel, count * call.group, table, scratch.codes);
    memory_fence();
    for (i64 i = 0; i < count; ++i) {
      _tile_zero(0);
      for (i64 s = 0; s < steps; ++s) {
        _tile_loadd(4, a + ((g + i) * steps + s) * rows * 32, 64);
        _tile_loadd(6, scratch.codes + (i * steps + s) * kTileElements, 64);
        _tile_dpbf16ps(0, 4, 6);
      }
      _tile_stored(0, scratch.parts[i], 64);
    }
    memory_fence();
    for (i64 i = 0; i < count; ++i) scale_group(call, row0, rows, scales, g + i, scratch.parts[i], scratch.sums);
  }
}

void block(const LinearCall& call, i64 row0, i64 row1, i64 panel0, i64 panel1) {
  const __m512i table = code_table();
  const std::size_t a_bytes = static_cast<std::size_t>(kMostRows * call.k) * 2;
  auto* a = static_cast<std::uint16_t*>(task_scratch(a_bytes + sizeof(Scratch)));
  auto* scratch = reinterpret_cast<Scratch*>(reinterpret_cast<char*>(a) + a_bytes);
  for (; row0 < row1; row0 += kMostRows) {
    const i64 rows = row1 - row0 < kMostRows ? row1 - row0 : kMostRows;
    tile_rows(call, row0, rows, a);
    const Tiles tiles(static_cast<int>(rows));
    memory_fence();
    for (i64 p = panel0; p < panel1; ++p) {
      panel_sums(call, row0, rows, p, a, table, *scratch);
      for (i64 r = 0; r < rows; ++r)
        finish(call, row0 + r, p * kBf16Panel, Vec::load(scratch->sums + r * kBf16Panel));
    }
  }
}

}  // namespace

LinearBlock int4_amx() { return block; }

}  // namespace seatrial
