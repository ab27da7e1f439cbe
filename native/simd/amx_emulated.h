// The tile unit in software, for the test program only: amx.h includes this where SEATRIAL_EMULATED_TILES is
// defined, and the intrinsics that it uses then mean the functions below.  So the kernels run on machines without
// AMX, and sanitizers see every byte that a tile reads or writes, which they do not when the processor does it.
//
// Written from Intel's Software Developer's Manual (TILELOADD, TDPBF16PS, ...).  What the processor would refuse
// with a fault ends the program here.  One thing cannot be seen: the real intrinsics do not tell the compiler that
// they read memory, so a missing memory_fence() shows only with them.
#pragma once

#include <cstdio>
#include <cstring>

namespace seatrial {
namespace {

[[noreturn, gnu::noinline]] void tile_fault(const char* instruction, const char* why) {
  std::fprintf(stderr, "tile unit: %s: %s\n", instruction, why);
  std::fflush(stderr);
  __builtin_trap();
}

struct EmulatedTile {
  int rows = 0;
  int row_bytes = 0;
  alignas(64) std::uint8_t row[16][64] = {};
};

class EmulatedTiles {
 public:
  void configure(const void* memory) {
    std::uint8_t config[64];
    std::memcpy(config, memory, sizeof config);
    if (config[0] != 1) tile_fault("ldtilecfg", "the palette is not 1");
    for (int i = 1; i < 64; ++i)  // start_row too: no kernel resumes
      if (config[i] != 0 && (i < 16 || (i >= 32 && i < 48) || i >= 56))
        tile_fault("ldtilecfg", "a reserved byte is set");
    for (int t = 0; t < 8; ++t) {
      EmulatedTile& tile = tiles_[t];
      tile = EmulatedTile{};
      tile.row_bytes = config[16 + 2 * t] | config[17 + 2 * t] << 8;
      tile.rows = config[48 + t];
      if (tile.row_bytes > 64 || tile.rows > 16) tile_fault("ldtilecfg", "a tile is too large");
      if ((tile.row_bytes == 0) != (tile.rows == 0)) tile_fault("ldtilecfg", "a tile has rows or bytes but not both");
    }
    configured_ = true;
  }

  void release() {
    for (EmulatedTile& tile : tiles_) tile = EmulatedTile{};
    configured_ = false;
  }

  void zero(int t) { std::memset(used(t, "tilezero").row, 0, sizeof(EmulatedTile::row)); }

  void load(int t, const void* base, long stride) {
    EmulatedTile& tile = used(t, "tileloadd");
    std::memset(tile.row, 0, sizeof tile.row);
    for (int r = 0; r < tile.rows; ++r)
      std::memcpy(tile.row[r], static_cast<const char*>(base) + r * stride, static_cast<std::size_t>(tile.row_bytes));
  }

  void store(int t, void* base, long stride) {
    const EmulatedTile& tile = used(t, "tilestored");
    for (int r = 0; r < tile.rows; ++r)
      std::memcpy(static_cast<char*>(base) + r * stride, tile.row[r], static_cast<std::size_t>(tile.row_bytes));
  }

  void multiply_int8(int sums, int a, int b) {
    const Operands o = operands(sums, a, b, "tdpbssd");
    for (int r = 0; r < o.sums.rows; ++r)
      for (int k = 0; k < o.a.row_bytes / 4; ++k)
        for (int c = 0; c < o.sums.row_bytes / 4; ++c) {
          std::uint32_t sum = 0;
          std::memcpy(&sum, o.sums.row[r] + 4 * c, 4);
          for (int i = 0; i < 4; ++i)  // sums wrap around
            sum += static_cast<std::uint32_t>(static_cast<std::int8_t>(o.a.row[r][4 * k + i]) *
                                              static_cast<std::int8_t>(o.b.row[k][4 * c + i]));
          std::memcpy(o.sums.row[r] + 4 * c, &sum, 4);
        }
    clear_rest(o.sums);
  }

