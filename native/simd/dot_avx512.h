// The register block of kernels whose instruction multiplies four bytes of each operand and adds the products to a
// 32-bit sum: vdpbf16ps (two bfloat16) and vpdpbusd (four int8).  Include after vec_avx512.h.
//
// Panels are 16 columns: 64 bytes a step, four bytes of K.  A Dot has: add(sums, weights, four bytes of a row,
// sixteen times over).
#pragma once

#include <cstring>

namespace seatrial {
namespace {

[[gnu::always_inline]] inline __m512i broadcast_step(const void* four_bytes) {
  std::int32_t bits = 0;
  std::memcpy(&bits, four_bytes, sizeof bits);
  return _mm512_set1_epi32(bits);
}

template <int N>
struct Index {
  static constexpr int value = N;
};

// Calls body(Index<0>) ... body(Index<N - 1>): indices are constants, so that arrays of sums stay in registers.
template <int N, typename Body>
[[gnu::always_inline]] inline void each(const Body& body) {
  if constexpr (N > 0) {
    each<N - 1>(body);
    body(Index<N - 1>{});
  }
}

constexpr int kBlockRows = 12;  // times two panels: sums, weights and a row fill the registers

enum class Begin { from_zero, from_first, from_out };  // what sums begin with

// MR rows, `lda` bytes apart, times NT panels, into `out`: 32-bit sums, rows `ldo` apart, a panel's 16 together.
// `first` has 16 sums for each panel.  A sum is one chain in the order of K, whatever MR and NT: it does not depend
// on its neighbours.
//
// Not inlined, and with nothing to do but this: else GCC keeps the sums on the stack.
template <typename Dot, int MR, int NT, Begin from>
[[gnu::noinline]] void dot_block(const void* rows, i64 lda, const void* const* panels, i64 steps,
                                 const std::int32_t* first, float* out, i64 ldo) {
  const char* a = static_cast<const char*>(rows);
  __m512i sums[MR][NT];
  each<MR>([&](auto r) __attribute__((always_inline)) {
    each<NT>([&](auto c) __attribute__((always_inline)) {
      if constexpr (from == Begin::from_zero)
        sums[r.value][c.value] = _mm512_setzero_si512();
      else if constexpr (from == Begin::from_first)
        sums[r.value][c.value] = _mm512_loadu_si512(first + c.value * 16);
      else
        sums[r.value][c.value] = _mm512_loadu_si512(out + r.value * ldo + c.value * 16);
    });
  });
  for (i64 s = 0; s < steps; ++s) {
    __m512i w[NT];
    each<NT>([&](auto c) __attribute__((always_inline)) {
      const char* at = static_cast<const char*>(panels[c.value]) + s * 64;
      if constexpr (MR < kBlockRows) _mm_prefetch(at + 2048, _MM_HINT_T0);  // bound by memory
      w[c.value] = _mm512_loadu_si512(at);
    });
    each<MR>([&](auto r) __attribute__((always_inline)) {
      const __m512i x = broadcast_step(a + r.value * lda + s * 4);
      each<NT>([&](auto c) __attribute__((always_inline)) {
        sums[r.value][c.value] = Dot::add(sums[r.value][c.value], w[c.value], x);
      });
    });
  }
  each<MR>([&](auto r) __attribute__((always_inline)) {
    each<NT>([&](auto c) __attribute__((always_inline)) {
      _mm512_storeu_si512(out + r.value * ldo + c.value * 16, sums[r.value][c.value]);
    });
  });
}

}  // namespace
}  // namespace seatrial
