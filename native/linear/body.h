// Linear kernels over Vec; one file per instruction set includes this after its vec_*.h.
#pragma once

#include "linear/finish.h"
#include "simd/gemm_f32.h"

namespace seatrial {
namespace {

void linear_f32_block(const LinearCall& call, i64 row0, i64 row1, i64 panel0, i64 panel1) {
  for (i64 p = panel0; p < panel1; ++p) {
    const float* panel = call.w_f32 + p * call.k * kPanel;
    const i64 column = p * kPanel;
    gemm_rows(call.x + row0 * call.ldx, call.ldx, row1 - row0, panel, call.k, [&](i64 row, Vec left, Vec right) {
      finish(call, row0 + row, column, left);
      finish(call, row0 + row, column + Vec::width, right);
    });
  }
}

// bf16 panels are widened in registers: a pair of weights is one 32-bit word, its halves are the upper bits
// of two floats.
constexpr int kVecsPerPanel = static_cast<int>(kBf16Panel) / Vec::width;

template <int MR>
void bf16_rows(const LinearCall& call, i64 row, i64 p) {
  Vec sums[MR][kVecsPerPanel];
#pragma GCC unroll 8
  for (int r = 0; r < MR; ++r)
#pragma GCC unroll 4
    for (int c = 0; c < kVecsPerPanel; ++c) sums[r][c] = Vec::zero();
  const std::uint16_t* panel = call.w_bf16 + (p - call.w_bf16_first) * call.k_padded * kBf16Panel;
  const float* a = call.a_f32 + row * call.k_padded;
  for (i64 i = 0; i < call.k_padded; i += 2) {
#pragma GCC unroll 4
    for (int c = 0; c < kVecsPerPanel; ++c) {
      Vec even;
      Vec odd;
      Vec::load_pairs(panel + i * kBf16Panel + c * 2 * Vec::width, even, odd);
#pragma GCC unroll 8
      for (int r = 0; r < MR; ++r) {
        const float* pair = a + r * call.k_padded + i;
        sums[r][c] = Vec::fma(Vec::set(pair[0]), even, sums[r][c]);
        sums[r][c] = Vec::fma(Vec::set(pair[1]), odd, sums[r][c]);
      }
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < MR; ++r)
#pragma GCC unroll 4
    for (int c = 0; c < kVecsPerPanel; ++c)
      finish(call, row + r, p * kBf16Panel + c * Vec::width, sums[r][c]);
}

void linear_bf16_block(const LinearCall& call, i64 row0, i64 row1, i64 panel0, i64 panel1) {
  constexpr int MR = kVecsPerPanel == 1 ? 8 : (kVecsPerPanel == 2 ? 4 : 2);
  for (i64 p = panel0; p < panel1; ++p) {
    i64 row = row0;
    for (; row + MR <= row1; row += MR) bf16_rows<MR>(call, row, p);
    for (; row < row1; ++row) bf16_rows<1>(call, row, p);
  }
}

// ---- rounding -------------------------------------------------------------------------------------------

// Calls put(position, rounded) over one row, zeros from k to k_padded (a multiple of 32).
template <typename Put>
[[gnu::always_inline]] inline void round_row(const float* x, i64 k, i64 k_padded, const Put& put) {
  i64 i = 0;
  for (; i + Vec::width <= k; i += Vec::width) put(i, Vec::round_bf16(Vec::load(x + i)));
  if (i < k) {
    put(i, Vec::round_bf16(Vec::load_n(x + i, k - i, 0.0F)));
    i += Vec::width;
  }
  for (; i < k_padded; i += Vec::width) put(i, Vec::zero());
}

void round_to_f32(const float* x, i64 ldx, i64 rows, i64 k, i64 k_padded, float* out) {
  for (i64 r = 0; r < rows; ++r)
    round_row(x + r * ldx, k, k_padded, [&](i64 i, Vec value) { value.store(out + r * k_padded + i); });
}

void round_to_bits(const float* x, i64 ldx, i64 rows, i64 k, i64 k_padded, std::uint16_t* out) {
  for (i64 r = 0; r < rows; ++r)
    round_row(x + r * ldx, k, k_padded, [&](i64 i, Vec value) { value.store_bf16(out + r * k_padded + i); });
}

}  // namespace
}  // namespace seatrial
