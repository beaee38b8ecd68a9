//===- llq-opt.cpp - Runs passes over MLIR --------------------------------===//
//
// Runs any pass or pipeline of LLQ and MLIR on a module: what llq-compile does,
// one step at a time. Loads plugins with --load-pass-plugin.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llq/InitAll.h"

#include "mlir/IR/DialectRegistry.h"
#include "mlir/Tools/mlir-opt/MlirOptMain.h"

int main(int argc, char **argv) {
  llq::setVersionPrinter("llq-opt");
  llq::registerAllPasses();
  mlir::DialectRegistry registry;
  llq::registerAllDialects(registry);
  return mlir::asMainReturnCode(mlir::MlirOptMain(
      argc, argv, "LLQ modular optimizer driver\n", registry));
}
