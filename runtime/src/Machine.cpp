//===- Machine.cpp - What the host's CPU can do ---------------------------===//
//
// Levels come from the compiler's CPU detection, which also asks whether the
// operating system saves the wider registers. Cores come from sysfs.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llqrt/Machine.h"

#include "Text.h"

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <sched.h>
#include <set>

#if defined(__aarch64__)
#include <sys/auxv.h>
#endif

using namespace llqrt;

const char *llqrt::hostMachine() {
#if defined(__x86_64__)
  return "x86-64";
#elif defined(__aarch64__)
  return "aarch64";
#else
  return "";
#endif
}

/// Every level that this runtime knows on its machine, in ascending order.
static std::vector<std::string> knownLevels() {
#if defined(__x86_64__)
  return {"x86-64-v2", "x86-64-v3", "x86-64-v4", "x86-64-v4-vbmi2"};
#elif defined(__aarch64__)
  return {"armv8.6-a"};
#else
  return {};
#endif
}

std::vector<std::string> llqrt::hostLevels() {
  std::vector<std::string> levels = knownLevels();
  size_t supported = 0;
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("popcnt"))
    supported = 1;
  if (supported == 1 && __builtin_cpu_supports("x86-64-v3"))
    supported = 2;
  if (supported == 2 && __builtin_cpu_supports("x86-64-v4") &&
      __builtin_cpu_supports("avx512vnni"))
    supported = 3;
  if (supported == 3 && __builtin_cpu_supports("avx512vbmi") &&
      __builtin_cpu_supports("avx512vbmi2") &&
      __builtin_cpu_supports("avx512bitalg"))
    supported = 4;
#elif defined(__aarch64__)
  // FPHP, ASIMDHP and ASIMDDP of AT_HWCAP, I8MM of AT_HWCAP2.
  constexpr unsigned long needed = 1ul << 9 | 1ul << 10 | 1ul << 20;
  constexpr unsigned long needed2 = 1ul << 13;
  if ((getauxval(AT_HWCAP) & needed) == needed &&
      (getauxval(AT_HWCAP2) & needed2) == needed2)
    supported = 1;
#endif
  levels.resize(supported);
  return levels;
}

Status llqrt::usableLevels(std::vector<std::string> &levels) {
  levels = hostLevels();
  const char *limit = std::getenv("LLQ_CPU_LEVEL");
  if (!limit || !*limit)
    return {};
  auto found = std::find(levels.begin(), levels.end(), limit);
  if (found != levels.end()) {
    levels.erase(found + 1, levels.end());
    return {};
  }
  std::vector<std::string> known = knownLevels();
  bool exists = std::find(known.begin(), known.end(), limit) != known.end();
  std::string supported;
  for (const std::string &level : levels)
    supported += (supported.empty() ? "" : ", ") + level;
  return Status::unsupported(
      "LLQ_CPU_LEVEL=" + quoted(limit) +
      (exists ? " is beyond this CPU" : " is no known level") +
      ", it supports: " + (supported.empty() ? "none" : supported));
}

std::vector<int> llqrt::allowedCpus() {
  std::vector<int> cpus;
  // The kernel wants a set as large as its own: try growing ones.
  for (size_t count = CPU_SETSIZE; count <= size_t(1) << 18; count *= 2) {
    std::unique_ptr<cpu_set_t, void (*)(cpu_set_t *)> set(
        CPU_ALLOC(count), [](cpu_set_t *set) { CPU_FREE(set); });
    size_t bytes = CPU_ALLOC_SIZE(count);
    if (!set || sched_getaffinity(0, bytes, set.get()) != 0)
      continue;
    for (size_t cpu = 0; cpu < count; ++cpu)
      if (CPU_ISSET_S(cpu, bytes, set.get()))
        cpus.push_back(static_cast<int>(cpu));
    break;
  }
  return cpus;
}

/// CPUs that the control group grants on average, rounded up; 0: no limit.
static unsigned cpuQuota() {
  std::ifstream file("/sys/fs/cgroup/cpu.max");
  std::string quota;
  double period = 0;
  if (!(file >> quota >> period) || quota == "max" || period <= 0)
    return 0;
  double cpus = std::strtod(quota.c_str(), nullptr) / period;
  if (!(cpus > 0) || cpus > 1e6)
    return 0;
  return std::max(1u, static_cast<unsigned>(cpus + 0.999));
}

unsigned llqrt::physicalCores() {
  std::vector<int> cpus = allowedCpus();
  // Hyperthreads of one core list the same siblings.
  std::set<std::string> cores;
  for (int cpu : cpus) {
    std::ifstream file("/sys/devices/system/cpu/cpu" + std::to_string(cpu) +
                       "/topology/thread_siblings_list");
    std::string siblings;
    if (!std::getline(file, siblings))
      siblings = "cpu" + std::to_string(cpu);
    cores.insert(siblings);
  }
  size_t count = std::max<size_t>(1, cores.size());
  if (unsigned quota = cpuQuota())
    count = std::min<size_t>(count, quota);
  return static_cast<unsigned>(std::min<size_t>(count, 1024));
}
