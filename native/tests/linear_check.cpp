// linear in float32 and bfloat16.  Bounds, operands as they enter (rounded for bf16):
//   1e-6 * (|x| @ |weight|.T + |bias| + 0.1); gelu may stretch that by 1.13, its steepest slope, and with the
//   residual adds 2e-6 * (1 + |result|).
#include "seatrial/linear.h"

#include <bit>
#include <cmath>
#include <numbers>

#include "tests/check.h"

namespace seatrial::check {
namespace {

struct Case {
  std::vector<i64> rows;
  i64 k, n;
  Precision precision;
};

double gelu(double x) {
  return 0.5 * x * (1 + std::tanh(std::sqrt(2 / std::numbers::pi) * (x + 0.044715 * x * x * x)));
}

// Rows `stride` apart with NaN between them, and nothing after the last.
Floats spread(const Floats& dense, i64 rows, i64 k, i64 stride) {
  Floats x(rows == 0 ? 0 : (rows - 1) * stride + k);
  for (i64 i = 0; i < rows * k; ++i) x[i / k * stride + i % k] = dense[i];
  return x;
}

struct Products {  // [m, n], bias not included, and the sums of magnitudes
  std::vector<double> value, reach;
};

Products multiply(const Floats& x, const Floats& weight, i64 m, i64 k, i64 n, bool bf16) {
  const auto entering = [&](const Floats& from) {
    std::vector<double> to(static_cast<std::size_t>(from.size()));
    for (i64 i = 0; i < from.size(); ++i) to[static_cast<std::size_t>(i)] = bf16 ? round_bf16(from[i]) : from[i];
    return to;
  };
  const std::vector<double> a = entering(x);
  const std::vector<double> b = entering(weight);
  Products result;
  for (i64 r = 0; r < m; ++r)
    for (i64 c = 0; c < n; ++c) {
      double sum = 0;
      double reach = 0;
      const double* row = a.data() + r * k;
      const double* column = b.data() + c * k;
      for (i64 i = 0; i < k; ++i) {
        sum += row[i] * column[i];
        reach += std::fabs(row[i] * column[i]);
      }
      result.value.push_back(sum);
      result.reach.push_back(reach);
    }
  return result;
}

Wanted finished(const Products& product, const Floats& bias, i64 n, bool with_gelu, const Floats* residual) {
  Wanted wanted;
  for (std::size_t i = 0; i < product.value.size(); ++i) {
    const double b = bias[static_cast<i64>(i) % n];
    const double sum = product.value[i] + b;
    const double r = residual == nullptr ? 0.0 : (*residual)[static_cast<i64>(i)];
    const double bare = 1e-6 * (product.reach[i] + std::fabs(b) + 0.1);
    wanted.value.push_back((with_gelu ? gelu(sum) : sum) + r);
    wanted.bound.push_back(with_gelu || residual != nullptr
                               ? 1.13 * bare + 2e-6 * (1 + std::fabs(wanted.value.back()))
                               : bare);
  }
  return wanted;
}

void check_case(const Case& c, std::vector<Tally>& tallies) {
  i64 most = 0;
  for (const i64 m : c.rows) most = std::max(most, m);
  const Floats x = normal(most * c.k, 1);
  const Floats weight = normal(c.n * c.k, 2);
  const Floats bias = normal(c.n, 3);
  const Products product = multiply(x, weight, most, c.k, c.n, c.precision == Precision::bf16);
  const Floats residual = normal(most * c.n, 4);
  Wanted wanted[4];
  for (int i = 0; i < 4; ++i) wanted[i] = finished(product, bias, c.n, i % 2 != 0, i / 2 != 0 ? &residual : nullptr);
  for (std::size_t l = 0; l < levels().size(); ++l) {
    const PackedLinear packed = pack_linear(levels()[l], c.precision, weight.data(), bias.data(), c.n, c.k);
    int turn = 0;
    for (const i64 m : c.rows)
      // Plain and dense; then, in turn, with more of gelu and residual, rows apart.
      for (const int extras : {0, 1 + turn++ % 3}) {
        const i64 stride = extras == 0 ? c.k : c.k + 5;
        const Floats apart = spread(x, m, c.k, stride);
        const Floats added(residual.data(), m * c.n);
        const Floats y(m * c.n);
        const float* more = extras / 2 != 0 ? added.data() : nullptr;
        run_linear(packed, apart.data(), stride, m, extras % 2 != 0, more, y.data());
        const std::string what = text({m, c.k, c.n}) + " extras " + std::to_string(extras);
        tallies[l].within(what, y.data(), wanted[extras], m * c.n);
      }
  }
}

// NaN and infinity must not leave their rows, whatever shares a register or a tile with them.
void check_isolation(Precision precision, std::vector<Tally>& tallies) {
  const i64 k = 40;
  const i64 n = 20;
  const Floats weight = normal(n * k, 2);
  for (std::size_t l = 0; l < levels().size(); ++l) {
    const PackedLinear packed = pack_linear(levels()[l], precision, weight.data(), nullptr, n, k);
    for (const i64 m : {i64{4}, i64{33}}) {
      const Floats x = normal(m * k, 1);
      x[k + 3] = std::nanf("");
      x[2 * k + 5] = INFINITY;
      const Floats y(m * n);
      run_linear(packed, x.data(), k, m, false, nullptr, y.data());
      for (i64 i = 0; i < m * n; ++i) {
        const i64 row = i / n;
        const bool right = row == 1   ? std::isnan(y[i])
                           : row == 2 ? std::isinf(y[i]) && std::signbit(y[i]) == std::signbit(weight[i % n * k + 5])
                                      : std::isfinite(y[i]);
        tallies[l].expect("rows beside NaN and infinity", right);
      }
    }
  }
}

}  // namespace

void check_linear(const Options& options) {
  const std::vector<i64> rows =
      options.quick ? std::vector<i64>{1, 17, 97} : std::vector<i64>{1, 7, 15, 16, 17, 31, 33, 97};
  const std::vector<i64> widths =
      options.quick ? std::vector<i64>{7, 33, 97} : std::vector<i64>{1, 7, 15, 16, 17, 31, 33, 72, 97, 269};
  for (const Precision precision : {Precision::f32, Precision::bf16}) {
    std::vector<Tally> lines = tallies(precision == Precision::f32 ? "linear f32" : "linear bf16");
    for (const i64 k : widths)
      for (const i64 n : widths) check_case({rows, k, n, precision}, lines);
    const std::vector<i64> few = {1, 4, 33};
    check_case({few, 288, 4304, precision}, lines);
    if (!options.quick) {
      check_case({{1, 8, 97}, 4304, 97, precision}, lines);
      check_case({{269}, 72, 269, precision}, lines);
      check_case({{1, 16, 4304}, 31, 17, precision}, lines);
    }
    check_isolation(precision, lines);
  }
}

}  // namespace seatrial::check
