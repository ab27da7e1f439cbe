// How many CPUs this process may use.  Containers are usually limited by a cgroup quota that
// hardware_concurrency does not show; more threads than quota means being throttled in mid-kernel.
#include <sched.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <limits>
#include <sstream>
#include <string>

#include "seatrial/threads.h"

namespace seatrial {
namespace {

constexpr int kMostThreads = 256;

int affinity_cpus() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) != 0) return 1;
  return std::max(1, CPU_COUNT(&set));
}

double quota_v2(const std::string& folder) {
  std::ifstream file(folder + "/cpu.max");
  std::string quota;
  double period = 0;
  if (!(file >> quota >> period) || quota == "max" || period <= 0) return std::numeric_limits<double>::infinity();
  return std::strtod(quota.c_str(), nullptr) / period;
}

double quota_v1(const std::string& folder) {
  std::ifstream quota_file(folder + "/cpu.cfs_quota_us");
  std::ifstream period_file(folder + "/cpu.cfs_period_us");
  double quota = 0;
  double period = 0;
  if (!(quota_file >> quota) || !(period_file >> period) || quota <= 0 || period <= 0)
    return std::numeric_limits<double>::infinity();
  return quota / period;
}

// The tightest quota from this group up to the root; lines of /proc/self/cgroup are "id:controllers:path".
double cgroup_quota() {
  double tightest = std::min(quota_v2("/sys/fs/cgroup"), quota_v1("/sys/fs/cgroup/cpu"));
  std::ifstream groups("/proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {
    const std::size_t first = line.find(':');
    const std::size_t second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    std::string path = line.substr(second + 1);
    while (path.size() > 1) {
      if (controllers.empty()) tightest = std::min(tightest, quota_v2("/sys/fs/cgroup" + path));
      if (controllers.find("cpu") != std::string::npos)
        tightest = std::min(tightest, quota_v1("/sys/fs/cgroup/cpu" + path));
      path.resize(path.rfind('/'));
    }
  }
  return tightest;
}

}  // namespace

int usable_cpus() {
  if (const char* wish = std::getenv("SEATRIAL_THREADS")) {
    const long threads = std::strtol(wish, nullptr, 10);
    if (threads >= 1) return static_cast<int>(std::min<long>(threads, kMostThreads));
  }
  const double quota = cgroup_quota();
  const int cpus = std::min(affinity_cpus(), kMostThreads);
  if (quota >= cpus) return cpus;
  return std::max(1, static_cast<int>(std::ceil(quota)));
}

}  // namespace seatrial
