// native_check [--quick] [FAMILY...]: every kernel on every instruction set of this machine against a plain
// definition in double.  Exit code 1 when a result is beyond its bound.
#include <cstdio>
#include <cstring>
#include <set>
#include <string>

#include "seatrial/cpu.h"
#include "seatrial/threads.h"
#include "tests/check.h"

using namespace seatrial;
using namespace seatrial::check;

namespace {

struct Family {
  const char* name;
  void (*check)(const Options&);
};

constexpr Family kFamilies[] = {
    {"pool", check_pool},
#ifdef SEATRIAL_HAVE_AMX
    {"tiles", check_tiles},
#endif
    {"packing", check_packing},     {"linear", check_linear},       {"quantised", check_quantised},
    {"attention", check_attention}, {"paged", check_paged},         {"pointwise", check_pointwise},
};

void introduce() {
  std::string names;
  for (const std::string& name : cpu_feature_names()) names += " " + name;
  if (names.empty()) names = " nothing special";
  std::printf("native_check: %d threads, processor:%s\n", usable_cpus(), names.c_str());
  std::fflush(stdout);  // before any fork
#ifdef SEATRIAL_EMULATED_TILES
  std::printf("level amx runs on a tile unit in software\n");
#endif
}

}  // namespace

int main(int count, char** arguments) {
  Options options;
  std::set<std::string> wanted;
  for (int i = 1; i < count; ++i) {
    if (std::strcmp(arguments[i], "--quick") == 0)
      options.quick = true;
    else
      wanted.insert(arguments[i]);
  }
  for (const std::string& name : wanted) {
    bool known = false;
    for (const Family& family : kFamilies) known = known || name == family.name;
    if (!known) {
      std::fprintf(stderr, "native_check: no family %s\n", name.c_str());
      return 2;
    }
  }
  introduce();
  for (const Family& family : kFamilies)
    if (wanted.empty() || wanted.count(family.name) != 0) family.check(options);
  if (failures() != 0) std::printf("%lld results are wrong\n", static_cast<long long>(failures()));
  return failures() == 0 ? 0 : 1;
}
