// bf16 attention with vdpbf16ps: 48 queries against 256 keys at a time.
#include "seatrial/kernels.h"
#include "simd/vec_avx512.h"
#include "simd/dot_bf16.h"
#include "attention/bf16_body.h"

namespace seatrial {
namespace {

constexpr int kFewRows = 4;

struct DotUnit {
  static constexpr i64 query_block = 4 * kBlockRows;
  static constexpr i64 key_block = 256;
  struct Session {
    Session() {}  // not trivial, so that an unused one is no warning
  };
  static i64 padded(i64 rows) { return rows <= kFewRows ? kFewRows : up(rows, kBlockRows); }
  static void fence() {}

  static void scores(const Packed& packed, const Rows& r, i64 stride, i64 rows, i64 key0, i64 count) {
    const i64 depth = packed.key_steps * 32;
    for (i64 t = 0; t < up(count, 32); t += 32) {
      const std::uint16_t* keys = packed.keys + (key0 + t) / 16 * packed.key_steps * kPackedTile;
      const void* const panels[2] = {keys, keys + packed.key_steps * kPackedTile};
      dot_padded<2, Begin::from_zero>(r.q, depth, panels, depth / 2, rows, r.scores + t, stride);
    }
  }

  // All rows, `a_stride` values apart, times NT panels.
  template <int NT, Begin from>
  static void dot_padded(const std::uint16_t* a, i64 a_stride, const void* const* panels, i64 steps, i64 rows,
                         float* out, i64 stride) {
    if (rows <= kFewRows) return dot_block<Bf16Dot, kFewRows, NT, from>(a, a_stride * 2, panels, steps, nullptr, out, stride);
    for (i64 row = 0; row < rows; row += kBlockRows)
      dot_block<Bf16Dot, kBlockRows, NT, from>(a + row * a_stride, a_stride * 2, panels, steps, nullptr,
                                               out + row * stride, stride);
  }

  template <int NT, Begin from>
  static void columns(const Packed& packed, const Rows& r, i64 stride, i64 rows, i64 width, i64 d, i64 key0,
                      i64 count) {
    const i64 column = packed.value_steps * kPackedTile;
    const std::uint16_t* values = packed.values + d / 16 * column + key0 / 32 * kPackedTile;
    const void* const panels[2] = {values, values + (NT - 1) * column};
    dot_padded<NT, from>(r.weights, stride, panels, up(count, 32) / 2, rows, r.out + d, width);
  }

  template <Begin from>
  static void all_columns(const Packed& packed, const Rows& r, i64 stride, i64 rows, i64 width, i64 key0, i64 count) {
    for (i64 d = 0; d < width; d += 32)
      if (width - d >= 32)
        columns<2, from>(packed, r, stride, rows, width, d, key0, count);
      else
        columns<1, from>(packed, r, stride, rows, width, d, key0, count);
  }

  static void add_values(const Packed& packed, const Rows& r, i64 stride, i64 rows, i64 width, i64 key0, i64 count,
                         bool first) {
    if (first)
      all_columns<Begin::from_zero>(packed, r, stride, rows, width, key0, count);
    else
      all_columns<Begin::from_out>(packed, r, stride, rows, width, key0, count);
  }
};

}  // namespace

AttentionKernels attention_avx512bf16() { return attention_of<DotUnit>(); }

}  // namespace seatrial
