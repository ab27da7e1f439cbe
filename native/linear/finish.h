// What happens to a product before it is stored; include after a vec_*.h and math.h.
#pragma once

namespace seatrial {
namespace {

// One Vec of results at (row, column): bias, activation, residual, store.  Cut at column n.
[[gnu::always_inline]] inline void finish(const LinearCall& call, i64 row, i64 column, Vec sum) {
  sum = sum + Vec::load(call.bias + column);
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

}  // namespace
}  // namespace seatrial