  // Numbers below 1.2e-38 count as zero and become zero, sums round to nearest, whatever the thread has set.
  void multiply_bf16(int sums, int a, int b) {
    const Operands o = operands(sums, a, b, "tdpbf16ps");
    constexpr unsigned kFlushAndDenormalsAreZero = 0x9FC0;  // and no traps, nearest
    const unsigned before = _mm_getcsr();
    _mm_setcsr(kFlushAndDenormalsAreZero);
    for (int r = 0; r < o.sums.rows; ++r) row_bf16(o.sums.row[r], o.a.row[r], o.b, o.a.row_bytes / 4);
    _mm_setcsr(before);
    clear_rest(o.sums);
  }

 private:
  struct Operands {
    EmulatedTile& sums;
    const EmulatedTile& a;
    const EmulatedTile& b;
  };

  EmulatedTile& used(int t, const char* instruction) {
    if (!configured_) tile_fault(instruction, "the tiles are not configured");
    if (tiles_[t].rows == 0) tile_fault(instruction, "the tile is empty");
    return tiles_[t];
  }

  Operands operands(int sums, int a, int b, const char* instruction) {
    const Operands o = {used(sums, instruction), used(a, instruction), used(b, instruction)};
    if (sums == a || a == b || sums == b) tile_fault(instruction, "the tiles are not three");
    if (o.sums.row_bytes % 4 != 0 || o.a.row_bytes % 4 != 0) tile_fault(instruction, "a row is not whole words");
    if (o.sums.row_bytes != o.b.row_bytes || o.sums.rows != o.a.rows || o.a.row_bytes / 4 != o.b.rows)
      tile_fault(instruction, "the shapes do not fit");
    return o;
  }

  // What lies beyond the configured shape is zero after every write.
  static void clear_rest(EmulatedTile& tile) {
    for (int r = 0; r < 16; ++r) {
      const int from = r < tile.rows ? tile.row_bytes : 0;
      std::memset(tile.row[r] + from, 0, static_cast<std::size_t>(64 - from));
    }
  }

  // First and second members of the pairs have a chain of multiply-adds each, begun at zero; their sum is added
  // to what was there.  Not inlined, so that the arithmetic stays between the two changes of rounding mode.
  [[gnu::noinline]] static void row_bf16(std::uint8_t* sums, const std::uint8_t* a, const EmulatedTile& b, int pairs) {
    __m512 first = _mm512_setzero_ps();
    __m512 second = _mm512_setzero_ps();
    for (int k = 0; k < pairs; ++k) {
      std::uint32_t pair = 0;
      std::memcpy(&pair, a + 4 * k, 4);
      const __m512i left = _mm512_set1_epi32(static_cast<int>(pair));
      const __m512i right = _mm512_load_si512(b.row[k]);
      const __m512i upper = _mm512_set1_epi32(static_cast<int>(0xFFFF0000U));
      first = _mm512_fmadd_ps(_mm512_castsi512_ps(_mm512_slli_epi32(left, 16)),
                              _mm512_castsi512_ps(_mm512_slli_epi32(right, 16)), first);
      second = _mm512_fmadd_ps(_mm512_castsi512_ps(_mm512_and_si512(left, upper)),
                               _mm512_castsi512_ps(_mm512_and_si512(right, upper)), second);
    }
    const __m512 both = _mm512_add_ps(first, second);
    _mm512_store_ps(sums, _mm512_add_ps(_mm512_load_ps(sums), both));
  }

  EmulatedTile tiles_[8] = {};
  bool configured_ = false;
};

thread_local EmulatedTiles emulated_tiles;

}  // namespace
}  // namespace seatrial

#undef _tile_loadd
#undef _tile_stored
#undef _tile_zero
#undef _tile_dpbssd
#undef _tile_dpbf16ps
#define _tile_loadconfig(memory) seatrial::emulated_tiles.configure(memory)
#define _tile_release() seatrial::emulated_tiles.release()
#define _tile_loadd(tile, base, stride) seatrial::emulated_tiles.load(tile, base, stride)
#define _tile_stored(tile, base, stride) seatrial::emulated_tiles.store(tile, base, stride)
#define _tile_zero(tile) seatrial::emulated_tiles.zero(tile)
#define _tile_dpbssd(sums, a, b) seatrial::emulated_tiles.multiply_int8(sums, a, b)
#define _tile_dpbf16ps(sums, a, b) seatrial::emulated_tiles.multiply_bf16(sums, a, b)
