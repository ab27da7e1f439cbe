// Four floats with the compiler's vector extension: SSE2 on x86-64, NEON on arm64, scalar code elsewhere.
// Everything is in an unnamed namespace, so that no file compiled for a wider set can lend its code to this one.
#pragma once

#include <cstdint>
#include <cstring>

namespace seatrial {
namespace {

using i64 = std::int64_t;

struct Vec {
  typedef float F __attribute__((vector_size(16)));
  typedef std::int32_t I __attribute__((vector_size(16)));
  typedef std::uint32_t U __attribute__((vector_size(16)));
  static constexpr int width = 4;
  static constexpr int micro_rows = 4;  // rows of the register block in gemm_f32.h
  F v;

  static Vec set(float x) { return {F{x, x, x, x}}; }
  static Vec zero() { return set(0.0F); }
  static Vec load(const float* p) {
    Vec r;
    std::memcpy(&r.v, p, sizeof r.v);
    return r;
  }
  static Vec load_n(const float* p, i64 n, float fill) {
    Vec r = set(fill);
    for (i64 i = 0; i < n; ++i) r.v[i] = p[i];
    return r;
  }
  void store(float* p) const { std::memcpy(p, &v, sizeof v); }
  // Past the caches where the set can; p aligned to the vector.
  void stream(float* p) const { std::memcpy(p, &v, sizeof v); }
  void store_n(float* p, i64 n) const {
    for (i64 i = 0; i < n; ++i) p[i] = v[i];
  }

  friend Vec operator+(Vec a, Vec b) { return {a.v + b.v}; }
  friend Vec operator-(Vec a, Vec b) { return {a.v - b.v}; }
  friend Vec operator*(Vec a, Vec b) { return {a.v * b.v}; }
  friend Vec operator/(Vec a, Vec b) { return {a.v / b.v}; }
  // a / b for b in [1, 1e38], to 3e-7.
  static Vec quotient(Vec a, Vec b) { return a / b; }
  // Of two values, the second when either is NaN (as on x86).
  static Vec max(Vec a, Vec b) { return {a.v > b.v ? a.v : b.v}; }
  static Vec min(Vec a, Vec b) { return {a.v < b.v ? a.v : b.v}; }
  static Vec fma(Vec a, Vec b, Vec c) { return {a.v * b.v + c.v}; }        // a b + c
  static Vec fnma(Vec a, Vec b, Vec c) { return {c.v - a.v * b.v}; }       // c - a b
  static Vec round(Vec a) {  // |a| < 2^22
    const Vec magic = set(12582912.0F);
    return {(a.v + magic.v) - magic.v};
  }
  // a * 2^n for integral n in [-252, 252], in two steps so that the ends become 0 and infinity.
  static Vec scale(Vec a, Vec n) {
    const I whole = __builtin_convertvector(n.v, I);
    const I half = whole >> 1;
    const I low = (half + 127) << 23;
    const I high = (whole - half + 127) << 23;
    return {a.v * reinterpret_cast<F>(low) * reinterpret_cast<F>(high)};
  }
  float sum() const { return (v[0] + v[2]) + (v[1] + v[3]); }
  float largest() const {
    float m = v[0];
    for (int i = 1; i < width; ++i) m = v[i] > m ? v[i] : m;
    return m;
  }

  // Nearest bfloat16, ties to even, NaN quiet; as float32.
  static Vec round_bf16(Vec a) {
    const U bits = reinterpret_cast<U>(a.v);
    const U rounded = (bits + 0x7FFFU + ((bits >> 16) & 1U)) & 0xFFFF0000U;
    const U quiet = U{0x7FC00000U, 0x7FC00000U, 0x7FC00000U, 0x7FC00000U};
    const U result = (a.v == a.v) ? rounded : quiet;
    return {reinterpret_cast<F>(result)};
  }
  // The bits of a value that is a bfloat16 already.
  void store_bf16(std::uint16_t* p) const {
    const U bits = reinterpret_cast<U>(v);
    for (int i = 0; i < width; ++i) p[i] = static_cast<std::uint16_t>(bits[i] >> 16);
  }
  // `width` pairs of bfloat16: first members to `even`, second to `odd`.
  static void load_pairs(const std::uint16_t* p, Vec& even, Vec& odd) {
    U bits;
    std::memcpy(&bits, p, sizeof bits);
    const U low = bits << 16;
    const U high = bits & 0xFFFF0000U;
    even.v = reinterpret_cast<F>(low);
    odd.v = reinterpret_cast<F>(high);
  }
};

}  // namespace
}  // namespace seatrial
