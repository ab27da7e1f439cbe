// One table of kernels per level, built from what was compiled and what this machine allows.
#include <stdexcept>
#include <string>

#include "seatrial/cpu.h"
#include "seatrial/kernels.h"

namespace seatrial {
namespace {

KernelTable table_generic() {
  return {Level::generic, linear_generic(), round_generic(), quantised_generic(), attention_generic(), nullptr, decode_generic(),
          pointwise_generic()};
}

#ifdef SEATRIAL_HAVE_AVX2
KernelTable table_avx2() {
  return {Level::avx2, linear_avx2(), round_avx2(), quantised_avx2(), attention_avx2(), nullptr, decode_avx2(), pointwise_avx2()};
}
#endif

#ifdef SEATRIAL_HAVE_AVX512
KernelTable table_avx512() {
  KernelTable table = {Level::avx512, linear_avx512(), round_avx512(), quantised_avx512(), attention_avx512(), nullptr,
                       decode_avx512(), pointwise_avx512()};
#ifdef SEATRIAL_HAVE_AVX512BF16
  if (cpu_features().avx512_bf16) {
    table.linear.bf16 = linear_avx512bf16();
    table.linear.bf16_takes_bits = true;
    table.quantised.int4_bits = int4_avx512bf16();
    static const AttentionKernels attention = attention_avx512bf16();
    table.attention_bf16 = &attention;
  }
#endif
#ifdef SEATRIAL_HAVE_AVX512VNNI
  if (cpu_features().avx512_vnni) use_avx512vnni(table.quantised);
#endif
  return table;
}
#endif

#ifdef SEATRIAL_HAVE_AMX
KernelTable table_amx() {
  static const AttentionKernels attention = attention_amx();
  KernelTable table = table_avx512();
  table.level = Level::amx;
  table.linear.bf16_tiles = linear_amx();
  table.quantised.int8_tiles = int8_amx();
  table.quantised.int4_bits = int4_amx();
  table.attention_bf16 = &attention;
  return table;
}
#endif

#ifdef SEATRIAL_HAVE_NEON
KernelTable table_neon() {
  KernelTable table = {Level::neon,  linear_neon(), round_neon(),    quantised_neon(), attention_neon(),
                       nullptr,      decode_neon(), pointwise_neon()};
#ifdef SEATRIAL_HAVE_NEONDOTPROD
  if (cpu_features().neon_dotprod) table.quantised.int8 = int8_neondotprod();
#endif
#ifdef SEATRIAL_HAVE_NEONI8MM
  if (cpu_features().neon_i8mm) table.quantised.int8 = int8_neoni8mm();
#endif
#ifdef SEATRIAL_HAVE_NEONBF16
  if (cpu_features().neon_bf16) {
    table.linear.bf16 = linear_neonbf16();
    table.linear.bf16_takes_bits = true;
  }
#endif
  return table;
}
#endif

KernelTable build(Level level) {
  switch (level) {
#ifdef SEATRIAL_HAVE_AVX2
    case Level::avx2:
      return table_avx2();
#endif
#ifdef SEATRIAL_HAVE_AVX512
    case Level::avx512:
      return table_avx512();
#endif
#ifdef SEATRIAL_HAVE_AMX
    case Level::amx:
      return table_amx();
#endif
#ifdef SEATRIAL_HAVE_NEON
    case Level::neon:
      return table_neon();
#endif
    default:
      return table_generic();
  }
}

}  // namespace

const char* level_name(Level level) {
  static constexpr const char* names[kLevels] = {"generic", "avx2", "avx512", "amx", "neon"};
  return names[static_cast<int>(level)];
}

bool level_compiled(Level level) {
  switch (level) {
    case Level::generic:
      return true;
#ifdef SEATRIAL_HAVE_AVX2
    case Level::avx2:
      return true;
#endif
#ifdef SEATRIAL_HAVE_AVX512
    case Level::avx512:
      return true;
#endif
#ifdef SEATRIAL_HAVE_AMX
    case Level::amx:
      return true;
#endif
#ifdef SEATRIAL_HAVE_NEON
    case Level::neon:
      return true;
#endif
    default:
      return false;
  }
}

bool level_available(Level level) {
  if (!level_compiled(level)) return false;
  const CpuFeatures& cpu = cpu_features();
  switch (level) {
    case Level::generic:
      return true;
    case Level::avx2:
      return cpu.avx2;
    case Level::avx512:
      return cpu.avx512;
    case Level::amx:
      return cpu.amx_permitted;
    case Level::neon:
      return cpu.neon;
  }
  return false;
}

const KernelTable& kernel_table(Level level) {
  if (!level_available(level))
    throw std::invalid_argument(std::string("instruction set ") + level_name(level) + " is not available here");
  static const KernelTable generic = build(Level::generic);
  static const KernelTable avx2 = build(level_available(Level::avx2) ? Level::avx2 : Level::generic);
  static const KernelTable avx512 = build(level_available(Level::avx512) ? Level::avx512 : Level::generic);
  static const KernelTable amx = build(level_available(Level::amx) ? Level::amx : Level::generic);
  static const KernelTable neon = build(level_available(Level::neon) ? Level::neon : Level::generic);
  switch (level) {
    case Level::avx2:
      return avx2;
    case Level::avx512:
      return avx512;
    case Level::amx:
      return amx;
    case Level::neon:
      return neon;
    default:
      return generic;
  }
}

}  // namespace seatrial
