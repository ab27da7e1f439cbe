// A row of activations as whole numbers, as ops/quantise.py defines it; include after a vec_*.h and lanes_*.h.
#pragma once

namespace seatrial {
namespace {

struct RowScale {
  float scale;
  float inverse;  // 127 / largest magnitude; 0 for a row of nothing
};

inline RowScale scale_of(const float* x, i64 k) {
  constexpr float nothing = 1e-30F;
  Vec most = Vec::zero();
  Vec wrong = Vec::zero();  // x * 0 is 0, but NaN for NaN and infinities
  const auto look = [&](Vec v) {
    most = Vec::max(Vec::max(v, Vec::zero() - v), most);
    wrong = Vec::fma(v, Vec::zero(), wrong);
  };
  i64 i = 0;
  for (; i + Vec::width <= k; i += Vec::width) look(Vec::load(x + i));
  if (i < k) look(Vec::load_n(x + i, k - i, 0.0F));
  const float largest = most.largest();
  if (!(wrong.sum() == 0.0F)) return {__builtin_nanf(""), 0.0F};
  if (largest < nothing) return {0.0F, 0.0F};
  return {largest / 127.0F, 127.0F / largest};
}

// Calls put(position, value) with values in -127..127, not yet rounded, zeros from k to k_padded (a multiple
// of 64); returns the row's scale.
template <typename Put>
[[gnu::always_inline]] inline float quantise_row(const float* x, i64 k, i64 k_padded, const Put& put) {
  const RowScale row = scale_of(x, k);
  const Vec inverse = Vec::set(row.inverse);
  i64 i = 0;
  if (row.inverse != 0.0F) {  // else zeros: 0 * NaN would be NaN
    for (; i + Vec::width <= k; i += Vec::width) put(i, Vec::load(x + i) * inverse);
    if (i < k) {
      put(i, Vec::load_n(x + i, k - i, 0.0F) * inverse);
      i += Vec::width;
    }
  }
  for (; i < k_padded; i += Vec::width) put(i, Vec::zero());
  return row.scale;
}

}  // namespace
}  // namespace seatrial
