// How rows of many sequences run over pages of keys and values.
//
// A segment is a run of pages and the rows that see it: pages that neighbours share, for all of them together, then
// for each sequence the pages that it has alone.  Work on a segment is cut by group, by blocks of rows and, when
// there are few, by pages; what each piece finds (maximum, sum, outputs) is merged at the end.
#include "seatrial/paged.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "seatrial/memory.h"
#include "seatrial/threads.h"

namespace seatrial {
namespace {

constexpr i64 kLeastPages = 2;   // of a piece
constexpr i64 kRowsPerTask = 8;  // of rotating and of merging
constexpr i64 kMostBlock = 64;   // rows that any kernel takes at a time

i64 ceil_div(i64 a, i64 b) { return (a + b - 1) / b; }

const AttentionKernels& kernels_of(const KernelTable& table, bool bf16) {
  return bf16 && table.attention_bf16 != nullptr ? *table.attention_bf16 : table.attention;
}

AttentionCall page_shape(i64 D, bool bf16) {
  AttentionCall shape{};
  shape.T = kPageKeys;
  shape.D = D;
  shape.bf16 = bf16;
  return shape;
}

i64 bytes_of(const AttentionKernels& kernels, i64 D, bool bf16, bool int8_pages) {
  const i64 packed = kernels.packed_bytes(page_shape(D, bf16));
  return int8_pages ? kInt8PageScales + packed / kernels.value_bytes : packed;
}

struct Segment {
  i64 row0, rows;           // of the call
  i64 sequence0;            // the first sequence, whose table is read
  i64 page0, pages;
  i64 pieces = 1;           // the run of pages is cut into
  i64 blocks = 1;           // the rows of a group are cut into
  i64 task0 = 0;            // number of its first task
  i64 state0 = 0;           // where its states begin, in rows
};

struct Plan {
  std::vector<Segment> segments;
  std::vector<i64> positions;     // of each row: how many keys it sees
  std::vector<i64> shared, own;   // of each row: its segments, -1 for none
  i64 tasks = 0;
  i64 states = 0;                 // rows of state
};

// How many whole pages the sequences `one` and `other` begin with in common.
i64 pages_in_common(const PagedCall& c, i64 one, i64 other, i64 most) {
  const std::int32_t* a = c.tables + one * c.table_stride;
  const std::int32_t* b = c.tables + other * c.table_stride;
  i64 j = 0;
  while (j < most && a[j] == b[j]) ++j;
  return j;
}

void add(Plan& plan, Segment segment, const PagedCall& c, i64 query_block) {
  const i64 heads = c.H / c.G;
  segment.blocks = ceil_div(segment.rows * heads, query_block);
  const i64 tasks = c.G * segment.blocks;
  const i64 wanted = ceil_div(i64{3} * thread_count(), tasks);
  segment.pieces = std::clamp<i64>(std::min(wanted, segment.pages / kLeastPages), 1, segment.pages);
  segment.task0 = plan.tasks;
  segment.state0 = plan.states;
  plan.tasks += tasks * segment.pieces;
  plan.states += segment.pieces * segment.rows * c.H;
  plan.segments.push_back(segment);
}

Plan make_plan(const PagedCall& c, i64 query_block) {
  Plan plan;
  plan.positions.resize(static_cast<std::size_t>(c.R));
  plan.shared.assign(static_cast<std::size_t>(c.R), -1);
  plan.own.resize(static_cast<std::size_t>(c.R));
  i64 row = 0;
  for (i64 first = 0; first < c.sequences;) {
    i64 end = first + 1;
    i64 common = c.lengths[first] / kPageKeys;
    for (; end < c.sequences; ++end) {
      const i64 shared = pages_in_common(c, first, end, std::min(common, c.lengths[end] / kPageKeys));
      if (shared == 0) break;
      common = shared;
    }
    if (end == first + 1) common = 0;
    const i64 row0 = row;
    for (i64 n = first; n < end; ++n) {
      const i64 count = c.counts[n];
      for (i64 i = 0; i < count; ++i) {
        plan.positions[static_cast<std::size_t>(row + i)] = c.lengths[n] + i + 1;
        plan.own[static_cast<std::size_t>(row + i)] = static_cast<i64>(plan.segments.size());
      }
      const i64 pages = ceil_div(c.lengths[n] + count, kPageKeys);
      if (count > 0) add(plan, {row, count, n, common, pages - common}, c, query_block);
      row += count;
    }
    if (common > 0) {
      for (i64 i = row0; i < row; ++i) plan.shared[static_cast<std::size_t>(i)] = static_cast<i64>(plan.segments.size());
      add(plan, {row0, row - row0, first, 0, common}, c, query_block);
    }
    first = end;
  }
  return plan;
}

void rotate(const float* x, i64 half, const float* cos, const float* sin, float* y) {
  for (i64 i = 0; i < half; ++i) {
    y[i] = x[i] * cos[i] - x[half + i] * sin[i];
    y[half + i] = x[half + i] * cos[i] + x[i] * sin[i];
  }
}

// Kernels multiply all positions of a page, those that no row sees by zero; and zero times what an earlier sequence
// may have left there, NaN or infinity, is NaN.  So pages begin as zeros.
void clear_new_pages(const PagedCall& c, const AttentionKernels& kernels) {
  const auto bytes = static_cast<std::size_t>(bytes_of(kernels, c.D, c.bf16, c.int8_pages));
  parallel_for(c.sequences, [&](i64 n) {
    const i64 end = ceil_div(c.lengths[n] + c.counts[n], kPageKeys);
    for (i64 j = ceil_div(c.lengths[n], kPageKeys); j < end; ++j)
      for (i64 g = 0; g < c.G; ++g)
        std::memset(c.pool + c.tables[n * c.table_stride + j] * c.page_stride + g * c.group_stride, 0, bytes);
  });
}

// Rotated queries go to `turned` [R, H, D]; keys and values into their pages.
void enter_rows(const PagedCall& c, const AttentionKernels& kernels, const Plan& plan, float* turned) {
  const AttentionCall shape = page_shape(c.D, c.bf16);
  parallel_for(ceil_div(c.R, kRowsPerTask), [&](i64 task) {
    auto* k = static_cast<float*>(task_scratch(static_cast<std::size_t>(c.D) * sizeof(float)));
    for (i64 row = task * kRowsPerTask; row < std::min(c.R, (task + 1) * kRowsPerTask); ++row) {
      const float* cos = c.cos + row * (c.D / 2);
      const float* sin = c.sin + row * (c.D / 2);
      for (i64 h = 0; h < c.H; ++h)
        rotate(c.q + row * c.q_stride + h * c.D, c.D / 2, cos, sin, turned + (row * c.H + h) * c.D);
      const i64 position = plan.positions[static_cast<std::size_t>(row)] - 1;
      const Segment& segment = plan.segments[static_cast<std::size_t>(plan.own[static_cast<std::size_t>(row)])];
      char* page = c.pool + c.tables[segment.sequence0 * c.table_stride + position / kPageKeys] * c.page_stride;
      for (i64 g = 0; g < c.G; ++g) {
        rotate(c.k + row * c.k_stride + g * c.D, c.D / 2, cos, sin, k);
        (c.int8_pages ? kernels.put_int8 : kernels.put)(shape, position % kPageKeys, k, c.v + row * c.v_stride + g * c.D,
                                                        page + g * c.group_stride);
      }
    }
  });
}

// One block of rows of one group over one piece of a segment.
void run_piece(const PagedCall& c, const AttentionKernels& kernels, const Plan& plan, const Segment& s, i64 task,
               const float* turned, float* states) {
  const i64 heads = c.H / c.G;
  const i64 piece = task % s.pieces;
  const i64 g = task / s.pieces % c.G;
  const i64 block = task / s.pieces / c.G;
  const i64 size = ceil_div(s.rows * heads, s.blocks);
  const i64 first = block * size;
  const i64 rows = std::min(size, s.rows * heads - first);
  const i64 length = ceil_div(s.pages, s.pieces);
  const i64 page0 = std::min(piece * length, s.pages);
  const float* q[kMostBlock];
  i64 visible[kMostBlock];
  i64 most = 0;
  for (i64 i = 0; i < rows; ++i) {
    const i64 row = s.row0 + (first + i) / heads;
    q[i] = turned + (row * c.H + g * heads + (first + i) % heads) * c.D;
    visible[i] = plan.positions[static_cast<std::size_t>(row)] - (s.page0 + page0) * kPageKeys;
    most = std::max(most, visible[i]);
  }
  // The last rows of a prompt see the most; pages that none of these rows sees are left out.
  const i64 count = std::min({length, s.pages - page0, ceil_div(std::max<i64>(most, 0), kPageKeys)});
  float* state = states + (s.state0 + (piece * c.G + g) * s.rows * heads + first) * (c.D + 2);
  PageRows run{c.D, c.scale, c.bf16, rows, q, visible, c.pool + g * c.group_stride,
               c.tables + s.sequence0 * c.table_stride + s.page0 + page0, c.page_stride, count, state};
  const AttentionCall shape = page_shape(c.D, c.bf16);
  const i64 bytes = kernels.scratch_bytes(shape);
  if (!c.int8_pages) return kernels.pages(run, task_scratch(static_cast<std::size_t>(bytes)));
  const i64 opened = kernels.packed_bytes(shape);
  auto* scratch = static_cast<char*>(task_scratch(static_cast<std::size_t>(bytes + count * (opened + 4))));
  auto* table = reinterpret_cast<std::int32_t*>(scratch + bytes + count * opened);
  for (i64 j = 0; j < count; ++j) {
    kernels.open_int8(shape, run.page(j), scratch + bytes + j * opened);
    table[j] = static_cast<std::int32_t>(j);
  }
  run.pages = scratch + bytes;
  run.table = table;
  run.page_stride = opened;
  kernels.pages(run, scratch);
}

// The states of one row and head, over all pieces of its segments, as one row of outputs.
void merge(const PagedCall& c, const Plan& plan, const float* states, i64 row, i64 h) {
  const i64 heads = c.H / c.G;
  const auto each_part = [&](const auto& body) {
    for (const i64 number : {plan.own[static_cast<std::size_t>(row)], plan.shared[static_cast<std::size_t>(row)]}) {
      if (number < 0) continue;
      const Segment& s = plan.segments[static_cast<std::size_t>(number)];
      for (i64 piece = 0; piece < s.pieces; ++piece)
        body(states + (s.state0 + (piece * c.G + h / heads) * s.rows * heads + (row - s.row0) * heads + h % heads) *
                          (c.D + 2));
    }
  };
  float top = -std::numeric_limits<float>::infinity();
  each_part([&](const float* part) {
    if (part[0] > top || std::isnan(part[0])) top = part[0];
  });
  if (top == -std::numeric_limits<float>::infinity()) top = 0.0F;
  float* out = c.out + (row * c.H + h) * c.D;
  std::fill(out, out + c.D, 0.0F);
  float sum = 0.0F;
  each_part([&](const float* part) {
    const float factor = std::exp(part[0] - top);
    sum += part[1] * factor;
    for (i64 i = 0; i < c.D; ++i) out[i] += part[2 + i] * factor;
  });
  const float inverse = 1.0F / sum;
  for (i64 i = 0; i < c.D; ++i) out[i] *= inverse;
}

}  // namespace

i64 page_bytes(Level level, i64 D, bool bf16, bool int8_pages) {
  return bytes_of(kernels_of(kernel_table(level), bf16), D, bf16, int8_pages);
}

void run_paged(Level level, const PagedCall& c) {
  if (c.R == 0) return;
  const AttentionKernels& kernels = kernels_of(kernel_table(level), c.bf16);
  const Plan plan = make_plan(c, std::min(kernels.query_block, kMostBlock));
  auto* turned = static_cast<float*>(
      call_scratch(static_cast<std::size_t>(c.R * c.H * c.D + plan.states * (c.D + 2)) * sizeof(float)));
  float* states = turned + c.R * c.H * c.D;
  clear_new_pages(c, kernels);
  enter_rows(c, kernels, plan, turned);
  parallel_for(plan.tasks, [&](i64 number) {
    const i64 task = plan.tasks - 1 - number;  // the last rows of a prompt see the most keys: begin with them
    const auto after = std::upper_bound(plan.segments.begin(), plan.segments.end(), task,
                                        [](i64 value, const Segment& s) { return value < s.task0; });
    const Segment& s = *(after - 1);
    run_piece(c, kernels, plan, s, task - s.task0, turned, states);
  });
  parallel_for(ceil_div(c.R, kRowsPerTask), [&](i64 task) {
    for (i64 row = task * kRowsPerTask; row < std::min(c.R, (task + 1) * kRowsPerTask); ++row)
      for (i64 h = 0; h < c.H; ++h) merge(c, plan, states, row, h);
  });
}

}  // namespace seatrial
