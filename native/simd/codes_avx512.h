// 4-bit codes as bfloat16.  The permutation takes its index from the five low bits of each 16-bit word, so a table of
// 16 entries twice over needs no masking.
#pragma once

#include <cstring>

namespace seatrial {
namespace {

inline __m512i code_table() {
  alignas(64) std::uint16_t table[32];
  for (int i = 0; i < 32; ++i) {
    const float value = static_cast<float>(i % 16);
    std::uint32_t bits = 0;
    std::memcpy(&bits, &value, sizeof bits);
    table[i] = static_cast<std::uint16_t>(bits >> 16);
  }
  return _mm512_load_si512(table);
}

// Codes 2j and 2j + 1 of 16 columns' words of eight, in pairs.
template <int j>
[[gnu::always_inline]] inline __m512i code_pairs(__m512i eight, __m512i table) {
  return _mm512_permutexvar_epi16(_mm512_srli_epi32(eight, 4 * j), table);
}

}  // namespace
}  // namespace seatrial
