// What the checks share: numbers to multiply, sets to run on, and one line of result per family and set.
#pragma once

#include <string>
#include <vector>

#include "seatrial/kernels.h"
#include "tests/exact_memory.h"

namespace seatrial::check {

struct Options {
  bool quick = false;  // fewer sizes: for the thread sanitizer, which is after races
};

const std::vector<Level>& levels();  // that this machine has

// Normally distributed, the same for the same seed.
Floats normal(i64 count, unsigned seed, float scale = 1.0F, float offset = 0.0F);
// A whole number in [0, below), the same for the same seed and position.
unsigned whole(unsigned seed, i64 position, unsigned below);
float round_bf16(float x);  // to the nearest bfloat16, ties to even; by definition, not as the kernels do it
inline i64 ceil_to(i64 value, i64 multiple) { return (value + multiple - 1) / multiple * multiple; }

struct Wanted {  // results in double, and how far float32 may be from each
  std::vector<double> value, bound;
};

// Counts the results of one family on one instruction set; says how it went when it goes.
class Tally {
 public:
  Tally(std::string family, std::string set);
  Tally(std::string family, Level level);
  Tally(Tally&& other) noexcept;
  Tally(const Tally&) = delete;
  Tally& operator=(const Tally&) = delete;
  ~Tally();

  // Each of the first `count` values is within its bound; `what` names the case.
  void within(const std::string& what, const float* got, const Wanted& wanted, i64 count);
  void equal(const std::string& what, const void* got, const void* wanted, i64 bytes);
  void expect(const std::string& what, bool holds);

 private:
  void fail(const std::string& what);

  std::string family_, set_;
  i64 results_ = 0;
  i64 failures_ = 0;
  double worst_ = 0;  // of the bound
};

std::vector<Tally> tallies(const std::string& family);  // one per level
i64 failures();                                         // of all families that have ended
std::string text(std::initializer_list<i64> sizes);     // "1 x 7 x 33"

void check_pool(const Options& options);
void check_tiles(const Options& options);
void check_packing(const Options& options);
void check_linear(const Options& options);
void check_quantised(const Options& options);
void check_attention(const Options& options);
void check_paged(const Options& options);
void check_pointwise(const Options& options);

}  // namespace seatrial::check
