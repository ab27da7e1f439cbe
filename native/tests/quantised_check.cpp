// linear in int8 and int4.  Bounds, operands as quantised:
//   int8  sums are exact, so 4e-7 * (|product| + |bias|); nothing at all where scales are one
//   int4  1e-6 * (|x| @ (|weight| + 15 scale).T) + 4e-7 * |bias|: codes are summed before the zero is taken off
#include <cmath>

#include "seatrial/linear.h"
#include "tests/check.h"

namespace seatrial::check {
namespace {

constexpr double kTiny = 1e-30;

struct Case {
  std::vector<i64> rows;
  i64 k, n;
  i64 group = 0;  // of int4
};

i64 most_of(const std::vector<i64>& rows) {
  i64 most = 0;
  for (const i64 m : rows) most = std::max(most, m);
  return most;
}

Floats spread(const Floats& dense, i64 rows, i64 k, i64 stride) {  // NaN between the rows, nothing after the last
  Floats x((rows - 1) * stride + k);
  for (i64 i = 0; i < rows * k; ++i) x[i / k * stride + i % k] = dense[i];
  return x;
}

// Runs all row counts on one packed weight, dense and with rows apart.
void run(const Case& c, const PackedLinear& packed, const Floats& x, const Wanted& wanted, Tally& tally) {
  for (const i64 m : c.rows)
    for (const i64 stride : {c.k, c.k + 3}) {
      const Floats apart = spread(x, m, c.k, stride);
      const Floats y(m * c.n);
      run_linear(packed, apart.data(), stride, m, false, nullptr, y.data());
      tally.within(text({m, c.k, c.n}) + " group " + std::to_string(c.group), y.data(), wanted, m * c.n);
    }
}

// ---- int8 -----------------------------------------------------------------------------------------------

struct Int8Rows {
  std::vector<int> values;
  std::vector<float> scale;
};

Int8Rows quantised(const Floats& x, i64 rows, i64 k) {  // as ops/quantise.py
  Int8Rows result;
  for (i64 r = 0; r < rows; ++r) {
    float largest = 0;
    for (i64 i = 0; i < k; ++i) largest = std::fmax(largest, std::fabs(x[r * k + i]));
    const float inverse = largest < 1e-30F ? 0.0F : 127.0F / largest;
    for (i64 i = 0; i < k; ++i) result.values.push_back(static_cast<int>(std::nearbyint(x[r * k + i] * inverse)));
    result.scale.push_back(largest < 1e-30F ? 0.0F : largest / 127.0F);
  }
  return result;
}

Exact<std::int8_t> int8_weights(i64 count, unsigned seed) {
  Exact<std::int8_t> values(count);
  for (i64 i = 0; i < count; ++i) values[i] = static_cast<std::int8_t>(static_cast<int>(whole(seed, i, 255)) - 127);
  return values;
}

Wanted int8_wanted(const Case& c, const Int8Rows& rows, const Exact<std::int8_t>& weight, const Floats& scale,
                   const Floats& bias) {
  Wanted wanted;
  for (i64 r = 0; r < most_of(c.rows); ++r)
    for (i64 column = 0; column < c.n; ++column) {
      i64 sum = 0;
      const int* row = rows.values.data() + r * c.k;
      for (i64 i = 0; i < c.k; ++i) sum += row[i] * weight[column * c.k + i];
      const double row_scale = rows.scale[static_cast<std::size_t>(r)];
      const double product = static_cast<double>(sum) * row_scale * scale[column];
      wanted.value.push_back(product + bias[column]);
      wanted.bound.push_back(4e-7 * (std::fabs(product) + std::fabs(bias[column])) + kTiny);
    }
  return wanted;
}

void check_int8(const Case& c, std::vector<Tally>& tallies) {
  const Floats x = normal(most_of(c.rows) * c.k, 1);
  const Exact<std::int8_t> weight = int8_weights(c.n * c.k, 2);
  const Floats scale(c.n);
  for (i64 i = 0; i < c.n; ++i) scale[i] = 0.001F * static_cast<float>(1 + i % 7);
  const Floats bias = normal(c.n, 3);
  const Wanted wanted = int8_wanted(c, quantised(x, most_of(c.rows), c.k), weight, scale, bias);
  for (std::size_t l = 0; l < levels().size(); ++l) {
    const PackedLinear packed = pack_int8(levels()[l], weight.data(), scale.data(), bias.data(), c.n, c.k);
    run(c, packed, x, wanted, tallies[l]);
  }
}

// Whole rows whose largest magnitude is 127 and scales of one: below 2^24 every sum comes out as it is.
void check_int8_exactly(i64 k, std::vector<Tally>& tallies) {
  const Case c = {{1, 2, 3, 5, 8, 9, 16, 17, 33}, k, 35};
  const i64 rows = most_of(c.rows);
  const Floats x(rows * k);
  for (i64 i = 0; i < rows * k; ++i)
    x[i] = i % k == 0 ? 127.0F : static_cast<float>(static_cast<int>(whole(5, i, 255)) - 127);
  const Exact<std::int8_t> weight = int8_weights(c.n * k, 6);
  const Floats ones(c.n);
  const Floats zeros(c.n);
  for (i64 i = 0; i < c.n; ++i) ones[i] = 1.0F, zeros[i] = 0.0F;
  Wanted wanted = int8_wanted(c, quantised(x, rows, k), weight, ones, zeros);
  for (double& bound : wanted.bound) bound = 0;
  for (std::size_t l = 0; l < levels().size(); ++l)
    run(c, pack_int8(levels()[l], weight.data(), ones.data(), nullptr, c.n, k), x, wanted, tallies[l]);
}

// The largest sums that the models' widths can give, of both signs.
void check_int8_extremes(std::vector<Tally>& tallies) {
  const Case c = {{1, 3, 18}, 12288, 17};
  const i64 rows = most_of(c.rows);
  const Floats x(rows * c.k);
  for (i64 i = 0; i < rows * c.k; ++i) x[i] = i / c.k % 2 == 0 ? 1.0F : -1.0F;
  const Exact<std::int8_t> weight(c.n * c.k);
  for (i64 i = 0; i < c.n * c.k; ++i) weight[i] = i / c.k % 3 == 0 ? -127 : 127;
  const Floats ones(c.n);
  for (i64 i = 0; i < c.n; ++i) ones[i] = 1.0F;
  const Floats zeros = normal(c.n, 1, 0.0F);
  const Wanted wanted = int8_wanted(c, quantised(x, rows, c.k), weight, ones, zeros);
  for (std::size_t l = 0; l < levels().size(); ++l)
    run(c, pack_int8(levels()[l], weight.data(), ones.data(), nullptr, c.n, c.k), x, wanted, tallies[l]);
}

// ---- int4 -----------------------------------------------------------------------------------------------

struct Int4 {
  Exact<std::uint8_t> codes, zero;
  Floats scale;
};

Int4 int4_weights(const Case& c) {
  const i64 groups = c.n * (c.k / c.group);
  Int4 w = {Exact<std::uint8_t>(c.n * c.k), Exact<std::uint8_t>(groups), Floats(groups)};
  for (i64 i = 0; i < c.n * c.k; ++i) w.codes[i] = static_cast<std::uint8_t>(whole(7, i, 16));
  for (i64 g = 0; g < groups; ++g) {
    w.zero[g] = static_cast<std::uint8_t>(whole(8, g, 16));
    w.scale[g] = std::ldexp(static_cast<float>(8 + whole(9, g, 8)), static_cast<int>(whole(10, g, 6)) - 10);
  }
  return w;
}

Wanted int4_wanted(const Case& c, const Floats& x, const Int4& w, const Floats& bias) {
  Wanted wanted;
  for (i64 r = 0; r < most_of(c.rows); ++r)
    for (i64 column = 0; column < c.n; ++column) {
      double sum = bias[column];
      double reach = 0;
      for (i64 i = 0; i < c.k; ++i) {
        const i64 g = (column * c.k + i) / c.group;
        const double scale = w.scale[g];
        const double value = (static_cast<double>(w.codes[column * c.k + i]) - w.zero[g]) * scale;
        const double entering = round_bf16(x[r * c.k + i]);
        sum += value * entering;
        reach += (std::fabs(value) + 15 * scale) * std::fabs(entering);
      }
      wanted.value.push_back(sum);
      wanted.bound.push_back(1e-6 * reach + 4e-7 * std::fabs(bias[column]) + kTiny);
    }
  return wanted;
}

void check_int4(const Case& c, std::vector<Tally>& tallies) {
  const Floats x = normal(most_of(c.rows) * c.k, 1);
  const Int4 w = int4_weights(c);
  const Floats bias = normal(c.n, 3);
  const Wanted wanted = int4_wanted(c, x, w, bias);
  for (std::size_t l = 0; l < levels().size(); ++l) {
    const PackedLinear packed = pack_int4(levels()[l], w.codes.data(), w.scale.data(), w.zero.data(), bias.data(), c.n,
                                          c.k, c.group);
    run(c, packed, x, wanted, tallies[l]);
  }
}

// A row of nothing is its bias, a row with NaN is NaN, and neither touches another.
void check_isolation(const PackedLinear& packed, const Floats& bias, Tally& tally) {
  for (const i64 m : {i64{4}, i64{33}}) {
    const Floats x = normal(m * packed.k, 1);
    for (i64 i = 0; i < packed.k; ++i) x[i] = 0.0F;
    x[packed.k + 3] = std::nanf("");
    const Floats y(m * packed.n);
    run_linear(packed, x.data(), packed.k, m, false, nullptr, y.data());
    for (i64 i = 0; i < y.size(); ++i) {
      const i64 row = i / packed.n;
      tally.expect("rows beside NaN", row == 0 ? y[i] == bias[i] : std::isnan(y[i]) == (row == 1));
    }
  }
}

void check_isolations(Precision precision, std::vector<Tally>& tallies) {
  const Case c = {{}, 64, 20, 64};
  const Floats bias = normal(c.n, 3);
  const Exact<std::int8_t> weight = int8_weights(c.n * c.k, 2);
  const Int4 w = int4_weights(c);
  const Floats scale = normal(c.n, 4, 0.01F);
  for (std::size_t l = 0; l < levels().size(); ++l) {
    const Level level = levels()[l];
    if (precision == Precision::int8)
      check_isolation(pack_int8(level, weight.data(), scale.data(), bias.data(), c.n, c.k), bias, tallies[l]);
    else
      check_isolation(pack_int4(level, w.codes.data(), w.scale.data(), w.zero.data(), bias.data(), c.n, c.k, c.group),
                      bias, tallies[l]);
  }
}

}  // namespace

void check_quantised(const Options& options) {
  const std::vector<i64> rows =
      options.quick ? std::vector<i64>{1, 9, 33} : std::vector<i64>{1, 2, 3, 5, 8, 9, 15, 16, 17, 31, 33, 97};
  const std::vector<i64> columns =
      options.quick ? std::vector<i64>{7, 97} : std::vector<i64>{1, 7, 15, 16, 17, 31, 33, 97, 269};
  {
    std::vector<Tally> lines = tallies("linear int8");
    for (const i64 k : options.quick ? std::vector<i64>{65} : std::vector<i64>{1, 3, 17, 63, 64, 65, 72, 130, 269})
      for (const i64 n : columns) check_int8({rows, k, n}, lines);
    check_int8({{1, 4, 33}, 288, 4304}, lines);
    if (!options.quick) check_int8({{1, 8, 97}, 4304, 97}, lines);
    for (const i64 k : {i64{31}, i64{64}, i64{1000}}) check_int8_exactly(k, lines);
    check_int8_extremes(lines);
    check_isolations(Precision::int8, lines);
  }
  std::vector<Tally> lines = tallies("linear int4");
  for (const i64 k : options.quick ? std::vector<i64>{96} : std::vector<i64>{32, 64, 96, 192, 576})
    for (const i64 n : columns)
      for (const i64 group : {i64{32}, i64{64}})
        if (k % group == 0) check_int4({rows, k, n, group}, lines);
  check_int4({{1, 16, 33}, 256, 4304, 64}, lines);
  check_isolations(Precision::int4, lines);
  // More bf16 panels than scratch is given: the multiply runs over ranges of them.
  if (!options.quick) check_int4({{9, 17}, 4096, 1300, 64}, lines);
}

}  // namespace seatrial::check
