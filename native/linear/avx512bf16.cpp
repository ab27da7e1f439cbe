// bf16 panels with vdpbf16ps: one 64-byte load of weights feeds 32 products per row.  This is the decode
// kernel (one to eight rows, bound by memory) and, without AMX, the one for many rows too.
#include "seatrial/kernels.h"
#include "simd/vec_avx512.h"
#include "simd/dot_bf16.h"
#include "simd/math.h"
#include "linear/finish.h"
#include "linear/dot_body.h"

namespace seatrial {
namespace {

struct Bf16Rows {
  using Dot = Bf16Dot;
  static i64 row_bytes(const LinearCall& call) { return call.k_padded * 2; }
  static const char* row(const LinearCall& call, i64 row) {
    return reinterpret_cast<const char*>(call.a_bits + row * call.k_padded);
  }
  static const char* panel(const LinearCall& call, i64 p) {
    return reinterpret_cast<const char*>(call.w_bf16 + (p - call.w_bf16_first) * call.k_padded * kBf16Panel);
  }
  static constexpr Begin from = Begin::from_zero;
  static const std::int32_t* first(const LinearCall&, i64) { return nullptr; }
  static void finish_sums(const LinearCall& call, i64 row, i64 p, __m512i sums) {
    finish(call, row, p * kBf16Panel, {_mm512_castsi512_ps(sums)});
  }
};

}  // namespace

LinearBlock linear_avx512bf16() { return dot_rows<Bf16Rows>; }

}  // namespace seatrial
