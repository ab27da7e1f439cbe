// Panels of int8 or bf16 with NEON's dot products; include after vec_neon.h, math.h, finish.h.
//
// Everything is counted in words of 32 bits: four int8 or two bfloat16 along K.  A panel is then [words][16] in
// either format, a vector holds a word of four columns, and a row of x is words one after another.  Both formats
// pad K to a multiple of 16 words.
//
// A Format has: Bytes (a vector of four words), Sums (of four columns); load; zero; dot<lane>(sums, w, x): each
// column's word times word `lane` of x; and, where matrix products are used, multiply(sums, x, w): two rows by two
// columns, two words each.
#pragma once

namespace seatrial {
namespace {

constexpr int kQuarters = 4;  // vectors of four columns in a panel

// MR rows; few of them have more chains of sums, to hide the instruction's latency.  Calls
// done(row, quarter, sums of four columns).
template <typename Format, int MR, int Chains, typename Done>
[[gnu::always_inline]] inline void dot_rows(const std::uint32_t* panel, const std::uint32_t* a, i64 words,
                                            const Done& done) {
  typename Format::Sums sums[Chains][MR][kQuarters];
#pragma GCC unroll 2
  for (int chain = 0; chain < Chains; ++chain)
#pragma GCC unroll 4
    for (int r = 0; r < MR; ++r)
#pragma GCC unroll 4
      for (int q = 0; q < kQuarters; ++q) sums[chain][r][q] = Format::zero();
  for (i64 i = 0; i < words; i += 4, panel += 64) {
    __builtin_prefetch(panel + 512);
    typename Format::Bytes x[MR];
#pragma GCC unroll 4
    for (int r = 0; r < MR; ++r) x[r] = Format::load(a + r * words + i);
    const auto step = [&](auto lane) {
      constexpr int l = decltype(lane)::value;
#pragma GCC unroll 4
      for (int q = 0; q < kQuarters; ++q) {
        const typename Format::Bytes w = Format::load(panel + l * 16 + q * 4);
#pragma GCC unroll 4
        for (int r = 0; r < MR; ++r)
          sums[l % Chains][r][q] = Format::template dot<l>(sums[l % Chains][r][q], w, x[r]);
      }
    };
    step(Count<0>{});
    step(Count<1>{});
    step(Count<2>{});
    step(Count<3>{});
  }
#pragma GCC unroll 4
  for (int r = 0; r < MR; ++r)
#pragma GCC unroll 4
    for (int q = 0; q < kQuarters; ++q) {
      if constexpr (Chains == 2)
        done(r, q, Format::add(sums[0][r][q], sums[1][r][q]));
      else
        done(r, q, sums[0][r][q]);
    }
}

// Pairs of rows by pairs of columns.  Two words of a column are brought side by side first; three pairs of rows
// pay for that, and their 24 sums leave room in 32 registers.
template <typename Format, int Pairs, typename Done>
[[gnu::always_inline]] inline void matrix_rows(const std::uint32_t* panel, const std::uint32_t* a, i64 words,
                                               const Done& done) {
  typename Format::Sums sums[Pairs][kQuarters][2];  // columns 0, 1 and 2, 3 of the quarter; row after row
#pragma GCC unroll 3
  for (int p = 0; p < Pairs; ++p)
#pragma GCC unroll 4
    for (int q = 0; q < kQuarters; ++q) sums[p][q][0] = sums[p][q][1] = Format::zero();
  for (i64 i = 0; i < words; i += 2, panel += 32) {
    __builtin_prefetch(panel + 512);
    typename Format::Bytes x[Pairs];
#pragma GCC unroll 3
    for (int p = 0; p < Pairs; ++p) x[p] = Format::load_halves(a + 2 * p * words + i, a + (2 * p + 1) * words + i);
#pragma GCC unroll 4
    for (int q = 0; q < kQuarters; ++q) {
      const uint32x4_t first = vld1q_u32(panel + q * 4);
      const uint32x4_t second = vld1q_u32(panel + 16 + q * 4);
      const typename Format::Bytes low = Format::from(vzip1q_u32(first, second));
      const typename Format::Bytes high = Format::from(vzip2q_u32(first, second));
#pragma GCC unroll 3
      for (int p = 0; p < Pairs; ++p) {
        sums[p][q][0] = Format::multiply(sums[p][q][0], x[p], low);
        sums[p][q][1] = Format::multiply(sums[p][q][1], x[p], high);
      }
    }
  }
#pragma GCC unroll 3
  for (int p = 0; p < Pairs; ++p)
#pragma GCC unroll 4
    for (int q = 0; q < kQuarters; ++q) {
      done(2 * p, q, Format::first_row(sums[p][q][0], sums[p][q][1]));
      done(2 * p + 1, q, Format::second_row(sums[p][q][0], sums[p][q][1]));
    }
}

}  // namespace
}  // namespace seatrial
