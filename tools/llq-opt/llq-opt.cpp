//===- llq-opt.cpp - Runs passes over MLIR --------------------------------===//
//
// Runs any pass or pipeline of LLQ and MLIR on a module: what llq-compile does,
// one step at a time. Loads plugins with --load-pass-plugin, and writes
// bytecode to an output file that is named .mlirbc.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llq/InitAll.h"

#include "mlir/IR/DialectRegistry.h"
#include "mlir/Tools/mlir-opt/MlirOptMain.h"
#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/SmallVector.h"

#ifdef LLQ_TEST_PASSES
#include "test/lib/TestPasses.h"
#endif

/// Whether the arguments ask for an output file whose name says bytecode
/// (`-o q.mlirbc`, `-o=q.mlirbc`), which MlirOptMain would fill with text.
static bool wantsBytecode(llvm::ArrayRef<char *> arguments) {
  bool wanted = false, isOutput = false;
  for (llvm::StringRef argument : arguments) {
    llvm::StringRef name = argument;
    isOutput |= name.consume_front("--o=") || name.consume_front("-o=");
    wanted |= isOutput && name.ends_with(".mlirbc");
    isOutput = argument == "-o" || argument == "--o";
    if (argument.ltrim('-').starts_with("emit-bytecode"))
      return false;
  }
  return wanted;
}

int main(int argc, char **argv) {
  llvm::SmallVector<char *> arguments(argv, argv + argc);
  static char emitBytecode[] = "--emit-bytecode";
  if (wantsBytecode(arguments))
    arguments.push_back(emitBytecode);

  llq::setVersionPrinter("llq-opt");
  llq::registerAllPasses();
#ifdef LLQ_TEST_PASSES
  llq::test::registerTestPasses();
#endif
  mlir::DialectRegistry registry;
  llq::registerAllDialects(registry);
  return mlir::asMainReturnCode(
      mlir::MlirOptMain(arguments.size(), arguments.data(),
                        "LLQ modular optimizer driver\n", registry));
}
