// bf16 panels on the tile unit.
#include "seatrial/kernels.h"
#include "seatrial/memory.h"
#include "simd/vec_avx512.h"
#include "simd/amx.h"
#include "simd/math.h"
#include "linear/finish.h"
#include "linear/amx_body.h"

namespace seatrial {
namespace {

struct Bf16 {
  static constexpr Product product = Product::bf16;
  static i64 pairs(i64 k_padded) { return k_padded; }
  static const std::uint16_t* weights(const LinearCall& call) {
    return call.w_bf16 - call.w_bf16_first * kBf16Panel * call.k_padded;
  }

  // Rows as tiles [rows/16][k_padded/32][16][32], zeros outside.  The conversion flushes numbers below 1.2e-38,
  // as the tile unit itself does.
  static void enter(const LinearCall& call, i64 row0, i64 row1, std::uint16_t* out, float* scales) {
    for (i64 row = row0; row < row1; row += 16, out += 16 * call.k_padded)
      for (i64 r = 0; r < 16; ++r) {
        const bool inside = row + r < row1;
        const float* x = call.x + (inside ? row + r : row0) * call.ldx;
        const i64 k = inside ? call.k : 0;
        std::uint16_t* tile = out + r * 32;
        for (i64 i = 0; i < call.k_padded; i += 32, tile += kTileElements) {
          const Vec low = i + 16 <= k ? Vec::load(x + i) : Vec::load_n(x + i, k - i, 0.0F);
          const Vec high = i + 32 <= k ? Vec::load(x + i + 16) : Vec::load_n(x + i + 16, k - i - 16, 0.0F);
          _mm512_storeu_si512(tile, reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(high.v, low.v)));
        }
        if (inside) scales[row + r - row0] = 1.0F;
      }
  }

  [[gnu::always_inline]] static void finish(const LinearCall& call, i64 row, i64 column, const float* sums, float) {
    seatrial::finish(call, row, column, Vec::load(sums));
  }
};

}  // namespace

LinearBlock linear_amx() { return tiles_block<Bf16>; }

}  // namespace seatrial
