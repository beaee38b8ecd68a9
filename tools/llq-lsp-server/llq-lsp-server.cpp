//===- llq-lsp-server.cpp - Language server for MLIR files ----------------===//
//
// Tells an editor about the ops, types and diagnostics in an .mlir file.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llq/InitAll.h"

#include "mlir/IR/DialectRegistry.h"
#include "mlir/Tools/mlir-lsp-server/MlirLspServerMain.h"

int main(int argc, char **argv) {
  llq::setVersionPrinter("llq-lsp-server");
  mlir::DialectRegistry registry;
  llq::registerAllDialects(registry);
  return mlir::failed(mlir::MlirLspServerMain(argc, argv, registry));
}
