// Blocked attention over Vec with online softmax; one file per instruction set includes this.
//
// Keys of one (batch, group) are packed as panels [T/P][D][P], values as panels [D/P][T][P], P = kPanel, so
// that both products use the register block of the linear kernels.  For bf16 all operands are rounded (and
// kept as float32), so that products are exact and sums are float32.
#pragma once

#include "attention/int8_page.h"
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

template <typename Call>
[[gnu::always_inline]] inline float entering(const Call& c, float x) {
  if (!c.bf16) return x;
  float result = 0.0F;
  Vec::round_bf16(Vec::set(x)).store_n(&result, 1);
  return result;
}

template <typename Call>
[[gnu::always_inline]] inline Vec entering(const Call& c, Vec x) { return c.bf16 ? Vec::round_bf16(x) : x; }

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
template <typename Call>
float soften(const Call& c, float* scores, i64 seen, i64 count, float& maximum, float& sum) {
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

// A block of queries in scratch; row(i) gives its values.
template <typename Call, typename Row>
Rows prepare(const Call& c, i64 rows, void* scratch, const Row& row) {
  const i64 width = up(c.D, kPanel);
  Rows r;
  r.q = static_cast<float*>(scratch);
  r.scores = r.q + kQueryBlock * c.D;
  r.out = r.scores + kQueryBlock * kKeyBlock;
  r.maximum = r.out + kQueryBlock * width;
  r.sum = r.maximum + kQueryBlock;
  for (i64 i = 0; i < rows; ++i) {
    const float* q = row(i);
    for (i64 d = 0; d < c.D; ++d) r.q[i * c.D + d] = entering(c, q[d]);
    r.maximum[i] = -__builtin_inff();
    r.sum[i] = 0.0F;
  }
  for (i64 i = 0; i < rows * width; ++i) r.out[i] = 0.0F;
  return r;
}

// `count` keys from `keys`, values from `values` with `value_rows` rows in a panel; seen(i) of them count for row i.
template <typename Call, typename Seen>
void keys_block(const Call& c, const Rows& r, i64 rows, i64 count, const float* keys, const float* values,
                i64 value_rows, const Seen& seen) {
  const i64 width = up(c.D, kPanel);
  for (i64 t = 0; t < count; t += kPanel)
    gemm_rows(r.q, c.D, rows, keys + t * c.D, c.D, [&](i64 row, Vec left, Vec right) {
      left.store(r.scores + row * kKeyBlock + t);
      right.store(r.scores + row * kKeyBlock + t + Vec::width);
    });
  for (i64 i = 0; i < rows; ++i) {
    const float factor = soften(c, r.scores + i * kKeyBlock, seen(i), count, r.maximum[i], r.sum[i]);
    if (factor != 1.0F)
      for (i64 d = 0; d < width; d += Vec::width)
        (Vec::load(r.out + i * width + d) * Vec::set(factor)).store(r.out + i * width + d);
  }
  for (i64 d = 0; d < width; d += kPanel)
    gemm_rows(r.scores, kKeyBlock, rows, values + d * value_rows, count, [&](i64 row, Vec left, Vec right) {
      float* out = r.out + row * width + d;
      (Vec::load(out) + left).store(out);
      (Vec::load(out + Vec::width) + right).store(out + Vec::width);
    });
}

i64 within(i64 seen, i64 count) { return seen < 0 ? 0 : (seen < count ? seen : count); }

void block(const AttentionCall& c, i64 b, i64 h, i64 row0, i64 row1, const void* data, void* scratch) {
  const i64 rows = row1 - row0;
  const Rows r = prepare(c, rows, scratch, [&](i64 i) { return row_of(c.q, b, row0 + i, h); });
  const i64 last = c.visible(row1 - 1) < c.T ? c.visible(row1 - 1) : c.T;
  const float* keys = static_cast<const float*>(data);
  const float* values = keys + up(c.T, kPanel) * c.D;
  for (i64 key = 0; key < last; key += kKeyBlock) {
    const i64 count = last - key < kKeyBlock ? last - key : kKeyBlock;
    keys_block(c, r, rows, count, keys + key * c.D, values + key * kPanel, c.T,
               [&](i64 i) { return within(c.visible(row0 + i) - key, count); });
  }
  const i64 width = up(c.D, kPanel);
  for (i64 i = 0; i < rows; ++i) {
    float* out = c.out + ((b * c.S + row0 + i) * c.H + h) * c.D;
    const Vec inverse = Vec::set(1.0F / r.sum[i]);
    for (i64 d = 0; d < c.D; d += Vec::width)
      (Vec::load(r.out + i * width + d) * inverse).store_n(out + d, c.D - d < Vec::width ? c.D - d : Vec::width);
  }
}

void put(const AttentionCall& c, i64 key, const float* k, const float* v, void* page) {
  float* keys = static_cast<float*>(page) + key / kPanel * c.D * kPanel + key % kPanel;
  float* values = static_cast<float*>(page) + up(c.T, kPanel) * c.D + key * kPanel;
  for (i64 d = 0; d < c.D; ++d) {
    keys[d * kPanel] = entering(c, k[d]);
    values[d / kPanel * c.T * kPanel + d % kPanel] = entering(c, v[d]);
  }
}

void pages(const PageRows& c, void* scratch) {
  const Rows r = prepare(c, c.rows, scratch, [&](i64 i) { return c.q[i]; });
  for (i64 j = 0; j < c.count; ++j) {
    const float* keys = static_cast<const float*>(c.page(j));
    keys_block(c, r, c.rows, kPageKeys, keys, keys + up(kPageKeys, kPanel) * c.D, kPageKeys,
               [&](i64 i) { return within(c.visible[i] - j * kPageKeys, kPageKeys); });
  }
  const i64 width = up(c.D, kPanel);
  for (i64 i = 0; i < c.rows; ++i) {
    float* state = c.state + i * (c.D + 2);
    state[0] = r.maximum[i];
    state[1] = r.sum[i];
    for (i64 d = 0; d < c.D; ++d) state[2 + d] = r.out[i * width + d];
  }
}

void put_int8(const AttentionCall& c, i64 key, const float* k, const float* v, void* page) {
  const i64 values = up(c.T, kPanel) * c.D + key * kPanel;
  put_position(
      c.D, key, k, v, page, [&](i64 d) { return (key / kPanel * c.D + d) * kPanel + key % kPanel; },
      [&](i64 d) { return values + d / kPanel * c.T * kPanel + d % kPanel; });
}

void open_int8(const AttentionCall& c, const void* page, void* packed) {
  const auto* scales = static_cast<const float*>(page);
  const auto* bytes = static_cast<const std::int8_t*>(page) + kInt8PageScales;
  auto* out = static_cast<float*>(packed);
  const i64 keys = up(c.T, kPanel) * c.D;
  const i64 all = keys + up(c.D, kPanel) * c.T;
  for (i64 i = 0; i < keys; i += kPanel)
    for (i64 p = 0; p < kPanel; ++p) out[i + p] = static_cast<float>(bytes[i + p]) * scales[i / kPanel / c.D * kPanel + p];
  for (i64 i = keys; i < all; i += kPanel) {
    const float scale = scales[kPageKeys + (i - keys) / kPanel % c.T];
    for (i64 p = 0; p < kPanel; ++p) out[i + p] = static_cast<float>(bytes[i + p]) * scale;
  }
  if (c.bf16)
    for (i64 i = 0; i < all; i += Vec::width) Vec::round_bf16(Vec::load(out + i)).store(out + i);
}

AttentionKernels attention_kernels() {
  return {packed_bytes, pack, kPanel, kQueryBlock, scratch_bytes, block, put, pages, put_int8, open_int8, 4};
}

}  // namespace
}  // namespace seatrial
