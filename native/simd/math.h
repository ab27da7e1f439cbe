// Functions of a Vec; include after one of the vec_*.h.
#pragma once

namespace seatrial {
namespace {

// e^x, relative error below 2e-7 where the result is a normal number; 0 and infinity beyond; NaN stays NaN.
// x = n ln 2 + r with |r| <= ln 2 / 2; ln 2 in two parts keeps r exact; Taylor to r^7 / 7! (error 5e-9).
[[gnu::always_inline]] inline Vec exp(Vec x) {
  x = Vec::max(Vec::set(-150.0F), x);
  x = Vec::min(Vec::set(150.0F), x);
  const Vec n = Vec::round(x * Vec::set(1.44269504F));
  Vec r = Vec::fnma(n, Vec::set(0.693359375F), x);
  r = Vec::fnma(n, Vec::set(-2.12194440e-4F), r);
  Vec p = Vec::set(1.0F / 5040.0F);
  p = Vec::fma(p, r, Vec::set(1.0F / 720.0F));
  p = Vec::fma(p, r, Vec::set(1.0F / 120.0F));
  p = Vec::fma(p, r, Vec::set(1.0F / 24.0F));
  p = Vec::fma(p, r, Vec::set(1.0F / 6.0F));
  p = Vec::fma(p, r, Vec::set(0.5F));
  p = Vec::fma(p, r, Vec::set(1.0F));
  p = Vec::fma(p, r, Vec::set(1.0F));
  return Vec::scale(p, n);
}

// x / (1 + e^-z); beyond |z| = 87 the factor is 1e-38, which is 0 to every user.
[[gnu::always_inline]] inline Vec gated(Vec x, Vec minus_z) {
  return Vec::quotient(x, Vec::set(1.0F) + exp(Vec::min(Vec::set(87.0F), minus_z)));
}

[[gnu::always_inline]] inline Vec silu(Vec x) { return gated(x, Vec::zero() - x); }

// 0.5 x (1 + tanh(u)) = x / (1 + e^(-2u)), u = sqrt(2/pi) (x + 0.044715 x^3)
[[gnu::always_inline]] inline Vec gelu_tanh(Vec x) {
  const Vec cubic = Vec::fma(x * x, Vec::set(-2.0F * 0.79788456F * 0.044715F), Vec::set(-2.0F * 0.79788456F));
  return gated(x, x * cubic);
}

}  // namespace
}  // namespace seatrial
