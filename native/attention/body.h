// Blocked attention over Vec with online softmax; one file per instruction set includes this.
//
// Keys of one (batch, group) are packed as panels [T/P][D][P], values as panels [D/P][T][P], P = kPanel, so
// that both products use the register block of the linear kernels.  For bf16 all operands are rounded (and
// kept as float32), so that products are exact and sums are float32.
#pragma once

#include "simd/gemm_f32.h"

namespace seatrial {
namespace {

constexpr i64 kQueryBlock = 24;  // a multiple of 12, 6, 4: whole register blocks
constexpr i64 kKeyBlock = 256;   // scores of a block stay in L1

i64 up(i64 value, i64 multiple) { return (value + multiple - 1) / multiple * multiple; }

i64 packed_bytes(const AttentionCall& c) { return (up(c.T, kPanel) * c.D + up(c.D, kPanel) * c.T) * 4 + 64; }

i64 scratch_bytes(const AttentionCall& c) {
  return (kQueryBlock * (c.D + kKeyBlock + up(c.D, kPanel) + 2) + 64) * 4;
}

[[gnu::always_inline]] inline float entering(const AttentionCall& c, float x) {
  if (!c.bf16) return x;
  float result = 0.0F;
  Vec::round_bf16(Vec::set(x)).store_n(&result, 1);
  return result;
}

[[gnu::always_inline]] inline Vec entering(const AttentionCall& c, Vec x) { return c.bf16 ? Vec::round_bf16(x) : x; }

const float* row_of(const Strided& a, i64 b, i64 position, i64 head) {
  return a.data + b * a.batch + position * a.position + head * a.head;
}

void pack(const AttentionCall& c, i64 b, i64 g, i64 key0, i64 key1, void* packed) {
  float* keys = static_cast<float*>(packed);
  float* values = keys + up(c.T, kPanel) * c.D;
  const i64 padded = key1 == c.T ? up(c.T, kPanel) : key1;
  for (i64 t = key0; t < padded; ++t) {
    float* column = keys + t / kPanel * c.D * kPanel + t % kPanel;
    const float* k = row_of(c.k, b, t < c.T ? t : 0, g);
    for (i64 d = 0; d < c.D; ++d) column[d * kPanel] = t < c.T ? entering(c, k[d]) : 0.0F;
  }
  for (i64 t = key0; t < key1; ++t) {
    const float* v = row_of(c.v, b, t, g);
    for (i64 d = 0; d < up(c.D, kPanel); d += Vec::width) {
      const Vec x = d < c.D ? Vec::load_n(v + d, c.D - d < Vec::width ? c.D - d : Vec::width, 0.0F) : Vec::zero();
      entering(c, x).store(values + d / kPanel * c.T * kPanel + t * kPanel + d % kPanel);
    }
  }
}

// Turns a row's scores into unnormalised weights in place; only the first `seen` of `count` count.
// Updates the running maximum and sum; returns the factor for what was accumulated before.
float soften(const AttentionCall& c, float* scores, i64 seen, i64 count, float& maximum, float& sum) {
  const Vec scale = Vec::set(c.scale);
  Vec top = Vec::set(maximum);
  for (i64 i = 0; i < seen; i += Vec::width) {
    const Vec s = Vec::load_n(scores + i, seen - i < Vec::width ? seen - i : Vec::width, -__builtin_inff()) * scale;
    s.store(scores + i);
    top = Vec::max(s, top);
  }
  const float peak = top.largest();
  const float base = peak == -__builtin_inff() ? 0.0F : peak;
  const Vec shift = Vec::set(base);
  Vec total = Vec::zero();
  i64 i = 0;
  for (; i < seen; i += Vec::width) {  // scores beyond `seen` are -inf here: weight 0
    const Vec p = exp(Vec::load(scores + i) - shift);
    total = total + p;
    entering(c, p).store(scores + i);
  }
  for (; i < up(count, Vec::width); i += Vec::width) Vec::zero().store(scores + i);
  float factors[Vec::width];
  exp(Vec::set(maximum - base)).store(factors);
  maximum = peak;
  sum = sum * factors[0] + total.sum();
  return factors[0];
}

struct Rows {  // the scratch of one block of queries
  float* q;       // [rows][D]
  float* scores;  // [rows][kKeyBlock]
  float* out;     // [rows][up(D, P)]
  float* maximum;
  float* sum;
};

Rows prepare(const AttentionCall& c, i64 b, i64 h, i64 row0, i64 row1, void* scratch) {
  const i64 rows = row1 - row0;
  const i64 width = up(c.D, kPanel);
  Rows r;
  r.q = static_cast<float*>(scratch);
  r.scores = r.q + kQueryBlock * c.D;
  r.out = r.scores + kQueryBlock * kKeyBlock;
  r.maximum = r.out + kQueryBlock * width;
  r.sum = r.maximum + kQueryBlock;
  for (i64 i = 0; i < rows; ++i) {
    const float* q = row_of(c.q, b, row0 + i, h);
    for (i64 d = 0; d < c.D; ++d) r.q[i * c.D + d] = entering(c, q[d]);
    r.maximum[i] = -__builtin_inff();
    r.sum[i] = 0.0F;
  }
  for (i64 i = 0; i < rows * width; ++i) r.out[i] = 0.0F;
  return r;
}

void keys_block(const AttentionCall& c, const Rows& r, i64 row0, i64 rows, i64 key0, i64 count, const float* packed) {
  const i64 width = up(c.D, kPanel);
  for (i64 t = 0; t < count; t += kPanel)
    gemm_rows(r.q, c.D, rows, packed + (key0 + t) * c.D, c.D, [&](i64 row, Vec left, Vec right) {
      left.store(r.scores + row * kKeyBlock + t);
      right.store(r.scores + row * kKeyBlock + t + Vec::width);
    });
  for (i64 i = 0; i < rows; ++i) {
    i64 seen = c.visible(row0 + i) - key0;
    seen = seen < 0 ? 0 : (seen < count ? seen : count);
    const float factor = soften(c, r.scores + i * kKeyBlock, seen, count, r.maximum[i], r.sum[i]);
    if (factor != 1.0F)
      for (i64 d = 0; d < width; d += Vec::width)
        (Vec::load(r.out + i * width + d) * Vec::set(factor)).store(r.out + i * width + d);
  }
  const float* values = packed + up(c.T, kPanel) * c.D + key0 * kPanel;
  for (i64 d = 0; d < width; d += kPanel)
    gemm_rows(r.scores, kKeyBlock, rows, values + d * c.T, count, [&](i64 row, Vec left, Vec right) {
      float* out = r.out + row * width + d;
      (Vec::load(out) + left).store(out);
      (Vec::load(out + Vec::width) + right).store(out + Vec::width);
    });
}

void block(const AttentionCall& c, i64 b, i64 h, i64 row0, i64 row1, const void* packed, void* scratch) {
  const Rows r = prepare(c, b, h, row0, row1, scratch);
  const i64 rows = row1 - row0;
  const i64 last = c.visible(row1 - 1) < c.T ? c.visible(row1 - 1) : c.T;
  for (i64 key = 0; key < last; key += kKeyBlock) {
    const i64 count = last - key < kKeyBlock ? last - key : kKeyBlock;
    keys_block(c, r, row0, rows, key, count, static_cast<const float*>(packed));
  }
  const i64 width = up(c.D, kPanel);
  for (i64 i = 0; i < rows; ++i) {
    float* out = c.out + ((b * c.S + row0 + i) * c.H + h) * c.D;
    const Vec inverse = Vec::set(1.0F / r.sum[i]);
    for (i64 d = 0; d < c.D; d += Vec::width)
      (Vec::load(r.out + i * width + d) * inverse).store_n(out + d, c.D - d < Vec::width ? c.D - d : Vec::width);
  }
}

AttentionKernels attention_kernels() {
  return {packed_bytes, pack, kPanel, kQueryBlock, scratch_bytes, block};
}

}  // namespace
}  // namespace seatrial
