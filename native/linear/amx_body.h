// Linear on the tile unit for one format of operands; include after vec_avx512.h, amx.h, math.h, finish.h.
//
// A task owns some rows.  It brings them into tiles once (they then stay in L2) and lets the panels stream
// through: a slice of two panels (kStepsPerSlice steps of K) stays in L1 while all rows run over it, and sums
// wait in scratch between slices.  The tile unit needs 64 cycles for a step of four products; bias, activation
// and store of the previous group of columns are spread over these steps.  A group is 64 columns, since
// memory takes 256 bytes of a row faster than 128.
//
// Operands are counted in pairs of bytes: one bfloat16 or two int8.  A step is 64 bytes of K in either format.
// Sums are 32 bits wide, so a tile of whole numbers moves as if it were one of floats.
//
// A Format has: static Product product; enter(call, row0, row1, tiles, scales), which fills the tiles; weights(call),
// where panel 0 would be; and finish(call, row, column, sums, row scale) for 16 sums.
#pragma once

namespace seatrial {
namespace {

constexpr i64 kBlock = 32;         // rows and columns of a block of sums
constexpr i64 kStepsPerSlice = 8;  // 16 KiB of weights; measured best of 8, 12, 24
constexpr i64 kGroup = 2;          // blocks of columns that are finished together

// The sums of a group of columns for all rows of the task, waiting to be finished, a Vec at a time.
struct Finisher {
  const float* sums = nullptr;  // [kGroup][padded rows][32]
  const float* scales = nullptr;
  i64 padded_rows = 0;
  i64 column = 0;
  i64 vecs = 0;  // per row
  i64 row = 0;
  i64 row0 = 0;
  i64 row1 = 0;
  i64 vec = 0;

  template <typename Format>
  [[gnu::always_inline]] void run(const LinearCall& call, i64 count) {
    for (; count > 0 && row < row1; --count) {
      const float* from = sums + ((vec / 2) * padded_rows + row - row0) * kBlock + vec % 2 * 16;
      Format::finish(call, row, column + vec * 16, from, scales[row - row0]);
      if (++vec == vecs) {
        vec = 0;
        ++row;
      }
    }
  }
};

// Weights that the next columns need, brought into L2 a few lines per step.
struct Ahead {
  const char* next = nullptr;
  const char* end = nullptr;

  [[gnu::always_inline]] void fetch() {
    if (next >= end) return;
#pragma GCC unroll 8
    for (int line = 0; line < 8; ++line) _mm_prefetch(next + line * 64, _MM_HINT_T1);
    next += 512;
  }
};

template <typename Format>
struct Walk {
  const LinearCall& call;
  const std::uint16_t* a;  // the task's rows as tiles
  const std::uint16_t* b;  // panels
  i64 pairs;               // of bytes in a row
  i64 rows;
  i64 vecs_per_step;
  Finisher finisher;
  Ahead ahead;

  // One block of 16 MT rows x 16 NT columns over one slice of K; `row` counts from the task's first.
  template <int MT, int NT>
  void block(i64 row, i64 panel, i64 step, i64 steps, float* sums) {
    const i64 tile_row = 16 * pairs;
    const std::uint16_t* from = a + row * pairs + step * kTileElements;
    const std::uint16_t* w = b + panel * tile_row + step * kTileElements;
    if (step == 0)
      clear_sums<MT, NT>();
    else
      load_sums<MT, NT>(sums, kBlock);
    multiply<MT, NT, Format::product>(from, from + tile_row, 64, kTileElements, w, w + tile_row, steps, [&] {
      ahead.fetch();
      finisher.template run<Format>(call, vecs_per_step);
    });
    store_sums<MT, NT>(sums, kBlock);
  }

  template <int NT>
  void columns(i64 panel, float* sums) {
    const i64 all = pairs / 32;
    for (i64 step = 0; step < all; step += kStepsPerSlice) {
      const i64 steps = all - step < kStepsPerSlice ? all - step : kStepsPerSlice;
      i64 row = 0;
      for (; row + 16 < rows; row += kBlock) block<2, NT>(row, panel, step, steps, sums + row * kBlock);
      if (row < rows) block<1, NT>(row, panel, step, steps, sums + row * kBlock);
    }
  }
};

template <typename Format>
void tiles_block(const LinearCall& call, i64 row0, i64 row1, i64 panel0, i64 panel1) {
  const i64 pairs = Format::pairs(call.k_padded);
  const i64 padded = (row1 - row0 + kBlock - 1) / kBlock * kBlock;
  const i64 group_sums = kGroup * padded * kBlock;
  const i64 bytes = 2 * group_sums * 4 + padded * 4 + padded * pairs * 2;
  auto* sums = static_cast<float*>(task_scratch(static_cast<std::size_t>(bytes)));
  float* scales = sums + 2 * group_sums;
  auto* a = reinterpret_cast<std::uint16_t*>(scales + padded);
  Format::enter(call, row0, row1, a, scales);
  const Tiles tiles;
  const i64 steps = pairs / 32;
  Walk<Format> walk{call, a, Format::weights(call), pairs, row1 - row0, (2 * kBlock + steps - 1) / steps, {}, {}};
  const i64 panel_bytes = kBf16Panel * pairs * 2;
  const char* weights = reinterpret_cast<const char*>(walk.b);
  memory_fence();
  for (i64 group = panel0; group < panel1; group += 2 * kGroup) {
    const i64 end = group + 2 * kGroup < panel1 ? group + 2 * kGroup : panel1;
    for (i64 p = group; p < end; p += 2) {
      const i64 from = p + 2 < panel1 ? p + 2 : panel1;
      const i64 to = p + 4 < panel1 ? p + 4 : panel1;
      walk.ahead = {weights + from * panel_bytes, weights + to * panel_bytes};
      float* out = sums + (p - group) / 2 * padded * kBlock;
      if (p + 1 < panel1)
        walk.template columns<2>(p, out);
      else
        walk.template columns<1>(p, out);
    }
    walk.finisher.template run<Format>(call, padded * 2 * kBlock);
    walk.finisher = {sums, scales, padded, group * kBf16Panel, end - group, row0, row0, row1, 0};
    sums += (group - panel0) / (2 * kGroup) % 2 == 0 ? group_sums : -group_sums;
  }
  walk.finisher.template run<Format>(call, padded * 2 * kBlock);
}

}  // namespace
}  // namespace seatrial
