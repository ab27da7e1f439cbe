// What this processor can do at most: products from registers, and reading memory.  Compiled for the machine it runs on.
#include <immintrin.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <thread>
#include <vector>

#ifdef __AMX_TILE__
#include <sys/syscall.h>
#include <unistd.h>
#endif

template <typename Body>
double best_seconds(const Body& body) {
  double best = 1e9;
  for (int i = 0; i < 15; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    body();
    best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
  }
  return best;
}

constexpr long kRounds = 2000000;

#ifdef __AMX_TILE__
void tiles(bool int8) {
  alignas(64) unsigned char config[64] = {1};
  for (int t = 0; t < 8; ++t) config[16 + 2 * t] = 64, config[48 + t] = 16;
  _tile_loadconfig(config);
  for (long i = 0; i < kRounds / 20; ++i) {
    if (int8) {
      _tile_dpbssd(0, 4, 6), _tile_dpbssd(1, 4, 7), _tile_dpbssd(2, 5, 6), _tile_dpbssd(3, 5, 7);
    } else {
      _tile_dpbf16ps(0, 4, 6), _tile_dpbf16ps(1, 4, 7), _tile_dpbf16ps(2, 5, 6), _tile_dpbf16ps(3, 5, 7);
    }
  }
  _tile_release();
}
#endif

#define TWELVE(op) op(0) op(1) op(2) op(3) op(4) op(5) op(6) op(7) op(8) op(9) op(10) op(11)

#ifdef __AVX512F__
template <typename Step>
void vectors(const Step& step) {
  __m512i s[12];
  for (auto& sum : s) sum = _mm512_setzero_si512();
  for (long i = 0; i < kRounds; ++i) {
#define STEP(n) s[n] = step(s[n]);
    TWELVE(STEP)
#define HOLD(n) __asm__ volatile("" : "+v"(s[n]));
    TWELVE(HOLD)
  }
}
#endif

double read_rate(const std::vector<char>& data, int threads) {
  const std::size_t part = data.size() / threads / 64 * 64;
  const auto read = [&](int thread) {
    long long sums[8] = {};
    for (std::size_t at = thread * part; at < (thread + 1) * part; at += 64)
      for (int i = 0; i < 8; ++i) {
        long long word;
        std::memcpy(&word, &data[at + i * 8], 8);
        sums[i] += word;
      }
    for (long long& sum : sums) __asm__ volatile("" : "+r"(sum));
  };
  const double seconds = best_seconds([&] {
    std::vector<std::thread> others;
    for (int t = 1; t < threads; ++t) others.emplace_back(read, t);
    read(0);
    for (auto& other : others) other.join();
  });
  return static_cast<double>(part * threads) / seconds / 1e9;
}

int main(int count, char** arguments) {
  const int threads = count > 1 ? std::atoi(arguments[1]) : 1;
  double bf16 = 0;
  double int8 = 0;
  const char* unit = "none";
#if defined(__AMX_TILE__)
  unit = "amx";
  syscall(SYS_arch_prctl, 0x1023, 18);
  bf16 = kRounds / 20 * 4 * 2.0 * 16 * 16 * 32 / best_seconds([] { tiles(false); }) / 1e9;
  int8 = kRounds / 20 * 4 * 2.0 * 16 * 16 * 64 / best_seconds([] { tiles(true); }) / 1e9;
#elif defined(__AVX512BF16__) && defined(__AVX512VNNI__)
  unit = "avx512";
  const __m512i one = _mm512_set1_epi16(0x3f80);
  bf16 = kRounds * 12 * 64.0 / best_seconds([&] {
    vectors([&](__m512i s) {
      return _mm512_castps_si512(_mm512_dpbf16_ps(_mm512_castsi512_ps(s), (__m512bh)one, (__m512bh)one));
    });
  }) / 1e9;
  int8 = kRounds * 12 * 128.0 / best_seconds([&] {
    vectors([&](__m512i s) { return _mm512_dpbusd_epi32(s, one, one); });
  }) / 1e9;
#endif
  const std::vector<char> data(std::size_t{1} << 30, 1);
  std::printf("{\"unit\": \"%s\", \"bf16\": %.1f, \"int8\": %.1f, \"read\": %.2f, \"read_one_thread\": %.2f}\n", unit,
              bf16 * threads, int8 * threads, read_rate(data, threads), read_rate(data, 1));
}
