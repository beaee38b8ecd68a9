//===- TestEmitAssembly.cpp - Print kernels as assembly -------------------===//
//
// What instructions a level's kernels really consist of, for FileCheck: also
// for machines that cannot run them here.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "TestPasses.h"

#include "llq/Codegen/CPU.h"

#include "mlir/Pass/Pass.h"

using namespace mlir;
using namespace llq;

namespace {

struct TestEmitAssemblyPass
    : PassWrapper<TestEmitAssemblyPass, OperationPass<ModuleOp>> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(TestEmitAssemblyPass)

  StringRef getArgument() const override { return "llq-test-emit-assembly"; }
  StringRef getDescription() const override {
    return "Replace each module of kernels by its assembly on standard output";
  }

  void getDependentDialects(DialectRegistry &registry) const override {
    registerKernelDialects(registry);
  }

  void runOnOperation() override {
    for (auto kernels :
         llvm::make_early_inc_range(getOperation().getOps<ModuleOp>())) {
      auto name = kernels->getAttrOfType<StringAttr>("llq.level");
      const CPULevel *level = name ? findCPULevel(name.getValue()) : nullptr;
      if (!level) {
        kernels.emitError("has no known llq.level");
        return signalPassFailure();
      }
      FailureOr<std::string> text =
          emitAssemblyOrObject(kernels, *level, /*assembly=*/true);
      if (failed(text))
        return signalPassFailure();
      llvm::outs() << "// level " << level->name << '\n' << *text;
      kernels.erase();
    }
  }
};

} // namespace

void llq::test::registerTestPasses() {
  PassRegistration<TestEmitAssemblyPass>();
}
