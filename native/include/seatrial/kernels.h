// The interface between the drivers (threads, blocking) and the kernels (one file per instruction set).
//
// All counts are elements, all matrices are row-major, float32 unless a name says otherwise.
#pragma once

#include <cstdint>

namespace seatrial {

using i64 = std::int64_t;

// Raised whenever bindings.cpp changes in a way that the Python side must know.
inline constexpr int kAbi = 5;

// Of one architecture, each level contains the ones before it: a table for `amx` uses the avx512 kernels where AMX
// does not apply.
enum class Level : int { generic = 0, avx2 = 1, avx512 = 2, amx = 3, neon = 4 };
inline constexpr int kLevels = 5;

const char* level_name(Level level);

// ---- linear ---------------------------------------------------------------------------------------------

inline constexpr i64 kBf16Panel = 16;  // columns per bf16 panel
inline constexpr i64 kBf16KStep = 32;  // K is padded to this in bf16 panels (one AMX tile row)
inline constexpr i64 kInt8KStep = 64;  // the same in int8 panels

struct LinearCall {
  i64 m, n, k, k_padded;
  const float* x;  // [m, k], rows `ldx` apart
  i64 ldx;
  const float* w_f32;           // panels [ceil(n/panel)][k][panel]
  const std::uint16_t* w_bf16;  // panels [ceil(n/16)][k_padded/2][16][2], or a range of them from
  i64 w_bf16_first;             // this one
  const float* a_f32;           // bf16 only: x rounded, widened again, [m, k_padded]
  const std::uint16_t* a_bits;  // bf16 only: x rounded, [m, k_padded]
  const float* bias;            // padded with zeros to whole panels
  const float* residual;        // [m, n] or null
  float* y;                     // [m, n]
  bool gelu;

  // int8: k_padded is a multiple of 64.
  const std::int8_t* w_int8;     // panels [ceil(n/16)][k_padded/4][16][4]
  const float* w_scale;          // per column, padded with zeros to whole panels
  const std::int32_t* w_offset;  // per column: -128 * sum of its weights, for kernels with unsigned rows
  const std::int8_t* a_int8;     // x quantised, [m, k_padded]; unsigned where to_int8 says so
  const float* a_scale;          // [m]

  // int4: k is a multiple of the group, the group of 32; k_padded = k.
  const std::uint32_t* w_int4;    // panels [ceil(n/16)][k/8][16]: code 2i at bit 4i, code 2i + 1 at bit 16 + 4i
  const std::uint16_t* w_groups;  // [ceil(n/16)][k/group][16]: a bfloat16 scale whose four low bits are the zero
  i64 group;
  const float* a_sums;  // x rounded to bfloat16, summed over each group, [m, k/group]
};

using LinearBlock = void (*)(const LinearCall&, i64 row0, i64 row1, i64 panel0, i64 panel1);

struct LinearKernels {
  i64 f32_panel;     // columns per f32 panel
  LinearBlock f32;   // rows x panels of the product, finished with bias, activation, residual
  LinearBlock bf16;  // the same from bf16 panels
  bool bf16_takes_bits;  // bf16 reads a_bits (rows), else a_f32
  LinearBlock bf16_tiles;  // matrix unit, rounds x itself; null without one
};

struct QuantisedKernels {
  LinearBlock int8;  // from a_int8
  // Quantises rows for `int8`: to whole numbers in -127..127, or those plus 128 where the kernel multiplies
  // unsigned by signed (it then begins its sums with w_offset); zeros (128) from k to k_padded.
  void (*to_int8)(const float* x, i64 ldx, i64 rows, i64 k, i64 k_padded, std::int8_t* out, float* scales);
  LinearBlock int8_tiles;  // matrix unit, quantises x itself; null without one
  LinearBlock int4;        // a few rows, from a_f32 and a_sums
  LinearBlock int4_bits;   // the same from a_bits and a_sums; null without instructions for bfloat16
  // Panel `panel` as a bf16 panel [k/2][16][2], for many rows.
  void (*int4_to_bf16)(const LinearCall&, i64 panel, std::uint16_t* out);
};

// Rounds `rows` rows of `x` to bfloat16, nearest even, and pads each to `k_padded` with zeros.
struct RoundKernels {
  void (*to_f32)(const float* x, i64 ldx, i64 rows, i64 k, i64 k_padded, float* out);
  void (*to_bits)(const float* x, i64 ldx, i64 rows, i64 k, i64 k_padded, std::uint16_t* out);
};

// ---- attention ------------------------------------------------------------------------------------------

struct Strided {  // a [batch, position, head, D] array, D contiguous
  const float* data;
  i64 batch, position, head;
};

struct AttentionCall {
  i64 B, S, T, H, G, D;
  Strided q, k, v;
  float* out;  // [B, S, H, D]
  float scale;
  bool causal;
  bool bf16;

