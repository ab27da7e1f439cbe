// The tile unit, real or emulated, against its definition in Intel's manual, bit for bit.
#include <sys/wait.h>
#include <unistd.h>

#include <bit>
#include <cmath>
#include <cstdio>

#include "tests/check.h"
#include "tests/tile_product.h"

namespace seatrial::check {
namespace {

constexpr TileShape kShapes[] = {{16, 16, 16}, {1, 16, 16}, {7, 16, 16}, {16, 16, 1}, {16, 3, 16}, {5, 9, 13}};

float flushed(float x) { return std::fabs(x) < 0x1p-126F ? std::copysign(0.0F, x) : x; }

float widened(std::uint16_t bits) { return flushed(std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16)); }

// Two chains of multiply-adds from zero, added, added to the sum; tiny numbers are zero before and after.
float pair_sum(TileShape s, const std::uint16_t* a, const std::uint16_t* b, int row, int column, float sum) {
  float chains[2] = {0.0F, 0.0F};
  for (int k = 0; k < s.words; ++k)
    for (int i = 0; i < 2; ++i) {
      const float left = widened(a[(row * s.words + k) * 2 + i]);
      const float right = widened(b[(k * s.columns + column) * 2 + i]);
      chains[i] = flushed(std::fma(left, right, chains[i]));
    }
  return flushed(flushed(sum) + flushed(chains[0] + chains[1]));
}

// `exponents`: of the operands, so that products are ordinary, or tiny and often below the normal numbers.
void check_bf16(TileShape s, int lowest_exponent, unsigned exponents, unsigned seed, Tally& tally) {
  const auto random = [&](i64 count, unsigned more) {
    Exact<std::uint16_t> values(count);
    for (i64 i = 0; i < count; ++i) {
      const int exponent = lowest_exponent + static_cast<int>(whole(seed + more, 3 * i, exponents));
      const float x = std::ldexp(1.0F + static_cast<float>(whole(seed + more, 3 * i + 1, 128)) / 128.0F, exponent);
      const unsigned sign = whole(seed + more, 3 * i + 2, 2) << 15;
      values[i] = static_cast<std::uint16_t>(std::bit_cast<std::uint32_t>(x) >> 16 | sign);
    }
    return values;
  };
  const Exact<std::uint16_t> a = random(i64{2} * s.rows * s.words, 0);
  const Exact<std::uint16_t> b = random(i64{2} * s.words * s.columns, 1);
  const Floats sums = normal(i64{s.rows} * s.columns, seed, std::ldexp(1.0F, 2 * lowest_exponent < -149 ? -126 : 0));
  const Floats wanted(sums.size());
  for (int r = 0; r < s.rows; ++r)
    for (int c = 0; c < s.columns; ++c)
      wanted[r * s.columns + c] = pair_sum(s, a.data(), b.data(), r, c, sums[r * s.columns + c]);
  tile_product(false, s, a.data(), b.data(), sums.data());
  tally.equal("bf16 " + text({s.rows, s.columns, s.words}), sums.data(), wanted.data(), 4 * sums.size());
}

void check_int8(TileShape s, Tally& tally) {
  Exact<std::int8_t> a(i64{4} * s.rows * s.words);
  Exact<std::int8_t> b(i64{4} * s.words * s.columns);
  for (i64 i = 0; i < a.size(); ++i) a[i] = static_cast<std::int8_t>(whole(1, i, 256));
  for (i64 i = 0; i < b.size(); ++i) b[i] = static_cast<std::int8_t>(whole(2, i, 256));
  Exact<std::uint32_t> sums(i64{s.rows} * s.columns);
  Exact<std::uint32_t> wanted(sums.size());
  for (i64 i = 0; i < sums.size(); ++i) {
    sums[i] = i % 5 == 0 ? 0x7FFFFFF0U : whole(3, i, 1000);  // some wrap around
    wanted[i] = sums[i];
    for (i64 j = 0; j < i64{4} * s.words; ++j)
      wanted[i] += static_cast<std::uint32_t>(a[i / s.columns * 4 * s.words + j] *
                                              b[(j / 4 * s.columns + i % s.columns) * 4 + j % 4]);
  }
  tile_product(true, s, a.data(), b.data(), sums.data());
  tally.equal("int8 " + text({s.rows, s.columns, s.words}), sums.data(), wanted.data(), 4 * sums.size());
}

bool ends_the_process(void (*what)()) {
  const pid_t child = fork();
  if (child == 0) {
    if (std::freopen("/dev/null", "w", stderr) == nullptr) _exit(0);
    what();
    _exit(0);
  }
  int status = 0;
  return waitpid(child, &status, 0) == child && !(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

}  // namespace

void check_tiles(const Options&) {
  if (!level_available(Level::amx)) return;
  Tally tally("tile unit", Level::amx);
  for (const TileShape& shape : kShapes) {
    for (unsigned seed = 0; seed < 40; ++seed) {
      check_bf16(shape, -4, 8, seed, tally);
      check_bf16(shape, -70, 16, 100 + seed, tally);   // products around 2^-126
      check_bf16(shape, -133, 10, 200 + seed, tally);  // operands around it
    }
    check_int8(shape, tally);
  }
  tally.expect("tiles that are not configured are a fault", ends_the_process(tile_use_without_configuration));
}

}  // namespace seatrial::check
