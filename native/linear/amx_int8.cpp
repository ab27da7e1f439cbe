// int8 panels on the tile unit: twice the products of bf16 in the same time.
#include "seatrial/kernels.h"
#include "seatrial/memory.h"
#include "simd/vec_avx512.h"
#include "simd/lanes_avx512.h"
#include "simd/amx.h"
#include "simd/math.h"
#include "linear/finish.h"
#include "linear/quantise_row.h"
#include "linear/amx_body.h"

namespace seatrial {
namespace {

struct Int8 {
  static constexpr Product product = Product::int8;
  static i64 pairs(i64 k_padded) { return k_padded / 2; }
  static const std::uint16_t* weights(const LinearCall& call) {
    return reinterpret_cast<const std::uint16_t*>(call.w_int8);
  }

  // Rows as tiles [rows/16][k_padded/64][16][64], zeros outside.
  static void enter(const LinearCall& call, i64 row0, i64 row1, std::uint16_t* out, float* scales) {
    auto* bytes = reinterpret_cast<std::int8_t*>(out);
    for (i64 row = row0; row < row1; row += 16, bytes += 16 * call.k_padded)
      for (i64 r = 0; r < 16; ++r) {
        const bool inside = row + r < row1;
        std::int8_t* to = bytes + r * 64;
        const float scale =
            quantise_row(call.x + (inside ? row + r : row0) * call.ldx, inside ? call.k : 0, call.k_padded,
                         [&](i64 i, Vec value) { store_bytes(value, to + i / 64 * 1024 + i % 64); });
        if (inside) scales[row + r - row0] = scale;
      }
  }

  [[gnu::always_inline]] static void finish(const LinearCall& call, i64 row, i64 column, const float* sums,
                                            float scale) {
    finish_int8(call, row, column, {_mm512_cvtepi32_ps(_mm512_loadu_si512(sums))}, scale);
  }
};

}  // namespace

LinearBlock int8_amx() { return tiles_block<Int8>; }

}  // namespace seatrial
