// The tile unit: eight tiles of 16 rows x 64 bytes.  Used as 2 x 2 sums (tiles 0-3), two tiles of A (4, 5)
// and two of B (6, 7); four loads then feed four products of 16 x 16 x 32 bfloat16 or 16 x 16 x 64 int8.
#pragma once

#include <immintrin.h>

#include <cstdint>

#ifdef SEATRIAL_EMULATED_TILES  // the test program
#include "simd/amx_emulated.h"
#endif

namespace seatrial {
namespace {

constexpr int kTileElements = 512;  // bf16 values of a tile: 16 x 32; or pairs of int8

enum class Product { bf16, int8 };

// The instructions name their tiles in the code, so these cannot be function arguments.
#define SEATRIAL_TILE_PRODUCT(sums, a, b)  \
  if constexpr (product == Product::int8)  \
    _tile_dpbssd(sums, a, b);              \
  else                                     \
    _tile_dpbf16ps(sums, a, b)

// Sets all tiles to 16 x 64 bytes (sums and A to `rows` x 64) for the life of this object; tiles are given back at
// the end, since they make every context switch dearer.
class Tiles {
 public:
  explicit Tiles(int rows = 16) {
    alignas(64) std::uint8_t config[64] = {};
    config[0] = 1;
    for (int t = 0; t < 8; ++t) {
      config[16 + 2 * t] = 64;
      config[48 + t] = static_cast<std::uint8_t>(t < 6 ? rows : 16);
    }
    __asm__ volatile("" : : "r"(config) : "memory");  // GCC's intrinsic claims to read eight bytes only
    _tile_loadconfig(config);
  }
  ~Tiles() { _tile_release(); }
  Tiles(const Tiles&) = delete;
  Tiles& operator=(const Tiles&) = delete;
};

// The intrinsics do not tell the compiler that they read memory.
[[gnu::always_inline]] inline void memory_fence() { __asm__ volatile("" ::: "memory"); }

struct NoWork {
  void operator()() const {}
};

// Adds sum over `steps` of A tiles times B tiles to tiles 0-3 (row pair, column pair).  A tiles are
// `a_stride` bytes per row and `a_step` elements from step to step; B tiles follow one another.  `between`
// runs once per step: vector work that hides behind the tile unit.
template <int MT, int NT, Product product = Product::bf16, typename Between>
[[gnu::always_inline]] inline void multiply(const std::uint16_t* a0, const std::uint16_t* a1, long a_stride,
                                            long a_step, const std::uint16_t* b0, const std::uint16_t* b1,
                                            long steps, const Between& between) {
  for (long s = 0; s < steps; ++s) {
    _tile_loadd(4, a0, a_stride);
    _tile_loadd(6, b0, 64);
    SEATRIAL_TILE_PRODUCT(0, 4, 6);
    if constexpr (NT == 2) {
      _tile_loadd(7, b1, 64);
      SEATRIAL_TILE_PRODUCT(1, 4, 7);
      b1 += kTileElements;
    }
    if constexpr (MT == 2) {
      _tile_loadd(5, a1, a_stride);
      SEATRIAL_TILE_PRODUCT(2, 5, 6);
      if constexpr (NT == 2) {
        SEATRIAL_TILE_PRODUCT(3, 5, 7);
      }
      a1 += a_step;
    }
    a0 += a_step;
    b0 += kTileElements;
    between();
  }
}

template <int MT, int NT>
[[gnu::always_inline]] inline void clear_sums() {
  _tile_zero(0);
  if constexpr (NT == 2) _tile_zero(1);
  if constexpr (MT == 2) _tile_zero(2);
  if constexpr (MT == 2 && NT == 2) _tile_zero(3);
}

// `stride` in floats.
template <int MT, int NT>
[[gnu::always_inline]] inline void store_sums(float* c, long stride) {
  _tile_stored(0, c, stride * 4);
  if constexpr (NT == 2) _tile_stored(1, c + 16, stride * 4);
  if constexpr (MT == 2) _tile_stored(2, c + 16 * stride, stride * 4);
  if constexpr (MT == 2 && NT == 2) _tile_stored(3, c + 16 * stride + 16, stride * 4);
}

template <int MT, int NT>
[[gnu::always_inline]] inline void load_sums(const float* c, long stride) {
  _tile_loadd(0, c, stride * 4);
  if constexpr (NT == 2) _tile_loadd(1, c + 16, stride * 4);
  if constexpr (MT == 2) _tile_loadd(2, c + 16 * stride, stride * 4);
  if constexpr (MT == 2 && NT == 2) _tile_loadd(3, c + 16 * stride + 16, stride * 4);
}

}  // namespace
}  // namespace seatrial
