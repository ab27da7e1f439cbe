// bf16 attention with products of pairs along K: blocks of queries against blocks of keys, online softmax in
// float32.  Include after vec_avx512.h, in files that have AVX-512 BF16.
//
// Scores are products of rounded q and k summed in float32; weights are rounded to bfloat16 before they
// multiply the values (unnormalised, where the reference rounds them normalised).
//
// A Unit multiplies.  It has: query_block (a multiple of 16) and key_block (of 32), rows and keys at a time;
// padded(rows), how many rows it reads;
// a Session, alive while a block of queries is worked on; fence(), called between plain code and the unit's;
// scores(), which fills the scores of `count` keys from `key0`; and add_values(), which adds weights times
// values to `out`, or sets it for the `first` block of keys.
#pragma once

#include "attention/int8_page.h"

#include <cstring>

namespace seatrial {
namespace {

constexpr i64 kPackedTile = 512;  // values of 16 pairs along K of 16 columns

i64 up(i64 value, i64 multiple) { return (value + multiple - 1) / multiple * multiple; }

// Keys as tiles [T/16][D/32][16 pairs of D][16 keys][2], values as tiles [D/16][T/32][16 pairs of T][16][2].
struct Packed {
  std::uint16_t* keys;
  std::uint16_t* values;
  i64 key_steps;    // tiles along D for the keys
  i64 value_steps;  // tiles along T for the values

  Packed(i64 T, i64 D, const void* data)
      : keys(static_cast<std::uint16_t*>(const_cast<void*>(data))),
        values(keys + up(T, 32) * up(D, 32)),
        key_steps(up(D, 32) / 32),
        value_steps(up(T, 32) / 32) {}
};

i64 within(i64 seen, i64 count) { return seen < 0 ? 0 : (seen < count ? seen : count); }

i64 packed_bytes(const AttentionCall& c) { return up(c.T, 32) * (up(c.D, 32) + up(c.D, 16)) * 2; }

void fetch(const void* data, i64 bytes) {
  for (i64 at = 0; at < bytes; at += 64) _mm_prefetch(static_cast<const char*>(data) + at, _MM_HINT_T1);
}

const float* row_of(const Strided& a, i64 b, i64 position, i64 head) {
  return a.data + b * a.batch + position * a.position + head * a.head;
}

Vec load_inside(const float* row, i64 from, i64 end) {
  if (from + 16 <= end) return Vec::load(row + from);
  return from < end ? Vec::load_n(row + from, end - from, 0.0F) : Vec::zero();
}

// 32 values as bfloat16, `low` first.  The instruction takes numbers below 1.2e-38 as zero, as the tile unit does.
__m512i to_bits(Vec low, Vec high) { return reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(high.v, low.v)); }

__m512i load_bits(const float* row, i64 from, i64 end) {
  return to_bits(load_inside(row, from, end), load_inside(row, from + 16, end));
}

void pack_key(const Packed& packed, i64 t, const float* k, i64 width) {
  const __m512i rows = _mm512_mullo_epi32(_mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15),
                                          _mm512_set1_epi32(16));
  for (i64 s = 0; s < packed.key_steps; ++s) {
    std::uint16_t* tile = packed.keys + (t / 16 * packed.key_steps + s) * kPackedTile + t % 16 * 2;
    _mm512_i32scatter_epi32(tile, rows, load_bits(k, s * 32, width), 4);
  }
}

void put(const AttentionCall& c, i64 key, const float* k, const float* v, void* page) {
  const Packed packed(c.T, c.D, page);
  pack_key(packed, key, k, c.D);
  std::uint16_t* pair = packed.values + key / 32 * kPackedTile + key % 32 / 2 * 32 + key % 2;
  alignas(64) std::uint16_t bits[32];
  for (i64 d = 0; d < c.D; d += 32) {
    _mm512_store_si512(bits, load_bits(v, d, c.D));
    for (i64 i = 0; i < 32 && d + i < c.D; ++i)
      pair[(d + i) / 16 * packed.value_steps * kPackedTile + (d + i) % 16 * 2] = bits[i];
  }
}

