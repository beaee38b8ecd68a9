//===- Machine.h - What the host's CPU can do -------------------*- C++ -*-===//
//
// Instruction set levels and core counts of the machine that runs the process.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQRT_MACHINE_H
#define LLQRT_MACHINE_H

#include "llqrt/Status.h"

#include <string>
#include <vector>

namespace llqrt {

/// x86-64 | aarch64, as in Code.machine of a model file; empty: neither.
const char *hostMachine();

/// Levels of hostMachine() that this CPU and its operating system support, the
/// most capable last. x86-64-v4 here means AVX-512 F, BW, CD, DQ, VL and VNNI,
/// x86-64-v4-vbmi2 also VBMI, VBMI2 and BITALG.
std::vector<std::string> hostLevels();

/// hostLevels() up to the one that the environment variable LLQ_CPU_LEVEL
/// names. Fails if it names a level that does not exist or that the host lacks.
Status usableLevels(std::vector<std::string> &levels);

/// Logical CPUs on which this process may run, in ascending order.
std::vector<int> allowedCpus();

/// Physical cores among allowedCpus(), at most what the control group's CPU
/// quota amounts to; at least 1. The default number of threads.
unsigned physicalCores();

} // namespace llqrt

#endif // LLQRT_MACHINE_H
