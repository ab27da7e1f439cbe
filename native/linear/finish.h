// What happens to a product before it is stored; include after a vec_*.h and math.h.
#pragma once

namespace seatrial {
namespace {

// One Vec of results at (row, column), bias included: activation, residual, store.  Cut at column n.
[[gnu::always_inline]] inline void finish_biased(const LinearCall& call, i64 row, i64 column, Vec sum) {
  if (call.gelu) sum = gelu_tanh(sum);
  const i64 left = call.n - column;
  const i64 at = row * call.n + column;
  if (left >= Vec::width) {
    if (call.residual != nullptr) sum = sum + Vec::load(call.residual + at);
    sum.store(call.y + at);
  } else if (left > 0) {
    if (call.residual != nullptr) sum = sum + Vec::load_n(call.residual + at, left, 0.0F);
    sum.store_n(call.y + at, left);
  }
}

[[gnu::always_inline]] inline void finish(const LinearCall& call, i64 row, i64 column, Vec sum) {
  finish_biased(call, row, column, sum + Vec::load(call.bias + column));
}

// A sum of whole numbers, as float, from a row quantised with `row_scale`.
[[gnu::always_inline]] inline void finish_int8(const LinearCall& call, i64 row, i64 column, Vec sum,
                                               float row_scale) {
  const Vec scaled = sum * Vec::set(row_scale);
  finish_biased(call, row, column, Vec::fma(scaled, Vec::load(call.w_scale + column), Vec::load(call.bias + column)));
}

}  // namespace
}  // namespace seatrial
