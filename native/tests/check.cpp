#include "tests/check.h"

#include <bit>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <numbers>

namespace seatrial::check {
namespace {

constexpr i64 kMostMessages = 5;  // of one family on one set
i64 all_failures = 0;

std::uint64_t mixed(std::uint64_t x) {  // a hash with good bits everywhere (splitmix64)
  x += 0x9E3779B97F4A7C15U;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9U;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBU;
  return x ^ (x >> 31);
}

std::uint64_t bits_at(unsigned seed, i64 position) {
  return mixed(mixed(seed) + static_cast<std::uint64_t>(position));
}

double uniform(std::uint64_t bits) { return (static_cast<double>(bits >> 11) + 0.5) * 0x1p-53; }

}  // namespace

const std::vector<Level>& levels() {
  static const std::vector<Level> found = [] {
    std::vector<Level> usable;
    for (int i = 0; i < kLevels; ++i)
      if (level_available(static_cast<Level>(i))) usable.push_back(static_cast<Level>(i));
    return usable;
  }();
  return found;
}

Floats normal(i64 count, unsigned seed, float scale, float offset) {
  Floats values(count);
  for (i64 i = 0; i < count; ++i) {  // Box and Muller
    const double radius = std::sqrt(-2.0 * std::log(uniform(bits_at(seed, 2 * i))));
    const double angle = 2.0 * std::numbers::pi * uniform(bits_at(seed, 2 * i + 1));
    values[i] = static_cast<float>(radius * std::cos(angle)) * scale + offset;
  }
  return values;
}

unsigned whole(unsigned seed, i64 position, unsigned below) {
  return static_cast<unsigned>(bits_at(seed, position) % below);
}

float round_bf16(float x) {
  if (!std::isfinite(x)) return x;
  const float down = std::bit_cast<float>(std::bit_cast<std::uint32_t>(x) & 0xFFFF0000U);  // towards zero
  const float up = std::bit_cast<float>(std::bit_cast<std::uint32_t>(down) + 0x10000U);    // away from it
  const double below = std::fabs(static_cast<double>(x) - down);
  // Beyond the largest bfloat16 the next would be 2^128, for which infinity stands.
  const double above = std::fabs((std::isinf(up) ? std::copysign(0x1p128, x) : static_cast<double>(up)) - x);
  if (below != above) return below < above ? down : up;
  return (std::bit_cast<std::uint32_t>(down) >> 16) % 2 == 0 ? down : up;
}

Tally::Tally(std::string family, std::string set) : family_(std::move(family)), set_(std::move(set)) {}
Tally::Tally(std::string family, Level level) : Tally(std::move(family), std::string(level_name(level))) {}
Tally::Tally(Tally&& other) noexcept
    : family_(std::move(other.family_)),
      set_(std::move(other.set_)),
      results_(other.results_),
      failures_(other.failures_),
      worst_(other.worst_) {
  other.results_ = other.failures_ = 0;
}

Tally::~Tally() {
  if (results_ == 0 && failures_ == 0) return;
  std::printf("%-6s %-22s %-10s %10lld results", failures_ == 0 ? "ok" : "FAILED", family_.c_str(), set_.c_str(),
              static_cast<long long>(results_));
  if (worst_ > 0) std::printf(", worst at %.2f of its bound", worst_);
  if (failures_ != 0) std::printf(", %lld wrong", static_cast<long long>(failures_));
  std::printf("\n");
  std::fflush(stdout);
  all_failures += failures_;
}

void Tally::within(const std::string& what, const float* got, const Wanted& wanted, i64 count) {
  for (i64 i = 0; i < count; ++i) {
    const auto at = static_cast<std::size_t>(i);
    const double error = std::fabs(static_cast<double>(got[i]) - wanted.value[at]);
    ++results_;
    if (error <= wanted.bound[at]) {  // not so for NaN
      if (wanted.bound[at] > 0) worst_ = std::fmax(worst_, error / wanted.bound[at]);
      continue;
    }
    char message[160];
    std::snprintf(message, sizeof message, "%s: result %lld is %.9g, not %.9g +- %.3g", what.c_str(),
                  static_cast<long long>(i), static_cast<double>(got[i]), wanted.value[at], wanted.bound[at]);
    fail(message);
  }
}

void Tally::equal(const std::string& what, const void* got, const void* wanted, i64 bytes) {
  ++results_;
  if (std::memcmp(got, wanted, static_cast<std::size_t>(bytes)) != 0) fail(what + ": not the same bytes");
}

void Tally::expect(const std::string& what, bool holds) {
  ++results_;
  if (!holds) fail(what);
}

void Tally::fail(const std::string& what) {
  if (failures_++ < kMostMessages) std::printf("  %s, %s: %s\n", family_.c_str(), set_.c_str(), what.c_str());
}

std::vector<Tally> tallies(const std::string& family) {
  std::vector<Tally> all;
  for (const Level level : levels()) all.emplace_back(family, level);
  return all;
}

i64 failures() { return all_failures; }

std::string text(std::initializer_list<i64> sizes) {
  std::string result;
  for (const i64 size : sizes) result += (result.empty() ? "" : " x ") + std::to_string(size);
  return result;
}

}  // namespace seatrial::check
