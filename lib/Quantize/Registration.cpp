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

llvm::SmallVector<std::string> llq::getMethodNames() {
  llvm::SmallVector<std::string> names;
  auto add = [&](std::unique_ptr<mlir::Pass> pass) {
    llvm::StringRef name = pass->getArgument();
    name.consume_front("llq-quantize-");
    names.push_back(name.str());
  };
#define LLQ_METHOD(name) add(createQuantize##name##Pass());
#include "lib/Quantize/Methods.inc"
  llvm::sort(names);
  return names;
}
