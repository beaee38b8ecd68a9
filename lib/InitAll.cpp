//===- InitAll.cpp - Registers everything LLQ has -------------------------===//
//
// One call for each component that has dialects, interfaces or passes.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llq/InitAll.h"
#include "dialects/LLQ/LLQ.h"
#include "dialects/ONNX/ONNX.h"
#include "llq/Calibration/Passes.h"
#include "llq/Codegen/CPU.h"
#include "llq/Codegen/Passes.h"
#include "llq/Conversion/Passes.h"
#include "llq/Packing/CPULayout.h"
#include "llq/Quantize/Passes.h"
#include "llq/Training/Passes.h"
#include "llq/Transforms/Passes.h"

#include "mlir/InitAllDialects.h"
#include "mlir/InitAllExtensions.h"
#include "mlir/InitAllPasses.h"
#include "llvm/Config/llvm-config.h"
#include "llvm/Support/CommandLine.h"

void llq::registerAllDialects(mlir::DialectRegistry &registry) {
  mlir::registerAllDialects(registry);
  mlir::registerAllExtensions(registry);
  registry.insert<LLQDialect, onnx::ONNXDialect>();
  registerCPULayouts(registry);
  registerCPUDecoders(registry);
  registerKernelDialects(registry);
}

void llq::registerAllPasses() {
  mlir::registerAllPasses();
  registerLLQCalibrationPasses();
  registerONNXToLLQPasses();
  registerQuantizePasses();
  registerLLQTrainingPasses();
  registerLLQTransformsPasses();
  registerLLQCodegenPasses();
}

void llq::setVersionPrinter(const char *tool) {
  llvm::cl::SetVersionPrinter([tool](llvm::raw_ostream &os) {
    os << tool << " " LLQ_VERSION " (LLVM " LLVM_VERSION_STRING ")\n";
  });
}
