// Attention.  Bounds, w the softmax weights: float32 4e-6 * (w @ |v|); bf16 (2^-8 + 1e-5) * (w @ |v|), since the
// weights are rounded to bfloat16 before they multiply the values.
#include "seatrial/attention.h"

#include <cmath>

#include "tests/check.h"

namespace seatrial::check {
namespace {

struct Shape {
  i64 B, S, T, H, G, D;
  bool causal;
};

// Decoding, the towers' pictures (head 72 and 64, all keys), prefill (head 64, causal, 3 heads a group), and odd ones.
constexpr Shape kShapes[] = {
    {1, 1, 1, 1, 1, 8, true},         {1, 1, 100, 9, 3, 64, true},    {1, 1, 1100, 3, 3, 64, false},
    {2, 4, 77, 6, 2, 72, true},       {3, 7, 7, 2, 2, 64, false},     {1, 17, 17, 6, 2, 8, true},
    {2, 33, 33, 4, 4, 72, false},     {1, 31, 97, 3, 1, 64, true},    {1, 40, 600, 2, 1, 40, true},
    {1, 65, 1030, 3, 1, 64, true},    {2, 130, 130, 6, 2, 64, true},  {1, 96, 512, 2, 2, 96, false},
    {1, 16, 48, 2, 2, 7, false},      {1, 269, 269, 2, 2, 72, false}, {1, 17, 1025, 3, 1, 64, true},
    {1, 15, 1024, 3, 1, 64, true},    {1, 33, 31, 2, 1, 1, false},    {2, 16, 1, 2, 1, 17, false},
    {1, 1, 4304, 3, 1, 64, true},     {1, 5, 269, 15, 5, 64, true},
};
constexpr Shape kQuickShapes[] = {
    {1, 1, 1100, 3, 3, 64, false}, {2, 33, 33, 4, 4, 72, false}, {2, 130, 130, 6, 2, 64, true}};

// An array [batch, position, head, D] within `data`, which ends with the last element read.
struct Source {
  Floats data;
  i64 batch, position, head;

