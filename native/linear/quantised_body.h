// int8 and int4 kernels over Vec and its whole-number lanes; include after body.h.
#pragma once

#include "linear/quantise_row.h"

namespace seatrial {
namespace {

// ---- int8 -----------------------------------------------------------------------------------------------

// Bytes are widened to 16 bits, multiplied and added in pairs to 32: exact, unlike the instruction that
// multiplies bytes and saturates.
template <int MR>
void int8_rows(const LinearCall& call, i64 row, i64 p) {
  Sums sums[MR][kVecsPerPanel];
#pragma GCC unroll 8
  for (int r = 0; r < MR; ++r)
#pragma GCC unroll 4
    for (int c = 0; c < kVecsPerPanel; ++c) sums[r][c] = Sums::zero();
  const std::int8_t* panel = call.w_int8 + p * call.k_padded * kBf16Panel;
  const std::int8_t* a = call.a_int8 + row * call.k_padded;
  for (i64 i = 0; i < call.k_padded; i += 4) {
    Quads w[kVecsPerPanel];
#pragma GCC unroll 4
    for (int c = 0; c < kVecsPerPanel; ++c) w[c] = Quads::load(panel + i * kBf16Panel + c * 4 * Vec::width);
#pragma GCC unroll 8
    for (int r = 0; r < MR; ++r) {
      const Quads x = Quads::set(a + r * call.k_padded + i);
#pragma GCC unroll 4
      for (int c = 0; c < kVecsPerPanel; ++c) sums[r][c].add(w[c], x);
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < MR; ++r)
#pragma GCC unroll 4
    for (int c = 0; c < kVecsPerPanel; ++c)
      finish_int8(call, row + r, p * kBf16Panel + c * Vec::width, sums[r][c].to_float(), call.a_scale[row + r]);
}

void int8_block(const LinearCall& call, i64 row0, i64 row1, i64 panel0, i64 panel1) {
  constexpr int MR = kVecsPerPanel == 1 ? 8 : (kVecsPerPanel == 2 ? 4 : 2);
  for (i64 p = panel0; p < panel1; ++p) {
    i64 row = row0;
    for (; row + MR <= row1; row += MR) int8_rows<MR>(call, row, p);
    for (; row < row1; ++row) int8_rows<1>(call, row, p);
  }
}

void to_int8(const float* x, i64 ldx, i64 rows, i64 k, i64 k_padded, std::int8_t* out, float* scales) {
  for (i64 r = 0; r < rows; ++r)
    scales[r] = quantise_row(x + r * ldx, k, k_padded,
                             [&](i64 i, Vec value) { store_bytes(value, out + r * k_padded + i); });
}

// ---- int4 -----------------------------------------------------------------------------------------------

// One Vec of columns: codes are multiplied as they are; a group's scale and zero come in at its end, since
// sum((code - zero) x) = sum(code x) - zero sum(x).  `Chains` sums per row hide the latency of few rows.
template <int MR, int Chains>
void int4_rows(const LinearCall& call, i64 row, i64 p, int c) {
  const i64 groups = call.k / call.group;
  const std::uint32_t* codes = call.w_int4 + p * (call.k / 8) * kBf16Panel + c * Vec::width;
  const std::uint16_t* scales = call.w_groups + p * groups * kBf16Panel + c * Vec::width;
  const float* a = call.a_f32 + row * call.k_padded;
  Vec sums[MR];
#pragma GCC unroll 8
  for (int r = 0; r < MR; ++r) sums[r] = Vec::zero();
  for (i64 g = 0; g < groups; ++g) {
    Vec part[MR][Chains];
#pragma GCC unroll 8
    for (int r = 0; r < MR; ++r)
#pragma GCC unroll 4
      for (int chain = 0; chain < Chains; ++chain) part[r][chain] = Vec::zero();
    for (i64 i = 0; i < call.group; i += 8, codes += kBf16Panel, a += 8) {
      __builtin_prefetch(codes + 512);
      const Codes eight = Codes::load(codes);
#pragma GCC unroll 8
      for (int j = 0; j < 8; ++j) {
        const Vec code = eight.at(j / 2 * 4 + j % 2 * 16);
#pragma GCC unroll 8
        for (int r = 0; r < MR; ++r)
          part[r][j % Chains] = Vec::fma(Vec::set(a[r * call.k_padded + j]), code, part[r][j % Chains]);
      }
    }
    Vec scale;
    Vec zero;
    load_group(scales + g * kBf16Panel, scale, zero);
#pragma GCC unroll 8
    for (int r = 0; r < MR; ++r) {
      Vec sum = part[r][0];
      for (int chain = 1; chain < Chains; ++chain) sum = sum + part[r][chain];
      const Vec x = Vec::set(call.a_sums[(row + r) * groups + g]);
      sums[r] = Vec::fma(scale, Vec::fnma(zero, x, sum), sums[r]);
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < MR; ++r) finish(call, row + r, p * kBf16Panel + c * Vec::width, sums[r]);
}

void int4_block(const LinearCall& call, i64 row0, i64 row1, i64 panel0, i64 panel1) {
  for (i64 p = panel0; p < panel1; ++p)
    for (int c = 0; c < kVecsPerPanel; ++c) {
      i64 row = row0;
      if constexpr (Vec::width == 16) {  // the sets with 32 registers
        for (; row + 8 <= row1; row += 8) int4_rows<8, 1>(call, row, p, c);
      }
      for (; row + 4 <= row1; row += 4) int4_rows<4, 1>(call, row, p, c);
      if (row + 2 <= row1) int4_rows<2, 2>(call, row, p, c), row += 2;
      if (row < row1) int4_rows<1, 4>(call, row, p, c);
    }
}

// (code - zero) * scale = code * scale - zero * scale: every term is exact.
void int4_to_bf16(const LinearCall& call, i64 p, std::uint16_t* out) {
  const i64 groups = call.k / call.group;
  const std::uint32_t* codes = call.w_int4 + p * (call.k / 8) * kBf16Panel;
  const std::uint16_t* scales = call.w_groups + p * groups * kBf16Panel;
  for (i64 g = 0; g < groups; ++g, scales += kBf16Panel)
    for (int c = 0; c < kVecsPerPanel; ++c) {
      Vec scale;
      Vec zero;
      load_group(scales + c * Vec::width, scale, zero);
      const Vec least = zero * scale;
      for (i64 i = g * call.group; i < (g + 1) * call.group; i += 8) {
        const Codes eight = Codes::load(codes + i / 8 * kBf16Panel + c * Vec::width);
#pragma GCC unroll 4
        for (int j = 0; j < 4; ++j) {
          const Vec even = eight.at(4 * j) * scale - least;
          const Vec odd = eight.at(4 * j + 16) * scale - least;
          store_pairs(even, odd, out + (i + 2 * j) * kBf16Panel + c * 2 * Vec::width);
        }
      }
    }
}

}  // namespace
}  // namespace seatrial
