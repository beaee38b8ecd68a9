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
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/raw_ostream.h"

#ifdef LLQ_TEST_PASSES
#include "test/lib/TestPasses.h"
#endif

/// The output file that the arguments ask for (`-o q.mlirbc`, `-o=q.mlirbc`).
static llvm::StringRef findOutput(llvm::ArrayRef<char *> arguments) {
  llvm::StringRef output;
  bool isOutput = false;
  for (llvm::StringRef argument : arguments) {
    llvm::StringRef name = argument;
    if (isOutput || name.consume_front("--o=") || name.consume_front("-o="))
      output = name;
    isOutput = !isOutput && (argument == "-o" || argument == "--o");
  }
  return output;
}

static bool asksForBytecode(llvm::StringRef argument) {
  return argument.ltrim('-').starts_with("emit-bytecode");
}

int main(int argc, char **argv) {
  llvm::SmallVector<char *> arguments(argv, argv + argc);
  llvm::StringRef output = findOutput(arguments);
  // MlirOptMain empties the output while the input is still mapped.
  for (llvm::StringRef argument : llvm::drop_begin(arguments)) {
    if (argument.starts_with("-") || argument.data() == output.data() ||
        !llvm::sys::fs::equivalent(argument, output))
      continue;
    llvm::errs() << "llq-opt: error: -o " << output
                 << " is the input as well, give another file\n";
    return 2;
  }
  // MlirOptMain would fill a file of bytecode with text.
  static char emitBytecode[] = "--emit-bytecode";
  if (output.ends_with(".mlirbc") && llvm::none_of(arguments, asksForBytecode))
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
