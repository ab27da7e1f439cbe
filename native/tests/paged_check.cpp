// Attention over pages of keys and values; bounds as in attention_check.cpp.  Pages begin as NaN, as if something
// broken had used them before: positions that nobody wrote must not be seen in any result.
#include "seatrial/paged.h"

#include <cmath>

#include "seatrial/memory.h"
#include "tests/check.h"

namespace seatrial::check {
namespace {

constexpr i64 kPages = 24;
constexpr i64 kTable = 8;  // pages that a sequence may have

struct Heads {
  i64 H, G, D;
};

struct Sequence {
  std::vector<std::int32_t> pages;
  std::vector<float> k, v;  // [position][G][D], k rotated
  i64 length = 0;
};

// Quarter turns: exact in any order of arithmetic, so that rounding to bfloat16 finds the same numbers.
constexpr float kCos[4] = {1, 0, -1, 0};
constexpr float kSin[4] = {0, 1, 0, -1};

struct Rows {  // q, k and v of some rows in one array, as one multiply makes them
  Floats data;
  i64 count, stride;
  std::vector<int> turns;

  Rows(i64 rows, Heads s, unsigned seed)
      : data(normal(rows * (s.H + 2 * s.G) * s.D, seed)), count(rows), stride((s.H + 2 * s.G) * s.D) {
    for (i64 i = 0; i < rows * (s.D / 2); ++i) turns.push_back(static_cast<int>(whole(seed, i, 4)));
  }
  // Value d of head h, counted over q, k and v, turned.
  float turned(i64 row, i64 h, i64 d, i64 D) const {
    const float* x = data.data() + row * stride + h * D;
    const int turn = turns[static_cast<std::size_t>(row * (D / 2) + d % (D / 2))];
    return d < D / 2 ? x[d] * kCos[turn] - x[d + D / 2] * kSin[turn] : x[d] * kCos[turn] + x[d - D / 2] * kSin[turn];
  }
  Floats table(const float* values) const {
    const Floats result(static_cast<i64>(turns.size()));
    for (i64 i = 0; i < result.size(); ++i) result[i] = values[turns[static_cast<std::size_t>(i)]];
    return Floats(result.data(), result.size());
  }
};

double entering(float x, bool bf16) { return bf16 ? round_bf16(x) : x; }

// One row and head against what its sequence holds up to `seen`.
void attend(const Sequence& sequence, i64 seen, const std::vector<double>& q, i64 g, Heads s, bool bf16,
            Wanted& wanted) {
  const auto value = [&](const std::vector<float>& from, i64 t, i64 d) {
    return entering(from[static_cast<std::size_t>((t * s.G + g) * s.D + d)], bf16);
  };
  std::vector<double> weights;
  double top = -INFINITY;
  for (i64 t = 0; t < seen; ++t) {
    double score = 0;
    for (i64 d = 0; d < s.D; ++d) score += q[static_cast<std::size_t>(d)] * value(sequence.k, t, d);
    weights.push_back(score / std::sqrt(static_cast<double>(s.D)));
    top = std::fmax(top, weights.back());
  }
  double sum = 0;
  for (double& weight : weights) sum += weight = std::exp(weight - top);
  for (i64 d = 0; d < s.D; ++d) {
    double result = 0;
    double reach = 0;
    for (i64 t = 0; t < seen; ++t) {
      const double part = weights[static_cast<std::size_t>(t)] / sum * value(sequence.v, t, d);
      result += part;
      reach += std::fabs(part);
    }
    wanted.value.push_back(result);
    wanted.bound.push_back((bf16 ? 0x1p-8 + 1e-5 : 4e-6) * reach);
  }
}

class Scenario {
 public:
  Scenario(Level level, Heads heads, bool bf16, Tally& tally)
      : level_(level),
        s_(heads),
        bf16_(bf16),
        bytes_(page_bytes(level, heads.D, bf16)),
        pool_(static_cast<std::size_t>(kPages * heads.G * bytes_)),
        tally_(tally) {}

