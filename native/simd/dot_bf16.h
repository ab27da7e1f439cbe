// vdpbf16ps for the register block of dot_avx512.h.
#pragma once

#include "simd/dot_avx512.h"

namespace seatrial {
namespace {

struct Bf16Dot {
  [[gnu::always_inline]] static __m512i add(__m512i sums, __m512i w, __m512i x) {
    return _mm512_castps_si512(_mm512_dpbf16_ps(_mm512_castsi512_ps(sums), reinterpret_cast<__m512bh>(w),
                                                reinterpret_cast<__m512bh>(x)));
  }
};

}  // namespace
}  // namespace seatrial
