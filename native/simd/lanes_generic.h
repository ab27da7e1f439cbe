// Whole numbers beside Vec: one lane for each of Vec::width columns.  Include after the set's vec_*.h.
#pragma once

#include <cstdint>
#include <cstring>

namespace seatrial {
namespace {

// Four int8 per lane, apart as the set likes them.
struct Quads {
  Vec::I bytes[4];

  static Quads of(Vec::I x) { return {{x << 24 >> 24, x << 16 >> 24, x << 8 >> 24, x >> 24}}; }
  static Quads load(const std::int8_t* p) {
    Vec::I x;
    std::memcpy(&x, p, sizeof x);
    return of(x);
  }
  static Quads set(const std::int8_t* p) {  // the same four in all lanes
    std::int32_t bits = 0;
    std::memcpy(&bits, p, sizeof bits);
    return of(Vec::I{bits, bits, bits, bits});
  }
};

// One 32-bit sum per lane.
struct Sums {
  Vec::I v;

  static Sums zero() { return {Vec::I{0, 0, 0, 0}}; }
  void add(const Quads& a, const Quads& b) {  // the four products of each lane
    for (int i = 0; i < 4; ++i) v += a.bytes[i] * b.bytes[i];
  }
  Vec to_float() const { return {__builtin_convertvector(v, Vec::F)}; }
};

// Eight 4-bit codes per lane.
struct Codes {
  Vec::I v;

  static Codes load(const std::uint32_t* p) {
    Codes r;
    std::memcpy(&r.v, p, sizeof r.v);
    return r;
  }
  Vec at(int shift) const { return {__builtin_convertvector((v >> shift) & 15, Vec::F)}; }
};

// Scales and zeros of Vec::width groups: a bfloat16 whose four low bits are the zero.
inline void load_group(const std::uint16_t* p, Vec& scale, Vec& zero) {
  Vec::U bits = {p[0], p[1], p[2], p[3]};
  const Vec::U upper = (bits >> 4) << 20;
  const Vec::I low = reinterpret_cast<Vec::I>(bits & 15U);
  scale.v = reinterpret_cast<Vec::F>(upper);
  zero.v = __builtin_convertvector(low, Vec::F);
}

// Values that are bfloat16 already, as pairs: the inverse of Vec::load_pairs.
inline void store_pairs(Vec even, Vec odd, std::uint16_t* p) {
  const Vec::U bits = (reinterpret_cast<Vec::U>(even.v) >> 16) | reinterpret_cast<Vec::U>(odd.v);
  std::memcpy(p, &bits, sizeof bits);
}

// Rounds to the nearest whole number (even of two), |x| <= 127.
inline void store_bytes(Vec x, std::int8_t* p) {
  const Vec::I whole = __builtin_convertvector(Vec::round(x).v, Vec::I);
  for (int i = 0; i < Vec::width; ++i) p[i] = static_cast<std::int8_t>(whole[i]);
}

}  // namespace
}  // namespace seatrial