void put_int8(const AttentionCall& c, i64 key, const float* k, const float* v, void* page) {
  const Packed packed(c.T, c.D, nullptr);
  const i64 keys = key / 16 * packed.key_steps * kPackedTile + key % 16 * 2;
  const i64 values = up(c.T, 32) * up(c.D, 32) + key / 32 * kPackedTile + key % 32 / 2 * 32 + key % 2;
  put_position(
      c.D, key, k, v, page, [&](i64 d) { return keys + d / 32 * kPackedTile + d % 32 / 2 * 32 + d % 2; },
      [&](i64 d) { return values + d / 16 * packed.value_steps * kPackedTile + d % 16 * 2; });
}

// 32 whole numbers, a scale for each, as bfloat16.
__m512i open_bytes(const std::int8_t* bytes, Vec low, Vec high) {
  const auto* at = reinterpret_cast<const __m128i*>(bytes);
  const Vec first = {_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(at)))};
  const Vec second = {_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(at + 1)))};
  return to_bits(first * low, second * high);
}

void open_int8(const AttentionCall& c, const void* page, void* data) {
  const Packed packed(c.T, c.D, data);
  const auto* scales = static_cast<const float*>(page);
  const auto* bytes = static_cast<const std::int8_t*>(page) + kInt8PageScales;
  const __m512i twice = _mm512_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7);
  for (i64 t = 0; t < c.T; t += 16) {  // 32 numbers: pairs of 16 positions
    const __m512 own = _mm512_loadu_ps(scales + t);
    const Vec low = {_mm512_permutexvar_ps(twice, own)};
    const Vec high = {_mm512_permutexvar_ps(_mm512_add_epi32(twice, _mm512_set1_epi32(8)), own)};
    const i64 begin = t / 16 * packed.key_steps * kPackedTile;
    for (i64 i = begin; i < begin + packed.key_steps * kPackedTile; i += 32)
      _mm512_storeu_si512(packed.keys + i, open_bytes(bytes + i, low, high));
  }
  const std::int8_t* values = bytes + up(c.T, 32) * up(c.D, 32);
  for (i64 t = 0; t < c.T; t += 2) {  // 32 numbers: 16 pairs of two positions
    double both = 0;
    std::memcpy(&both, scales + kPageKeys + t, sizeof both);
    const Vec scale = {_mm512_castpd_ps(_mm512_set1_pd(both))};
    for (i64 d = 0; d < up(c.D, 16); d += 16) {
      const i64 at = (d / 16 * packed.value_steps + t / 32) * kPackedTile + t % 32 / 2 * 32;
      _mm512_storeu_si512(packed.values + at, open_bytes(values + at, scale, scale));
    }
  }
}

