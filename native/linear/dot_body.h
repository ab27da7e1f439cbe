// Linear over an instruction that takes four bytes of K at a time; include after dot_avx512.h and finish.h.
//
// Many rows: blocks of 12 rows and two panels, where every load feeds two products.  A few rows: more panels, so
// that there are sums enough to hide the instruction's latency.
//
// A Format has: Dot; row_bytes(call); row(call, number) and panel(call, number), where they begin; from and
// first(call, panel), what sums begin with; finish_sums(call, row, panel, sums).
#pragma once

namespace seatrial {
namespace {

template <typename Format, int MR, int NT>
void dot_panels(const LinearCall& call, i64 row, i64 p) {
  const void* panels[NT];
  for (int c = 0; c < NT; ++c) panels[c] = Format::panel(call, p + c);
  alignas(64) float sums[MR * NT * 16];
  const i64 bytes = Format::row_bytes(call);
  dot_block<typename Format::Dot, MR, NT, Format::from>(Format::row(call, row), bytes, panels, bytes / 4,
                                                        Format::first(call, p), sums, NT * 16);
  for (int r = 0; r < MR; ++r)
    for (int c = 0; c < NT; ++c) Format::finish_sums(call, row + r, p + c, _mm512_load_si512(sums + (r * NT + c) * 16));
}

// All panels of some rows, NT at a time.
template <typename Format, int MR, int NT>
void dot_range(const LinearCall& call, i64 row, i64 panel0, i64 panel1) {
  i64 p = panel0;
  for (; p + NT <= panel1; p += NT) dot_panels<Format, MR, NT>(call, row, p);
  for (; p < panel1; ++p) dot_panels<Format, MR, 1>(call, row, p);
}

template <typename Format>
void dot_rows(const LinearCall& call, i64 row0, i64 row1, i64 panel0, i64 panel1) {
  const i64 blocked = row0 + (row1 - row0) / kBlockRows * kBlockRows;
  for (i64 p = panel0; p < panel1; p += 2)  // panels stay in L1 while the rows run over them
    for (i64 row = row0; row < blocked; row += kBlockRows)
      dot_range<Format, kBlockRows, 2>(call, row, p, p + 2 < panel1 ? p + 2 : panel1);
  i64 row = blocked;
  if (row + 8 <= row1) dot_range<Format, 8, 2>(call, row, panel0, panel1), row += 8;
  if (row + 4 <= row1) dot_range<Format, 4, 2>(call, row, panel0, panel1), row += 4;
  if (row + 2 <= row1) dot_range<Format, 2, 4>(call, row, panel0, panel1), row += 2;
  if (row < row1) dot_range<Format, 1, 4>(call, row, panel0, panel1);
}

}  // namespace
}  // namespace seatrial
