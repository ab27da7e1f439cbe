// Attention of a few queries, straight from the strided keys and values: bound by reading them once.
//
// Rows are (query, head of the group) pairs.  State per row: maximum, sum, D unnormalised outputs.
#pragma once

namespace seatrial {
namespace {

constexpr i64 kDecodeRows = 16;
constexpr i64 kDecodeKeys = 64;  // scores of this many keys are held before values are read

// A row of keys or values as it enters a multiply; rounded once for all rows of queries.
[[gnu::always_inline]] inline const float* entering_row(const AttentionCall& c, const float* row, float* rounded) {
  if (!c.bf16) return row;
  for (i64 d = 0; d < c.D; d += Vec::width) {
    const i64 n = c.D - d;
    if (n >= Vec::width)
      Vec::round_bf16(Vec::load(row + d)).store(rounded + d);
    else
      Vec::round_bf16(Vec::load_n(row + d, n, 0.0F)).store_n(rounded + d, n);
  }
  return rounded;
}

[[gnu::always_inline]] inline float dot(const AttentionCall& c, const float* q, const float* k) {
  Vec even = Vec::zero();
  Vec odd = Vec::zero();
  i64 d = 0;
  for (; d + 2 * Vec::width <= c.D; d += 2 * Vec::width) {
    even = Vec::fma(Vec::load(q + d), Vec::load(k + d), even);
    odd = Vec::fma(Vec::load(q + d + Vec::width), Vec::load(k + d + Vec::width), odd);
  }
  for (; d < c.D; d += Vec::width) {
    const i64 n = c.D - d < Vec::width ? c.D - d : Vec::width;
    even = Vec::fma(Vec::load_n(q + d, n, 0.0F), Vec::load_n(k + d, n, 0.0F), even);
  }
  return (even + odd).sum();
}

[[gnu::always_inline]] inline void add_value(const AttentionCall& c, float* out, const float* v, float weight) {
  const Vec w = Vec::set(weight);
  for (i64 d = 0; d < c.D; d += Vec::width) {
    const i64 n = c.D - d;
    if (n >= Vec::width)
      Vec::fma(w, Vec::load(v + d), Vec::load(out + d)).store(out + d);
    else
      Vec::fma(w, Vec::load_n(v + d, n, 0.0F), Vec::load_n(out + d, n, 0.0F)).store_n(out + d, n);
  }
}

// Keys key0 .. key0 + count for all rows; `scores` is [rows][kDecodeKeys], `rounded` has D values.
void decode_keys(const AttentionCall& c, i64 b, i64 g, i64 key0, i64 count, const float* q, float* scores,
                 float* rounded, float* state) {
  const i64 heads = c.heads_per_group();
  const i64 rows = c.S * heads;
  const i64 stride = c.D + 2;
  for (i64 t = 0; t < count; ++t) {
    const float* k = entering_row(c, row_of(c.k, b, key0 + t, g), rounded);
    for (i64 r = 0; r < rows; ++r) scores[r * kDecodeKeys + t] = dot(c, q + r * c.D, k);
  }
  for (i64 r = 0; r < rows; ++r) {
    i64 seen = c.visible(r / heads) - key0;
    seen = seen < 0 ? 0 : (seen < count ? seen : count);
    float* row = state + r * stride;
    const float factor = soften(c, scores + r * kDecodeKeys, seen, count, row[0], row[1]);
    if (factor != 1.0F)
      for (i64 d = 0; d < c.D; ++d) row[2 + d] *= factor;
  }
  for (i64 t = 0; t < count; ++t) {
    const float* v = entering_row(c, row_of(c.v, b, key0 + t, g), rounded);
    for (i64 r = 0; r < rows; ++r)  // a key that a row does not see must not add 0 * NaN
      if (key0 + t < c.visible(r / heads)) add_value(c, state + r * stride + 2, v, scores[r * kDecodeKeys + t]);
  }
}

// `scratch` holds rows * (D + kDecodeKeys) + D floats.
void decode_partial(const AttentionCall& c, i64 b, i64 g, i64 key0, i64 key1, float* state, float* scratch) {
  const i64 heads = c.heads_per_group();
  const i64 rows = c.S * heads;
  float* q = scratch + rows * kDecodeKeys;
  for (i64 r = 0; r < rows; ++r) {
    const float* from = row_of(c.q, b, r / heads, g * heads + r % heads);
    for (i64 d = 0; d < c.D; ++d) q[r * c.D + d] = entering(c, from[d]);
    float* row = state + r * (c.D + 2);
    row[0] = -__builtin_inff();
    for (i64 d = 1; d < c.D + 2; ++d) row[d] = 0.0F;
  }
  for (i64 key = key0; key < key1; key += kDecodeKeys) {
    const i64 count = key1 - key < kDecodeKeys ? key1 - key : kDecodeKeys;
    decode_keys(c, b, g, key, count, q, scratch, q + rows * c.D, state);
  }
}

DecodeKernels decode_kernels() { return {kDecodeRows, decode_partial}; }

}  // namespace
}  // namespace seatrial
