// bf16 panels on the tile unit, 32 x 32 results at a time.
//
// The tile unit needs 64 cycles for a step of four products; bias, activation and store of the *previous*
// block are spread over those steps, so that they cost nothing where K is long enough.
#include "seatrial/kernels.h"
#include "simd/vec_avx512.h"
#include "simd/amx.h"
#include "simd/math.h"
#include "linear/finish.h"

namespace seatrial {
namespace {

constexpr i64 kBlock = 32;

// A block of sums that waits to be finished.
struct Pending {
  const float* sums = nullptr;  // [32][32]
  i64 row = 0;
  i64 column = 0;
  i64 next = 0;  // rows done
  i64 rows = 0;
  i64 vecs = 0;
};

[[gnu::always_inline]] inline void finish_rows(const LinearCall& call, Pending& p, i64 count) {
  for (; count > 0 && p.next < p.rows; --count, ++p.next)
    for (i64 v = 0; v < p.vecs; ++v)
      finish(call, p.row + p.next, p.column + v * 16, Vec::load(p.sums + p.next * kBlock + v * 16));
}

struct Walk {
  const LinearCall& call;
  i64 steps;
  i64 rows_per_step;
  Pending pending;
  const char* ahead = nullptr;  // next weights to bring into L2
  const char* ahead_end = nullptr;
  float* sums[2];
  int current = 0;

  template <int MT, int NT>
  void block(i64 row, i64 row_end, i64 panel) {
    const std::uint16_t* a = call.a_bits + row * call.k_padded;
    const std::uint16_t* b = call.w_bf16 + panel * kBf16Panel * call.k_padded;
    const i64 tile_row = 16 * call.k_padded;
    clear_sums<MT, NT>();
    multiply<MT, NT>(a, a + tile_row, 64, kTileElements, b, b + tile_row, steps, [&] {
      if (ahead < ahead_end) {
        _mm_prefetch(ahead, _MM_HINT_T1);
        _mm_prefetch(ahead + 64, _MM_HINT_T1);
        _mm_prefetch(ahead + 128, _MM_HINT_T1);
        _mm_prefetch(ahead + 192, _MM_HINT_T1);
        ahead += 256;
      }
      finish_rows(call, pending, rows_per_step);
    });
    finish_rows(call, pending, kBlock);
    float* out = sums[current];
    current ^= 1;
    store_sums<MT, NT>(out, kBlock);
    const i64 rows = row_end - row < 16 * MT ? row_end - row : 16 * MT;
    pending = {out, row, panel * kBf16Panel, 0, rows, NT};
  }

  template <int NT>
  void columns(i64 row0, i64 row1, i64 panel) {
    i64 row = row0;
    for (; row + 16 < row1; row += kBlock) block<2, NT>(row, row1, panel);
    if (row < row1) block<1, NT>(row, row1, panel);
  }
};

void tiles_block(const LinearCall& call, i64 row0, i64 row1, i64 panel0, i64 panel1) {
  alignas(64) float sums[2][kBlock * kBlock];
  const Tiles tiles;
  const i64 steps = call.k_padded / kBf16KStep;
  Walk walk{call, steps, (kBlock + steps - 1) / steps, {}, nullptr, nullptr, {sums[0], sums[1]}, 0};
  const i64 panel_bytes = kBf16Panel * call.k_padded * 2;
  const i64 last_panel = (call.n + kBf16Panel - 1) / kBf16Panel;
  memory_fence();
  for (i64 p = panel0; p < panel1; p += 2) {
    const i64 ahead0 = p + 2 < last_panel ? p + 2 : last_panel;
    const i64 ahead1 = p + 4 < last_panel ? p + 4 : last_panel;
    const char* base = reinterpret_cast<const char*>(call.w_bf16);
    walk.ahead = base + ahead0 * panel_bytes;
    walk.ahead_end = base + ahead1 * panel_bytes;
    if (p + 1 < panel1)
      walk.columns<2>(row0, row1, p);
    else
      walk.columns<1>(row0, row1, p);
  }
  finish_rows(call, walk.pending, kBlock);
}

}  // namespace

LinearBlock linear_amx() { return tiles_block; }

}  // namespace seatrial
