// Whole numbers beside Vec, AVX-512 F/BW.  The interface is explained in lanes_generic.h.
#pragma once

#include <cstring>

namespace seatrial {
namespace {

struct Quads {
  __m512i even, odd;

  static Quads of(__m512i x) { return {_mm512_srai_epi16(_mm512_slli_epi16(x, 8), 8), _mm512_srai_epi16(x, 8)}; }
  static Quads load(const std::int8_t* p) { return of(_mm512_loadu_si512(p)); }
  static Quads set(const std::int8_t* p) {
    std::int32_t bits = 0;
    std::memcpy(&bits, p, sizeof bits);
    return of(_mm512_set1_epi32(bits));
  }
};

struct Sums {
  __m512i v;

  static Sums zero() { return {_mm512_setzero_si512()}; }
  void add(const Quads& a, const Quads& b) {
    const __m512i pairs = _mm512_add_epi32(_mm512_madd_epi16(a.even, b.even), _mm512_madd_epi16(a.odd, b.odd));
    v = _mm512_add_epi32(v, pairs);
  }
  Vec to_float() const { return {_mm512_cvtepi32_ps(v)}; }
};

struct Codes {
  __m512i v;

  static Codes load(const std::uint32_t* p) { return {_mm512_loadu_si512(p)}; }
  Vec at(int shift) const {  // the permutation looks at four bits only
    const __m512 table = _mm512_setr_ps(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    return {_mm512_permutexvar_ps(_mm512_srli_epi32(v, static_cast<unsigned>(shift)), table)};
  }
};

inline void load_group(const std::uint16_t* p, Vec& scale, Vec& zero) {
  const __m512i bits = _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  scale.v = _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_srli_epi32(bits, 4), 20));
  zero.v = _mm512_cvtepi32_ps(_mm512_and_si512(bits, _mm512_set1_epi32(15)));
}

inline void store_pairs(Vec even, Vec odd, std::uint16_t* p) {
  const __m512i low = _mm512_srli_epi32(_mm512_castps_si512(even.v), 16);
  _mm512_storeu_si512(p, _mm512_or_si512(low, _mm512_castps_si512(odd.v)));
}

inline void store_bytes(Vec x, std::int8_t* p) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(x.v)));
}

}  // namespace
}  // namespace seatrial