  i64 heads_per_group() const { return H / G; }
  // Keys that query `i` sees.
  i64 visible(i64 i) const {
    if (!causal) return T;
    const i64 seen = T - S + i + 1;
    return seen < 0 ? 0 : seen;
  }
};

// Keys and values of a decoder live in pages: kPageKeys positions of one layer and group, packed as the blocked
// kernels like them.  Rows of queries (any positions, any heads of the group) run over some pages in turn.
inline constexpr i64 kPageKeys = 64;

struct PageRows {
  i64 D;
  float scale;
  bool bf16;
  i64 rows;                   // at most query_block
  const float* const* q;      // a row of D each
  const i64* visible;         // per row: how many of the run's keys it sees
  const char* pages;          // page j of the run is at pages + table[j] * page_stride
  const std::int32_t* table;
  i64 page_stride;            // bytes
  i64 count;                  // pages in the run
  float* state;               // [rows][2 + D]: maximum of scaled scores, sum of weights, unnormalised outputs

  const void* page(i64 j) const { return pages + table[j] * page_stride; }
};

// Blocked kernels: keys and values of one (batch, group) are packed once, then blocks of queries run over
// them.  Sizes are bytes and multiples of 64.
struct AttentionKernels {
  i64 (*packed_bytes)(const AttentionCall&);
  void (*pack)(const AttentionCall&, i64 b, i64 g, i64 key0, i64 key1, void* packed);
  i64 key_multiple;  // key0 (and key1, but for the end) must be multiples of this
  i64 query_block;   // rows per call of `block`
  i64 (*scratch_bytes)(const AttentionCall&);
  void (*block)(const AttentionCall&, i64 b, i64 h, i64 row0, i64 row1, const void* packed, void* scratch);
  void (*put)(const AttentionCall&, i64 key, const float* k, const float* v, void* page);  // one position; reads T, D, bf16
  void (*pages)(const PageRows&, void* scratch);  // scratch as for `block`
  // The same page as int8: a scale per position for keys and one for values, then every value's whole number in the
  // place that it has in a packed page.
  void (*put_int8)(const AttentionCall&, i64 key, const float* k, const float* v, void* page);
  void (*open_int8)(const AttentionCall&, const void* page, void* packed);
  i64 value_bytes;  // of a value in a packed page
};

inline constexpr i64 kInt8PageScales = 2 * kPageKeys * 4;  // bytes before the whole numbers

// A few queries against many keys, straight from the strided arrays: `state` gets, per row (query, head of
// the group), the running maximum, the sum, and D unnormalised outputs.
struct DecodeKernels {
  i64 max_rows;  // queries * heads_per_group that one call takes
  void (*partial)(const AttentionCall&, i64 b, i64 g, i64 key0, i64 key1, float* state, float* scratch);
};

// ---- pointwise ------------------------------------------------------------------------------------------

struct PointwiseKernels {
  void (*layer_norm)(const float* x, i64 ldx, i64 rows, i64 c, const float* w, const float* b, float eps, float* y);
  void (*rms_norm)(const float* x, i64 ldx, i64 rows, i64 c, const float* w, float eps, float* y);
  void (*silu_mul)(const float* x, i64 ldx, i64 rows, i64 half, float* y);
  // One position: `heads` rows of D = 2 * half, `ldx` apart; cos and sin hold `half` values.
  void (*rope)(const float* x, i64 ldx, i64 heads, i64 half, const float* cos, const float* sin, float* y);
};

// ---- tables ---------------------------------------------------------------------------------------------

struct KernelTable {
  Level level;
  LinearKernels linear;
  RoundKernels round;
  QuantisedKernels quantised;
  AttentionKernels attention;       // float32 and bf16
  const AttentionKernels* attention_bf16;  // instructions for bfloat16, or null
  DecodeKernels decode;
  PointwiseKernels pointwise;
};

bool level_compiled(Level level);
bool level_available(Level level);        // compiled, and this CPU and kernel allow it
const KernelTable& kernel_table(Level level);  // throws std::invalid_argument when not available

// What each instruction set's files export; dispatch.cpp puts them together.
LinearKernels linear_generic();
RoundKernels round_generic();
QuantisedKernels quantised_generic();
AttentionKernels attention_generic();
DecodeKernels decode_generic();
PointwiseKernels pointwise_generic();
LinearKernels linear_avx2();
RoundKernels round_avx2();
QuantisedKernels quantised_avx2();
AttentionKernels attention_avx2();
DecodeKernels decode_avx2();
PointwiseKernels pointwise_avx2();
LinearKernels linear_avx512();
RoundKernels round_avx512();
QuantisedKernels quantised_avx512();
AttentionKernels attention_avx512();
DecodeKernels decode_avx512();
PointwiseKernels pointwise_avx512();
LinearBlock linear_avx512bf16();
LinearBlock int4_avx512bf16();
AttentionKernels attention_avx512bf16();
void use_avx512vnni(QuantisedKernels& kernels);  // int8 and to_int8
LinearBlock linear_amx();
LinearBlock int8_amx();
LinearBlock int4_amx();
AttentionKernels attention_amx();
LinearKernels linear_neon();
RoundKernels round_neon();
QuantisedKernels quantised_neon();
AttentionKernels attention_neon();
DecodeKernels decode_neon();
PointwiseKernels pointwise_neon();
LinearBlock int8_neondotprod();
LinearBlock int8_neoni8mm();
LinearBlock linear_neonbf16();

}  // namespace seatrial
