// Compiled for AMX, as simd/amx.h is; nothing of the standard library here (see the rules in native/README.md).
#include "tests/tile_product.h"

#include <cstdint>

#include "simd/amx.h"

namespace seatrial::check {
namespace {

void set_tile(std::uint8_t* config, int tile, int rows, int bytes) {
  config[16 + 2 * tile] = static_cast<std::uint8_t>(bytes);
  config[48 + tile] = static_cast<std::uint8_t>(rows);
}

}  // namespace

void tile_product(bool int8, TileShape shape, const void* a, const void* b, void* sums) {
  alignas(64) std::uint8_t config[64] = {};
  config[0] = 1;
  set_tile(config, 0, shape.rows, 4 * shape.columns);
  set_tile(config, 4, shape.rows, 4 * shape.words);
  set_tile(config, 6, shape.words, 4 * shape.columns);
  __asm__ volatile("" : : "r"(config) : "memory");
  _tile_loadconfig(config);
  memory_fence();
  _tile_loadd(0, sums, 4 * shape.columns);
  _tile_loadd(4, a, 4 * shape.words);
  _tile_loadd(6, b, 4 * shape.columns);
  if (int8)
    _tile_dpbssd(0, 4, 6);
  else
    _tile_dpbf16ps(0, 4, 6);
  _tile_stored(0, sums, 4 * shape.columns);
  memory_fence();
  _tile_release();
}

void tile_use_without_configuration() {
  float values[256] = {};
  _tile_release();
  _tile_loadd(0, values, 64);
}

}  // namespace seatrial::check
