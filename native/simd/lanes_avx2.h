// Whole numbers beside Vec, AVX2.  The interface is explained in lanes_generic.h.
#pragma once

#include <cstring>

namespace seatrial {
namespace {

struct Quads {
  __m256i even, odd;

  static Quads of(__m256i x) { return {_mm256_srai_epi16(_mm256_slli_epi16(x, 8), 8), _mm256_srai_epi16(x, 8)}; }
  static Quads load(const std::int8_t* p) { return of(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))); }
  static Quads set(const std::int8_t* p) {
    std::int32_t bits = 0;
    std::memcpy(&bits, p, sizeof bits);
    return of(_mm256_set1_epi32(bits));
  }
};

struct Sums {
  __m256i v;

  static Sums zero() { return {_mm256_setzero_si256()}; }
  void add(const Quads& a, const Quads& b) {
    const __m256i pairs = _mm256_add_epi32(_mm256_madd_epi16(a.even, b.even), _mm256_madd_epi16(a.odd, b.odd));
    v = _mm256_add_epi32(v, pairs);
  }
  Vec to_float() const { return {_mm256_cvtepi32_ps(v)}; }
};

struct Codes {
  __m256i v;

  static Codes load(const std::uint32_t* p) { return {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))}; }
  Vec at(int shift) const {
    return {_mm256_cvtepi32_ps(_mm256_and_si256(_mm256_srli_epi32(v, shift), _mm256_set1_epi32(15)))};
  }
};

inline void load_group(const std::uint16_t* p, Vec& scale, Vec& zero) {
  const __m256i bits = _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  scale.v = _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_srli_epi32(bits, 4), 20));
  zero.v = _mm256_cvtepi32_ps(_mm256_and_si256(bits, _mm256_set1_epi32(15)));
}

inline void store_pairs(Vec even, Vec odd, std::uint16_t* p) {
  const __m256i low = _mm256_srli_epi32(_mm256_castps_si256(even.v), 16);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm256_or_si256(low, _mm256_castps_si256(odd.v)));
}

inline void store_bytes(Vec x, std::int8_t* p) {
  const __m256i whole = _mm256_cvtps_epi32(x.v);
  const __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(whole), _mm256_extracti128_si256(whole, 1));
  _mm_storel_epi64(reinterpret_cast<__m128i*>(p), _mm_packs_epi16(words, words));
}

}  // namespace
}  // namespace seatrial
