// Norms, gates and rotation over Vec; one file per instruction set includes this.  Sums use four vectors, so
// that they do not wait for one another and lose less to rounding.
#pragma once

namespace seatrial {
namespace {

constexpr i64 W = Vec::width;

// Sum of term(vector) over a row; `fill` goes to term beyond the end and must give 0.
template <typename Term>
[[gnu::always_inline]] inline float row_sum(const float* x, i64 c, float fill, const Term& term) {
  Vec s0 = Vec::zero();
  Vec s1 = Vec::zero();
  Vec s2 = Vec::zero();
  Vec s3 = Vec::zero();
  i64 i = 0;
  for (; i + 4 * W <= c; i += 4 * W) {
    s0 = s0 + term(Vec::load(x + i));
    s1 = s1 + term(Vec::load(x + i + W));
    s2 = s2 + term(Vec::load(x + i + 2 * W));
    s3 = s3 + term(Vec::load(x + i + 3 * W));
  }
  for (; i + W <= c; i += W) s0 = s0 + term(Vec::load(x + i));
  if (i < c) s1 = s1 + term(Vec::load_n(x + i, c - i, fill));
  return ((s0 + s1) + (s2 + s3)).sum();
}

// store(i, n): whole vectors, then the rest of a row.
template <typename Store>
[[gnu::always_inline]] inline void each(i64 c, const Store& store) {
  i64 i = 0;
  for (; i + W <= c; i += W) store(i, W);
  if (i < c) store(i, c - i);
}

[[gnu::always_inline]] inline Vec get(const float* p, i64 n) { return n == W ? Vec::load(p) : Vec::load_n(p, n, 0.0F); }
[[gnu::always_inline]] inline void put(Vec v, float* p, i64 n) {
  if (n == W)
    v.store(p);
  else
    v.store_n(p, n);
}

void layer_norm(const float* x, i64 ldx, i64 rows, i64 c, const float* w, const float* b, float eps, float* y) {
  for (i64 r = 0; r < rows; ++r, x += ldx, y += c) {
    const float mean = row_sum(x, c, 0.0F, [](Vec v) { return v; }) / static_cast<float>(c);
    const Vec centre = Vec::set(mean);
    const float squares = row_sum(x, c, mean, [&](Vec v) { return (v - centre) * (v - centre); });
    const float scale = 1.0F / __builtin_sqrtf(squares / static_cast<float>(c) + eps);
    const Vec by = Vec::set(scale);
    each(c, [&](i64 i, i64 n) {
      put(Vec::fma((get(x + i, n) - centre) * by, get(w + i, n), get(b + i, n)), y + i, n);
    });
  }
}

void rms_norm(const float* x, i64 ldx, i64 rows, i64 c, const float* w, float eps, float* y) {
  for (i64 r = 0; r < rows; ++r, x += ldx, y += c) {
    const float squares = row_sum(x, c, 0.0F, [](Vec v) { return v * v; });
    const Vec by = Vec::set(1.0F / __builtin_sqrtf(squares / static_cast<float>(c) + eps));
    each(c, [&](i64 i, i64 n) { put(get(x + i, n) * by * get(w + i, n), y + i, n); });
  }
}

void silu_mul(const float* x, i64 ldx, i64 rows, i64 half, float* y) {
  for (i64 r = 0; r < rows; ++r, x += ldx, y += half)
    each(half, [&](i64 i, i64 n) { put(silu(get(x + i, n)) * get(x + half + i, n), y + i, n); });
}

void rope(const float* x, i64 ldx, i64 heads, i64 half, const float* cos, const float* sin, float* y) {
  for (i64 h = 0; h < heads; ++h, x += ldx, y += 2 * half)
    each(half, [&](i64 i, i64 n) {
      const Vec a = get(x + i, n);
      const Vec b = get(x + half + i, n);
      const Vec c = get(cos + i, n);
      const Vec s = get(sin + i, n);
      put(a * c - b * s, y + i, n);
      put(b * c + a * s, y + half + i, n);
    });
}

}  // namespace
}  // namespace seatrial
