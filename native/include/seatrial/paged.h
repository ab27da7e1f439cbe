// Attention of a decoder whose keys and values live in pages.
#pragma once

#include "seatrial/kernels.h"

namespace seatrial {

// R rows of some sequences, those of a sequence one after another.  Keys and values of page p, this layer and group
// g are at pool + p * page_stride + g * group_stride, page_bytes() of them.
struct PagedCall {
  i64 R, H, G, D;
  const float* q;  // [R, H, D], rows `q_stride` apart, not yet rotated
  const float* k;  // [R, G, D], rows `k_stride` apart, not yet rotated
  const float* v;  // [R, G, D], rows `v_stride` apart
  i64 q_stride, k_stride, v_stride;
  const float* cos;  // [R, D / 2]
  const float* sin;
  char* pool;
  i64 page_stride, group_stride;
  i64 sequences;
  const std::int32_t* tables;   // [sequences, table_stride]: pages of each, in order
  i64 table_stride;
  const std::int32_t* lengths;  // [sequences]: positions there before this call
  const std::int32_t* counts;   // [sequences]: rows of each, its next positions
  float scale;
  bool bf16;
  float* out;  // [R, H, D]
  bool int8_pages = false;
};

// Bytes of one page's keys and values for one layer and one group.
i64 page_bytes(Level level, i64 D, bool bf16, bool int8_pages = false);

// Rotates q and k, writes k and v into the pages, and attends: each row sees its sequence up to itself.  Pages that
// sequences next to each other begin with in common are read once for all of them.
void run_paged(Level level, const PagedCall& call);

}  // namespace seatrial
