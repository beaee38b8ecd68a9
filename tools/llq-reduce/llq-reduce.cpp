//===- llq-reduce.cpp - Shrinks a failing module --------------------------===//
//
// Shrinks a module while a test script still finds it interesting.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llq/InitAll.h"

#include "mlir/IR/DialectRegistry.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/Tools/mlir-reduce/MlirReduceMain.h"

int main(int argc, char **argv) {
  llq::setVersionPrinter("llq-reduce");
  llq::registerAllPasses();
  mlir::DialectRegistry registry;
  llq::registerAllDialects(registry);
  mlir::MLIRContext context(registry);
  return mlir::failed(mlir::mlirReduceMain(argc, argv, context));
}
