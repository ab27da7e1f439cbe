// The register block that linear and attention share; include after one of the vec_*.h.
//
// C[rows, 2w] = A[rows, k] times one panel B[k][2w], w = Vec::width.  Each result is one chain of
// multiply-adds in the order of k, whatever the number of rows: a row's result does not depend on its
// neighbours.
#pragma once

namespace seatrial {
namespace {

constexpr i64 kPanel = 2 * Vec::width;

template <int N>
struct Count {
  static constexpr int value = N;
};

// Calls done(row, left, right) with the two vectors of each row.
template <int MR, typename Done>
[[gnu::always_inline]] inline void micro(const float* a, i64 lda, const float* panel, i64 k, const Done& done) {
  Vec left[MR];
  Vec right[MR];
#pragma GCC unroll 12
  for (int r = 0; r < MR; ++r) left[r] = right[r] = Vec::zero();
  for (i64 i = 0; i < k; ++i) {
    const Vec b0 = Vec::load(panel + i * kPanel);
    const Vec b1 = Vec::load(panel + i * kPanel + Vec::width);
#pragma GCC unroll 12
    for (int r = 0; r < MR; ++r) {
      const Vec x = Vec::set(a[r * lda + i]);
      left[r] = Vec::fma(x, b0, left[r]);
      right[r] = Vec::fma(x, b1, right[r]);
    }
  }
#pragma GCC unroll 12
  for (int r = 0; r < MR; ++r) done(r, left[r], right[r]);
}

// Any number of rows: blocks of micro_rows, then 4, 2, 1.
template <typename Done>
inline void gemm_rows(const float* a, i64 lda, i64 rows, const float* panel, i64 k, const Done& done) {
  constexpr int MR = Vec::micro_rows;
  i64 row = 0;
  const auto block = [&](auto size) {
    constexpr int count = decltype(size)::value;
    micro<count>(a + row * lda, lda, panel, k, [&](int r, Vec left, Vec right) { done(row + r, left, right); });
    row += count;
  };
  while (rows - row >= MR) block(Count<MR>{});
  if constexpr (MR > 4) {
    while (rows - row >= 4) block(Count<4>{});
  }
  if (rows - row >= 2) block(Count<2>{});
  if (rows - row >= 1) block(Count<1>{});
}

}  // namespace
}  // namespace seatrial
