// What this processor and this kernel allow.
#pragma once

#include <string>
#include <vector>

namespace seatrial {

struct CpuFeatures {
  bool avx2 = false;         // AVX2 and FMA, and the system saves the registers
  bool avx512 = false;       // F, BW, DQ, VL
  bool avx512_bf16 = false;
  bool avx512_vnni = false;
  bool amx = false;          // the CPU has it, for bf16 and int8
  bool amx_permitted = false;  // and the kernel gave this process the tile state
  bool neon = false;           // every arm64 processor
  bool neon_dotprod = false;   // sdot
  bool neon_i8mm = false;      // smmla, and sdot
  bool neon_bf16 = false;      // bfmmla and bfdot
};

const CpuFeatures& cpu_features();  // probed once
std::vector<std::string> cpu_feature_names();

// Asks Linux for the AMX tile state (arch_prctl); true when granted.
bool request_amx_permission();

}  // namespace seatrial
