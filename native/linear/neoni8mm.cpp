// int8 panels with smmla, 32 products an instruction, for two rows and more; one row has nothing to pair with.
#include "seatrial/kernels.h"
#include "simd/vec_neon.h"
#include "simd/gemm_f32.h"
#include "simd/math.h"
#include "linear/finish.h"
#include "linear/neon_dot_body.h"
#include "linear/neon_int8.h"

namespace seatrial {
namespace {

void block(const LinearCall& call, i64 row0, i64 row1, i64 panel0, i64 panel1) {
  for (i64 p = panel0; p < panel1; ++p) {
    const Int8Panel panel{call, p};
    i64 row = row0;
    for (; row + 6 <= row1; row += 6)
      matrix_rows<Int8, 3>(panel.weights(), panel.row(row), panel.words(), panel.finisher(row));
    for (; row + 2 <= row1; row += 2)
      matrix_rows<Int8, 1>(panel.weights(), panel.row(row), panel.words(), panel.finisher(row));
    if (row < row1) dot_rows<Int8, 1, 2>(panel.weights(), panel.row(row), panel.words(), panel.finisher(row));
  }
}

}  // namespace

LinearBlock int8_neoni8mm() { return block; }

}  // namespace seatrial
