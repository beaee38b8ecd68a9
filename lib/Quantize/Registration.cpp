//===- Registration.cpp - Registers every method --------------------------===//
//
// From the td files of this folder; see CMakeLists.txt.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llq/Quantize/Passes.h"

namespace llq {
namespace {
#define GEN_PASS_REGISTRATION
#include "lib/Quantize/Passes.h.inc"
} // namespace
} // namespace llq

void llq::registerQuantizePasses() { registerQuantizeMethodPasses(); }
