#include "seatrial/cpu.h"

#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#endif

namespace seatrial {
namespace {

#if defined(__x86_64__)

unsigned long long enabled_state() {  // XCR0: which registers the system saves on a context switch
  unsigned low = 0;
  unsigned high = 0;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (static_cast<unsigned long long>(high) << 32) | low;
}

bool bit(unsigned value, int position) { return ((value >> position) & 1U) != 0; }

CpuFeatures probe() {
  CpuFeatures f;
  unsigned a = 0;
  unsigned b = 0;
  unsigned c = 0;
  unsigned d = 0;
  if (__get_cpuid(1, &a, &b, &c, &d) == 0) return f;
  const bool fma = bit(c, 12);
  const bool osxsave = bit(c, 27);
  const bool avx = bit(c, 28);
  if (!osxsave || !avx) return f;
  const unsigned long long state = enabled_state();
  const bool ymm = (state & 0x6) == 0x6;
  const bool zmm = (state & 0xE6) == 0xE6;
  const bool tiles = (state & 0x60000) == 0x60000;
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d) == 0) return f;
  f.avx2 = ymm && fma && bit(b, 5);
  f.avx512 = f.avx2 && zmm && bit(b, 16) && bit(b, 17) && bit(b, 30) && bit(b, 31);
  f.avx512_vnni = f.avx512 && bit(c, 11);
  const bool amx = tiles && bit(d, 22) && bit(d, 24) && bit(d, 25);
  if (__get_cpuid_count(7, 1, &a, &b, &c, &d) != 0) f.avx512_bf16 = f.avx512 && bit(a, 5);
#ifdef SEATRIAL_EMULATED_TILES  // the test program has the tile unit in software; what else AMX needs must be real
  (void)amx;
  f.amx = f.amx_permitted = f.avx512_bf16 && f.avx512_vnni;
#else
  f.amx = f.avx512_bf16 && f.avx512_vnni && amx;
  f.amx_permitted = f.amx && request_amx_permission();
#endif
  return f;
}

#elif defined(__aarch64__) && defined(__linux__)

// Bits of the auxiliary vector, which the kernel sets for what the processor has and the system allows; older
// headers lack some of the names.
CpuFeatures probe() {
  constexpr unsigned long kAsimd = 1UL << 1;
  constexpr unsigned long kAsimdDotProduct = 1UL << 20;
  constexpr unsigned long kI8mm = 1UL << 13;
  constexpr unsigned long kBf16 = 1UL << 14;
  const unsigned long first = getauxval(AT_HWCAP);
  const unsigned long second = getauxval(AT_HWCAP2);
  CpuFeatures f;
  f.neon = (first & kAsimd) != 0;
  f.neon_dotprod = f.neon && (first & kAsimdDotProduct) != 0;
  f.neon_i8mm = f.neon_dotprod && (second & kI8mm) != 0;
  f.neon_bf16 = f.neon && (second & kBf16) != 0;
  return f;
}

#else

CpuFeatures probe() { return {}; }

#endif

}  // namespace

const CpuFeatures& cpu_features() {
  static const CpuFeatures features = probe();
  return features;
}

std::vector<std::string> cpu_feature_names() {
  const CpuFeatures& f = cpu_features();
  std::vector<std::string> names;
  if (f.avx2) names.emplace_back("avx2+fma");
  if (f.avx512) names.emplace_back("avx512(f,bw,dq,vl)");
  if (f.avx512_bf16) names.emplace_back("avx512_bf16");
  if (f.avx512_vnni) names.emplace_back("avx512_vnni");
  if (f.amx) names.emplace_back(f.amx_permitted ? "amx(bf16,int8)" : "amx(bf16,int8) (refused by the kernel)");
  if (f.neon) names.emplace_back("neon");
  if (f.neon_dotprod) names.emplace_back("neon_dotprod");
  if (f.neon_i8mm) names.emplace_back("neon_i8mm");
  if (f.neon_bf16) names.emplace_back("neon_bf16");
  return names;
}

}  // namespace seatrial