  // The next counts[n] positions of each sequence.
  void step(const std::vector<Sequence*>& sequences, const std::vector<std::int32_t>& counts) {
    const auto n = static_cast<i64>(sequences.size());
    i64 count = 0;
    for (const std::int32_t c : counts) count += c;
    const Rows rows(count, s_, seed_++);
    Exact<std::int32_t> tables(n * kTable);
    Exact<std::int32_t> lengths(n);
    Wanted wanted;
    i64 row = 0;
    for (i64 i = 0; i < n; ++i) {
      Sequence& sequence = *sequences[static_cast<std::size_t>(i)];
      lengths[i] = static_cast<std::int32_t>(sequence.length);
      for (std::int32_t c = 0; c < counts[static_cast<std::size_t>(i)]; ++c) append(sequence, rows, row++, wanted);
      i64 entry = i * kTable;
      for (const std::int32_t page : sequence.pages) tables[entry++] = page;
    }
    const Exact<std::int32_t> exact_counts(counts.data(), n);
    const Floats cos = rows.table(kCos);
    const Floats sin = rows.table(kSin);
    const Floats out(count * s_.H * s_.D);
    const float* qkv = rows.data.data();
    run_paged(level_, {count, s_.H, s_.G, s_.D, qkv, qkv + s_.H * s_.D, qkv + (s_.H + s_.G) * s_.D, rows.stride,
                       rows.stride, rows.stride, cos.data(), sin.data(), static_cast<char*>(pool_.data()),
                       s_.G * bytes_, bytes_, n, tables.data(), kTable, lengths.data(), exact_counts.data(),
                       1.0F / std::sqrt(static_cast<float>(s_.D)), bf16_, out.data()});
    tally_.within("step " + text({seed_}) + " of " + text({s_.H, s_.G, s_.D}), out.data(), wanted, out.size());
  }

  // A sequence that begins with the first `pages` pages of another.
  static Sequence fork(const Sequence& from, i64 pages, Heads s) {
    const i64 length = pages * kPageKeys;
    const auto values = static_cast<std::ptrdiff_t>(length * s.G * s.D);
    return {{from.pages.begin(), from.pages.begin() + pages},
            {from.k.begin(), from.k.begin() + values},
            {from.v.begin(), from.v.begin() + values},
            length};
  }

 private:
  void append(Sequence& sequence, const Rows& rows, i64 row, Wanted& wanted) {
    if (sequence.length % kPageKeys == 0)
      sequence.pages.push_back(static_cast<std::int32_t>(next_page_++ * 7 % kPages));
    for (i64 g = 0; g < s_.G; ++g)
      for (i64 d = 0; d < s_.D; ++d) {
        sequence.k.push_back(rows.turned(row, s_.H + g, d, s_.D));
        sequence.v.push_back(rows.data[row * rows.stride + (s_.H + s_.G + g) * s_.D + d]);
      }
    ++sequence.length;
    for (i64 h = 0; h < s_.H; ++h) {
      std::vector<double> q;
      for (i64 d = 0; d < s_.D; ++d) q.push_back(entering(rows.turned(row, h, d, s_.D), bf16_));
      attend(sequence, sequence.length, q, h / (s_.H / s_.G), s_, bf16_, wanted);
    }
  }

  Level level_;
  Heads s_;
  bool bf16_;
  i64 bytes_;
  Buffer pool_;
  Tally& tally_;
  unsigned seed_ = 1;
  i64 next_page_ = 0;
};

}  // namespace

void check_paged(const Options& options) {
  std::vector<Heads> shapes = {{6, 2, 64}};
  if (!options.quick) shapes = {{9, 3, 64}, {4, 4, 72}, {3, 1, 8}};
  for (const bool bf16 : {false, true}) {
    std::vector<Tally> lines = tallies(bf16 ? "paged bf16" : "paged f32");
    for (std::size_t l = 0; l < levels().size(); ++l)
      for (const Heads& heads : shapes) {
        Scenario scenario(levels()[l], heads, bf16, lines[l]);
        Sequence one;
        Sequence alone;
        Sequence late;
        scenario.step({&one}, {150});  // a prompt
        Sequence two = Scenario::fork(one, 2, heads);
        scenario.step({&one, &two, &alone}, {1, 5, 33});  // shared pages, a guess of some tokens, a prompt in between
        scenario.step({&one, &two, &alone, &late}, {1, 0, 31, 1});
        scenario.step({&two, &one, &late, &alone}, {60, 1, 63, 1});  // pages fill up and begin
        for (int i = 0; i < 3; ++i) scenario.step({&two, &one, &late, &alone}, {1, 1, 1, 1});
      }
  }
}

}  // namespace seatrial::check