void pack(const AttentionCall& c, i64 b, i64 g, i64 key0, i64 key1, void* data) {
  const Packed packed(c.T, c.D, data);
  const i64 end = key1 == c.T ? up(c.T, 32) : key1;
  for (i64 t = key0; t < end; ++t) pack_key(packed, t, row_of(c.k, b, t < c.T ? t : 0, g), t < c.T ? c.D : 0);
  alignas(64) static constexpr std::uint16_t kPairs[32] = {
      0, 16, 1, 17, 2,  18, 3,  19, 4,  20, 5,  21, 6,  22, 7,  23,
      8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
  const __m512i pairs = _mm512_load_si512(kPairs);
  for (i64 t = key0; t < end; t += 2) {
    const float* even = row_of(c.v, b, t < c.T ? t : 0, g);
    const float* odd = row_of(c.v, b, t + 1 < c.T ? t + 1 : 0, g);
    const i64 even_width = t < c.T ? c.D : 0;
    const i64 odd_width = t + 1 < c.T ? c.D : 0;
    for (i64 d = 0; d < up(c.D, 16); d += 16) {
      const __m512i bits = to_bits(load_inside(even, d, even_width), load_inside(odd, d, odd_width));
      std::uint16_t* tile = packed.values + (d / 16 * packed.value_steps + t / 32) * kPackedTile;
      _mm512_storeu_si512(tile + t % 32 / 2 * 32, _mm512_permutexvar_epi16(pairs, bits));
    }
  }
}

// 2^t for t <= 0, relative error below 3e-6 (bfloat16 keeps 4e-3); 0 far below; NaN stays NaN.
[[gnu::always_inline]] inline Vec exp2_below(Vec t) {
  t = Vec::max(Vec::set(-200.0F), t);
  const Vec r = {_mm512_reduce_ps(t.v, _MM_FROUND_TO_NEG_INF)};  // t - floor(t)
  Vec p = Vec::set(1.35341662e-2F);
  p = Vec::fma(p, r, Vec::set(5.20114626e-2F));
  p = Vec::fma(p, r, Vec::set(2.41442756e-1F));
  p = Vec::fma(p, r, Vec::set(6.93003835e-1F));
  p = Vec::fma(p, r, Vec::set(1.00000259F));
  return Vec::scale(p, t);
}

struct Rows {  // the scratch of one block of queries
  float* scores;           // [rows][score stride]
  float* out;              // [rows][up(D, 16)]
  float* maximum;          // [rows], of unscaled scores
  float* sum;              // [rows]
  std::uint16_t* weights;  // [rows][weight stride]
  std::uint16_t* q;        // [rows][up(D, 32)]
};

float largest(const float* scores, i64 count, float start) {
  Vec m0 = Vec::set(start);
  Vec m1 = m0;
  i64 i = 0;
  for (; i + 32 <= count; i += 32) {
    m0 = Vec::max(Vec::load(scores + i), m0);
    m1 = Vec::max(Vec::load(scores + i + 16), m1);
  }
  for (; i < count; i += 16) m0 = Vec::max(Vec::load_n(scores + i, count - i, start), m0);
  return Vec::max(m0, m1).largest();
}

// Weights of one row from its scores, and their sum: only the first `seen` of `count` (a multiple of 32) count.
float weigh(const float* scores, std::uint16_t* weights, float base, float scale, i64 seen, i64 count) {
  const Vec by = Vec::set(scale);
  const Vec shift = Vec::set(-base * scale);
  Vec t0 = Vec::zero();
  Vec t1 = Vec::zero();
  i64 i = 0;
  for (; i + 32 <= seen; i += 32) {
    const Vec p0 = exp2_below(Vec::fma(Vec::load(scores + i), by, shift));
    const Vec p1 = exp2_below(Vec::fma(Vec::load(scores + i + 16), by, shift));
    t0 = t0 + p0;
    t1 = t1 + p1;
    _mm512_storeu_si512(weights + i, to_bits(p0, p1));
  }
  if (i < seen) {  // the row's end lies here
    const Vec p0 = exp2_below(Vec::fma(Vec::load(scores + i), by, shift));
    const Vec p1 = exp2_below(Vec::fma(Vec::load(scores + i + 16), by, shift));
    const Vec kept0 = {_mm512_maskz_mov_ps(Vec::first(seen - i), p0.v)};
    const Vec kept1 = {_mm512_maskz_mov_ps(Vec::first(seen - i - 16), p1.v)};
    t0 = t0 + kept0;
    t1 = t1 + kept1;
    _mm512_storeu_si512(weights + i, to_bits(kept0, kept1));
    i += 32;
  }
  for (; i < count; i += 32) _mm512_storeu_si512(weights + i, _mm512_setzero_si512());
  return (t0 + t1).sum();
}

template <typename Unit>
struct Attention {
  // Off the powers of two: rows would share cache sets.
  static constexpr i64 kScoreStride = Unit::key_block + 16;
  static constexpr i64 kWeightStride = Unit::key_block + 32;

  static i64 scratch_bytes(const AttentionCall& c) {
    return Unit::query_block * (kScoreStride * 4 + kWeightStride * 2 + up(c.D, 32) * 2 + up(c.D, 16) * 4 + 8);
  }

  // Softmax weights of all rows of a block, of which row i sees seen(i) <= `count` keys.  Maxima first: no row then
  // waits for its own.  `out`, from keys before (unless `first`), is scaled to the new maxima.
  template <typename Seen>
  static void soften(float scale, i64 D, const Rows& r, i64 rows, i64 count, bool first, const Seen& seen) {
    alignas(64) float base[Unit::query_block] = {};
    alignas(64) float factor[Unit::query_block];
    scale *= 1.44269504F;
    for (i64 i = 0; i < rows; ++i) {
      const float peak = largest(r.scores + i * kScoreStride, seen(i), r.maximum[i]);
      base[i] = peak == -__builtin_inff() ? 0.0F : peak;
    }
    for (i64 i = 0; i < rows; i += 16)
      exp2_below((Vec::load(r.maximum + i) - Vec::load(base + i)) * Vec::set(scale)).store(factor + i);
    const i64 width = up(D, 16);
    for (i64 i = 0; i < rows; ++i) {
      const float* scores = r.scores + i * kScoreStride;
      const float sum = weigh(scores, r.weights + i * kWeightStride, base[i], scale, seen(i), up(count, 32));
      r.sum[i] = r.sum[i] * factor[i] + sum;
      if (seen(i) > 0) r.maximum[i] = base[i];
      if (first) continue;
      for (i64 d = 0; d < width; d += 16) {
        float* out = r.out + i * width + d;
        (Vec::load(out) * Vec::set(factor[i])).store(out);
      }
    }
  }

  // A block of queries in scratch; row(i) gives its values.
  template <typename Row>
  static Rows prepare(i64 D, i64 rows, void* scratch, const Row& row) {
    const i64 width = up(D, 16);
    const i64 depth = up(D, 32);
    Rows r;
    r.scores = static_cast<float*>(scratch);
    r.out = r.scores + Unit::query_block * kScoreStride;
    r.maximum = r.out + Unit::query_block * width;
    r.sum = r.maximum + Unit::query_block;
    r.weights = reinterpret_cast<std::uint16_t*>(r.sum + Unit::query_block);
    r.q = r.weights + Unit::query_block * kWeightStride;
    const i64 padded = Unit::padded(rows);
    for (i64 i = 0; i < padded; ++i) {
      const float* q = row(i < rows ? i : 0);
      for (i64 d = 0; d < depth; d += 32) _mm512_storeu_si512(r.q + i * depth + d, load_bits(q, d, i < rows ? D : 0));
      r.maximum[i] = -__builtin_inff();
      r.sum[i] = 0.0F;
    }
    for (i64 i = 0; i < padded * width; i += 16) Vec::zero().store(r.out + i);
    Unit::fence();
    return r;
  }

  static void block(const AttentionCall& c, i64 b, i64 h, i64 row0, i64 row1, const void* data, void* scratch) {
    const typename Unit::Session session;
    const Packed packed(c.T, c.D, data);
    const i64 rows = row1 - row0;
    const Rows r = prepare(c.D, rows, scratch, [&](i64 i) { return row_of(c.q, b, row0 + i, h); });
    const i64 last = within(c.visible(row1 - 1), c.T);
    const i64 width = up(c.D, 16);
    for (i64 key = 0; key < last; key += Unit::key_block) {
      const i64 count = last - key < Unit::key_block ? last - key : Unit::key_block;
      Unit::scores(packed, r, kScoreStride, rows, key, count);
      soften(c.scale, c.D, r, rows, count, key == 0, [&](i64 i) { return within(c.visible(row0 + i) - key, count); });
      Unit::fence();
      Unit::add_values(packed, r, kWeightStride, rows, width, key, count, key == 0);
    }
    for (i64 i = 0; i < rows; ++i) {
      float* out = c.out + ((b * c.S + row0 + i) * c.H + h) * c.D;
      const Vec inverse = Vec::set(1.0F / r.sum[i]);
      for (i64 d = 0; d < c.D; d += 16) (Vec::load(r.out + i * width + d) * inverse).store_n(out + d, c.D - d);
    }
  }

  static void pages(const PageRows& c, void* scratch) {
    const typename Unit::Session session;
    const Rows r = prepare(c.D, c.rows, scratch, [&](i64 i) { return c.q[i]; });
    const i64 width = up(c.D, 16);
    for (i64 j = 0; j < c.count; ++j) {
      const Packed packed(kPageKeys, c.D, c.page(j));
      // Pages lie apart: the processor does not guess the next one by itself.
      if (j + 1 < c.count) fetch(c.page(j + 1), 4096);
      Unit::scores(packed, r, kScoreStride, c.rows, 0, kPageKeys);
      soften(c.scale, c.D, r, c.rows, kPageKeys, j == 0,
             [&](i64 i) { return within(c.visible[i] - j * kPageKeys, kPageKeys); });
      Unit::fence();
      Unit::add_values(packed, r, kWeightStride, c.rows, width, 0, kPageKeys, j == 0);
    }
    for (i64 i = 0; i < c.rows; ++i) {
      float* state = c.state + i * (c.D + 2);
      state[0] = r.maximum[i] * c.scale;
      state[1] = r.sum[i];
      for (i64 d = 0; d < c.D; d += 16) Vec::load(r.out + i * width + d).store_n(state + 2 + d, c.D - d);
    }
  }
};

template <typename Unit>
AttentionKernels attention_of() {
  using A = Attention<Unit>;
  return {packed_bytes, pack, 32, Unit::query_block, A::scratch_bytes, A::block, put, A::pages, put_int8, open_int8, 2};
}

}  // namespace
}  // namespace seatrial
