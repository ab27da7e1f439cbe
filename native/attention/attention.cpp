// Threads and scratch of attention: few queries take the decode kernel with keys split over the threads,
// many take the blocked one.
#include "seatrial/attention.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "seatrial/memory.h"
#include "seatrial/threads.h"

namespace seatrial {
namespace {

constexpr i64 kPackedAtOnce = i64{24} << 20;  // bytes of packed keys and values held at a time
constexpr i64 kDecodeSplit = 128;             // keys per task at least
constexpr i64 kDecodeScores = 64;             // as in decode_body.h
constexpr i64 kBf16From = 16;                 // queries

i64 ceil_div(i64 a, i64 b) { return (a + b - 1) / b; }
i64 up(i64 a, i64 b) { return ceil_div(a, b) * b; }

void run_blocked(const AttentionKernels& kernels, const AttentionCall& call) {
  const i64 pairs = call.B * call.G;
  const i64 bytes = up(kernels.packed_bytes(call), 64);
  const i64 at_once = std::clamp<i64>(kPackedAtOnce / bytes, 1, pairs);
  const i64 key_range = up(256, kernels.key_multiple);
  const i64 key_ranges = ceil_div(call.T, key_range);
  const i64 query_blocks = ceil_div(call.S, kernels.query_block);
  const i64 heads = call.heads_per_group();
  char* packed = static_cast<char*>(call_scratch(static_cast<std::size_t>(bytes * at_once)));
  for (i64 first = 0; first < pairs; first += at_once) {
    const i64 count = std::min(at_once, pairs - first);
    parallel_for(count * key_ranges, [&](i64 task) {
      const i64 pair = first + task / key_ranges;
      const i64 key = task % key_ranges * key_range;
      kernels.pack(call, pair / call.G, pair % call.G, key, std::min(call.T, key + key_range),
                   packed + (pair - first) * bytes);
    });
    parallel_for(count * heads * query_blocks, [&](i64 task) {
      const i64 pair = first + task / (heads * query_blocks);
      const i64 head = pair % call.G * heads + task / query_blocks % heads;
      // The last queries see the most keys: begin with them.
      const i64 row = (query_blocks - 1 - task % query_blocks) * kernels.query_block;
      void* scratch = task_scratch(static_cast<std::size_t>(kernels.scratch_bytes(call)));
      kernels.block(call, pair / call.G, head, row, std::min(call.S, row + kernels.query_block),
                    packed + (pair - first) * bytes, scratch);
    });
  }
}

// Adds the parts of one row (each: maximum, sum, D values) and divides.
void merge_row(const float* parts, i64 count, i64 stride, i64 d, float* out) {
  float top = -std::numeric_limits<float>::infinity();
  for (i64 p = 0; p < count; ++p)
    if (parts[p * stride] > top || std::isnan(parts[p * stride])) top = parts[p * stride];
  if (top == -std::numeric_limits<float>::infinity()) top = 0.0F;
  float sum = 0.0F;
  std::fill(out, out + d, 0.0F);
  for (i64 p = 0; p < count; ++p) {
    const float* part = parts + p * stride;
    const float factor = std::exp(part[0] - top);
    sum += part[1] * factor;
    for (i64 i = 0; i < d; ++i) out[i] += part[2 + i] * factor;
  }
  for (i64 i = 0; i < d; ++i) out[i] /= sum;
}

void run_decode(const DecodeKernels& kernels, const AttentionCall& call) {
  const i64 pairs = call.B * call.G;
  const i64 heads = call.heads_per_group();
  const i64 rows = call.S * heads;
  const i64 most = std::max<i64>(1, ceil_div(3 * thread_count(), pairs));
  const i64 keys = std::max(kDecodeSplit, up(ceil_div(call.T, most), kDecodeScores));
  const i64 splits = ceil_div(call.T, keys);
  const i64 state = rows * (call.D + 2);
  const auto scratch = static_cast<std::size_t>(rows * (call.D + kDecodeScores) + call.D) * sizeof(float);
  auto* states = static_cast<float*>(call_scratch(static_cast<std::size_t>(pairs * splits * state) * 4));
  parallel_for(pairs * splits, [&](i64 task) {
    const i64 pair = task / splits;
    const i64 key = task % splits * keys;
    kernels.partial(call, pair / call.G, pair % call.G, key, std::min(call.T, key + keys), states + task * state,
                    static_cast<float*>(task_scratch(scratch)));
  });
  for (i64 pair = 0; pair < pairs; ++pair)
    for (i64 r = 0; r < rows; ++r) {
      const i64 head = pair % call.G * heads + r % heads;
      float* out = call.out + ((pair / call.G * call.S + r / heads) * call.H + head) * call.D;
      merge_row(states + pair * splits * state + r * (call.D + 2), splits, state, call.D, out);
    }
}

}  // namespace

void run_attention(Level level, const AttentionCall& call) {
  if (call.B == 0 || call.S == 0 || call.H == 0 || call.D == 0) return;
  const KernelTable& table = kernel_table(level);
  if (call.S * call.heads_per_group() <= table.decode.max_rows)
    run_decode(table.decode, call);
  else if (call.bf16 && table.attention_bf16 != nullptr && call.S >= kBf16From)
    run_blocked(*table.attention_bf16, call);
  else
    run_blocked(table.attention, call);
}

}  // namespace seatrial