  Strided strided() const { return {data.data(), batch, position, head}; }
  float at(i64 b, i64 t, i64 h, i64 d) const { return data[b * batch + t * position + h * head + d]; }
};

Source dense(i64 B, i64 T, i64 G, i64 D, unsigned seed, float scale) {
  return {normal(B * T * G * D, seed, scale), T * G * D, G * D, D};
}

// Heads before positions, and room for more positions than are used: a cache.  What is not used is NaN.
Source cache(i64 B, i64 T, i64 G, i64 D, unsigned seed) {
  const i64 room = T + 3;
  const i64 end = ((B * G - 1) * room + T) * D;
  const Floats values = normal(end, seed);
  for (i64 i = 0; i < end; ++i)
    if (i / D % room >= T) values[i] = std::nanf("");
  return {Floats(values.data(), end), G * room * D, D, room * D};
}

double entering(float x, bool bf16) { return bf16 ? round_bf16(x) : x; }

Wanted attend(const Shape& s, const Source& q, const Source& k, const Source& v, bool bf16) {
  Wanted wanted;
  const double relative = bf16 ? 0x1p-8 + 1e-5 : 4e-6;
  for (i64 b = 0; b < s.B; ++b)
    for (i64 i = 0; i < s.S; ++i)
      for (i64 h = 0; h < s.H; ++h) {
        const i64 g = h / (s.H / s.G);
        const i64 seen = s.causal ? s.T - s.S + i + 1 : s.T;
        std::vector<double> weights(static_cast<std::size_t>(seen));
        double top = -INFINITY;
        for (i64 t = 0; t < seen; ++t) {
          double score = 0;
          for (i64 d = 0; d < s.D; ++d) score += entering(q.at(b, i, h, d), bf16) * entering(k.at(b, t, g, d), bf16);
          weights[static_cast<std::size_t>(t)] = score / std::sqrt(static_cast<double>(s.D));
          top = std::fmax(top, weights[static_cast<std::size_t>(t)]);
        }
        double sum = 0;
        for (double& weight : weights) sum += weight = std::exp(weight - top);
        for (i64 d = 0; d < s.D; ++d) {
          double value = 0;
          double reach = 0;
          for (i64 t = 0; t < seen; ++t) {
            const double part = weights[static_cast<std::size_t>(t)] / sum * entering(v.at(b, t, g, d), bf16);
            value += part;
            reach += std::fabs(part);
          }
          wanted.value.push_back(value);
          wanted.bound.push_back(relative * reach);
        }
      }
  return wanted;
}

void check_shape(const Shape& s, const Source& q, const Source& k, const Source& v, bool bf16, const char* layout,
                 std::vector<Tally>& tallies) {
  const Wanted wanted = attend(s, q, k, v, bf16);
  for (std::size_t l = 0; l < levels().size(); ++l) {
    const i64 count = s.B * s.S * s.H * s.D;
    const Floats out(count);
    const AttentionCall call = {s.B,         s.S,         s.T,        s.H, s.G, s.D, q.strided(), k.strided(),
                                v.strided(), out.data(), 1.0F / std::sqrt(static_cast<float>(s.D)), s.causal, bf16};
    run_attention(levels()[l], call);
    tallies[l].within(text({s.B, s.S, s.T, s.H, s.G, s.D}) + (s.causal ? " causal " : " ") + layout, out.data(), wanted,
                      count);
  }
}

// q, k and v one beside the other, as one multiply makes them: each view ends with its own last element.
void check_fused(i64 S, bool bf16, std::vector<Tally>& tallies) {
  const Shape s = {2, S, S, 9, 3, 64, true};
  const i64 row = (s.H + 2 * s.G) * s.D;
  const Floats qkv = normal(s.B * S * row, 5);
  const auto view = [&](i64 first, i64 heads) {
    const i64 end = (s.B * S - 1) * row + heads * s.D;
    return Source{Floats(qkv.data() + first * s.D, end), S * row, row, s.D};
  };
  check_shape(s, view(0, s.H), view(s.H, s.G), view(s.H + s.G, s.G), bf16, "fused", tallies);
}

// NaN stays in its query and head, and scores of any size give numbers.
void check_isolation(i64 S, bool bf16, std::vector<Tally>& tallies) {
  const Source q = dense(1, S, 2, 64, 1, 300.0F);
  const Source k = dense(1, 50, 2, 64, 2, 30.0F);
  const Source v = dense(1, 50, 2, 64, 3, 1.0F);
  q.data[(1 * 2 + 1) * 64 + 3] = std::nanf("");
  for (std::size_t l = 0; l < levels().size(); ++l) {
    const Floats out(S * 2 * 64);
    run_attention(levels()[l], {1, S, 50, 2, 2, 64, q.strided(), k.strided(), v.strided(), out.data(), 0.125F, true,
                                bf16});
    for (i64 i = 0; i < out.size(); ++i)
      tallies[l].expect("queries beside NaN, " + text({S}), std::isnan(out[i]) == (i / 64 == 1 * 2 + 1));
  }
}

}  // namespace

void check_attention(const Options& options) {
  for (const bool bf16 : {false, true}) {
    std::vector<Tally> lines = tallies(bf16 ? "attention bf16" : "attention f32");
    const auto check_dense = [&](const Shape& s) {
      check_shape(s, dense(s.B, s.S, s.H, s.D, 1, 2.0F), dense(s.B, s.T, s.G, s.D, 2, 1.0F),
                  dense(s.B, s.T, s.G, s.D, 3, 1.0F), bf16, "dense", lines);
    };
    for (const i64 S : {2, 40}) check_isolation(S, bf16, lines);
    if (options.quick) {
      for (const Shape& s : kQuickShapes) check_dense(s);
      continue;
    }
    for (const Shape& s : kShapes) check_dense(s);
    for (const i64 S : {1, 7, 16, 40}) {
      check_fused(S, bf16, lines);
      check_shape({2, S, 300, 9, 3, 64, true}, dense(2, S, 9, 64, 1, 2.0F), cache(2, 300, 3, 64, 2),
                  cache(2, 300, 3, 64, 3), bf16, "cache", lines);
    }
  }
}

}  // namespace seatrial::check
