// bf16 attention on the tile unit: 32 queries against 1024 keys at a time.
#include "seatrial/kernels.h"
#include "simd/vec_avx512.h"
#include "simd/amx.h"
#include "attention/bf16_body.h"

namespace seatrial {
namespace {

struct TileUnit {
  static constexpr i64 query_block = 32;
  static constexpr i64 key_block = 1024;
  using Session = Tiles;
  static i64 padded(i64 rows) { return rows > 16 ? 32 : 16; }
  static void fence() { memory_fence(); }

  template <int MT>
  static void tile_scores(const Packed& packed, const Rows& r, i64 stride, i64 key0, i64 count) {
    const i64 depth = packed.key_steps * 32;
    for (i64 t = 0; t < up(count, 32); t += 32) {
      const std::uint16_t* tile = packed.keys + (key0 + t) / 16 * packed.key_steps * kTileElements;
      clear_sums<MT, 2>();
      multiply<MT, 2>(r.q, r.q + 16 * depth, depth * 2, 32, tile, tile + packed.key_steps * kTileElements,
                      packed.key_steps, NoWork{});
      store_sums<MT, 2>(r.scores + t, stride);
    }
  }

  static void scores(const Packed& packed, const Rows& r, i64 stride, i64 rows, i64 key0, i64 count) {
    if (rows > 16)
      tile_scores<2>(packed, r, stride, key0, count);
    else
      tile_scores<1>(packed, r, stride, key0, count);
  }

  // 16 NT columns from d.
  template <int MT, int NT>
  static void tile_values(const Packed& packed, const Rows& r, i64 stride, i64 width, i64 d, i64 key0, i64 count,
                          bool first) {
    const i64 column = packed.value_steps * kTileElements;
    const std::uint16_t* tile = packed.values + d / 16 * column + key0 / 32 * kTileElements;
    if (first)
      clear_sums<MT, NT>();
    else
      load_sums<MT, NT>(r.out + d, width);
    multiply<MT, NT>(r.weights, r.weights + 16 * stride, stride * 2, 32, tile, tile + column, up(count, 32) / 32,
                     NoWork{});
    store_sums<MT, NT>(r.out + d, width);
  }

  template <int MT>
  static void all_values(const Packed& packed, const Rows& r, i64 stride, i64 width, i64 key0, i64 count,
                         bool first) {
    for (i64 d = 0; d < width; d += 32)
      if (width - d >= 32)
        tile_values<MT, 2>(packed, r, stride, width, d, key0, count, first);
      else
        tile_values<MT, 1>(packed, r, stride, width, d, key0, count, first);
  }

  static void add_values(const Packed& packed, const Rows& r, i64 stride, i64 rows, i64 width, i64 key0, i64 count,
                         bool first) {
    if (rows > 16)
      all_values<2>(packed, r, stride, width, key0, count, first);
    else
      all_values<1>(packed, r, stride, width, key0, count, first);
  }
};

}  // namespace

AttentionKernels attention_amx() { return attention_of<TileUnit>(); }

}  // namespace seatrial
