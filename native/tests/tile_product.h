// One product of three tiles, by the instructions or by their emulation.
#pragma once

namespace seatrial::check {

struct TileShape {
  int rows, columns, words;  // of sums; 32-bit words of K
};

// sums [rows, columns] += a [rows, words] @ b [words, columns], words being two bfloat16 or four int8.
void tile_product(bool int8, TileShape shape, const void* a, const void* b, void* sums);
void tile_use_without_configuration();  // a fault

}  // namespace seatrial::check
