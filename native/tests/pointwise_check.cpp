// Norms, gates and rotation.  Bounds: 2e-6 * (1 + |result|), 5e-6 for layer_norm.
#include "seatrial/pointwise.h"

#include <cmath>

#include "tests/check.h"

namespace seatrial::check {
namespace {

constexpr i64 kGap = 3;  // NaN between the rows, nothing after the last

struct Matrix {
  Floats data;
  i64 rows, columns, stride;

  Rows view() const { return {data.data(), rows, columns, stride}; }
  double at(i64 r, i64 c) const { return data[r * stride + c]; }
};

Matrix matrix(i64 rows, i64 columns, unsigned seed, float scale, float offset) {
  const i64 stride = columns + kGap;
  Matrix m = {Floats((rows - 1) * stride + columns), rows, columns, stride};
  const Floats values = normal(rows * columns, seed, scale, offset);
  for (i64 i = 0; i < rows * columns; ++i) m.data[i / columns * stride + i % columns] = values[i];
  return m;
}

void add(Wanted& wanted, double value, double relative) {
  wanted.value.push_back(value);
  wanted.bound.push_back(relative * (1 + std::fabs(value)));
}

struct Moments {
  double mean, squares, variance;
};

Moments moments(const Matrix& x, i64 row) {
  Moments m = {0, 0, 0};
  const auto count = static_cast<double>(x.columns);
  for (i64 c = 0; c < x.columns; ++c) m.mean += x.at(row, c) / count, m.squares += x.at(row, c) * x.at(row, c) / count;
  for (i64 c = 0; c < x.columns; ++c) m.variance += (x.at(row, c) - m.mean) * (x.at(row, c) - m.mean) / count;
  return m;
}

void check_norms(i64 rows, i64 columns, std::vector<Tally>& layer, std::vector<Tally>& rms) {
  const Matrix x = matrix(rows, columns, 1, 3.0F, 5.0F);
  const Floats weight = normal(columns, 2);
  const Floats bias = normal(columns, 3);
  Wanted layer_wanted;
  Wanted rms_wanted;
  for (i64 r = 0; r < rows; ++r) {
    const Moments m = moments(x, r);
    for (i64 c = 0; c < columns; ++c) {
      const double w = weight[c];
      add(layer_wanted, (x.at(r, c) - m.mean) / std::sqrt(m.variance + 1e-6) * w + bias[c], 5e-6);
      add(rms_wanted, x.at(r, c) / std::sqrt(m.squares + 1e-5) * w, 2e-6);
    }
  }
  for (std::size_t l = 0; l < levels().size(); ++l) {
    const Floats y(rows * columns);
    if (columns > 1) {  // one value has no variance: only noise is left
      run_layer_norm(levels()[l], x.view(), weight.data(), bias.data(), 1e-6F, y.data());
      layer[l].within(text({rows, columns}), y.data(), layer_wanted, y.size());
    }
    const Floats z(rows * columns);
    run_rms_norm(levels()[l], x.view(), weight.data(), 1e-5F, z.data());
    rms[l].within(text({rows, columns}), z.data(), rms_wanted, z.size());
  }
}

void check_silu_mul(i64 rows, i64 half, std::vector<Tally>& tallies) {
  const Matrix x = matrix(rows, 2 * half, 4, 10.0F, 0.0F);
  x.data[0] = -1e4F;
  Wanted wanted;
  for (i64 r = 0; r < rows; ++r)
    for (i64 c = 0; c < half; ++c) add(wanted, x.at(r, c) / (1 + std::exp(-x.at(r, c))) * x.at(r, half + c), 2e-6);
  for (std::size_t l = 0; l < levels().size(); ++l) {
    const Floats y(rows * half);
    run_silu_mul(levels()[l], x.view(), y.data());
    tallies[l].within(text({rows, half}), y.data(), wanted, y.size());
  }
}

// `more` heads of the array are not rotated, as in a fused qkv.
void check_rope(i64 positions, i64 heads, i64 half, i64 more, std::vector<Tally>& tallies) {
  const i64 width = 2 * half;
  const i64 stride = (heads + more) * width;
  const Floats x = normal((positions - 1) * stride + heads * width, 5);
  const Floats angle = normal(positions * half, 6);
  const Floats cos(positions * half);
  const Floats sin(positions * half);
  for (i64 i = 0; i < angle.size(); ++i) cos[i] = std::cos(angle[i]), sin[i] = std::sin(angle[i]);
  Wanted wanted;
  for (i64 s = 0; s < positions; ++s)
    for (i64 h = 0; h < heads; ++h)
      for (i64 d = 0; d < width; ++d) {
        const float* row = x.data() + s * stride + h * width;
        const double c = cos[s * half + d % half];
        const double t = sin[s * half + d % half];
        add(wanted, d < half ? row[d] * c - row[d + half] * t : row[d] * c + row[d - half] * t, 2e-6);
      }
  for (std::size_t l = 0; l < levels().size(); ++l) {
    const Floats y(positions * heads * width);
    run_rope(levels()[l], {x.data(), positions, heads, half, stride, width, cos.data(), sin.data(), y.data()});
    tallies[l].within(text({positions, heads, width}), y.data(), wanted, y.size());
  }
}

}  // namespace

void check_pointwise(const Options& options) {
  const std::vector<i64> all = {1, 7, 15, 16, 17, 31, 33, 72, 97, 269, 576, 1152, 4304};
  const std::vector<i64> widths = options.quick ? std::vector<i64>{33, 1152} : all;
  std::vector<Tally> layer = tallies("layer_norm");
  std::vector<Tally> rms = tallies("rms_norm");
  std::vector<Tally> silu = tallies("silu_mul");
  for (const i64 rows : {1, 7, 33, 97})
    for (const i64 columns : widths) {
      check_norms(rows, columns, layer, rms);
      check_silu_mul(rows, columns, silu);
    }
  std::vector<Tally> rope = tallies("rope");
  for (const i64 positions : {1, 17, 269})
    for (const i64 half : {1, 4, 7, 16, 17, 32, 36})
      for (const i64 more : {0, 2}) check_rope(positions, 3, half, more, rope);
}

}  // namespace seatrial::check
