//===- TinyModel.h - The bundled model in normal form -----------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_TEST_UNIT_CALIBRATION_TINYMODEL_H
#define LLQ_TEST_UNIT_CALIBRATION_TINYMODEL_H

#include "llq/Driver/LoadModel.h"
#include "llq/InitAll.h"
#include "llqrt/Tokenizer.h"

#include "mlir/IR/MLIRContext.h"
#include "llvm/Support/MemoryBuffer.h"

namespace llq::test {

struct TinyModel {
  TinyModel() : context(registry()) {
    LoadOptions options;
    options.tokenizer = LLQ_TINY_MODEL;
    options.config = LLQ_TINY_MODEL "/config.json";
    module = loadModel(LLQ_TINY_MODEL "/onnx/optimum-past-fp16/model.onnx",
                       &context, options);
    if (!module)
      llvm::report_fatal_error("the bundled model cannot be imported");
  }

  /// The tokens of the held-out text.
  static std::vector<int32_t> tokenizeHeldout() {
    std::string error;
    auto tokenizer = llqrt::Tokenizer::load(LLQ_TINY_MODEL, error);
    auto text = llvm::MemoryBuffer::getFile(LLQ_TINY_MODEL "/heldout.txt");
    std::vector<int32_t> ids;
    llvm::StringRef bytes = (*text)->getBuffer();
    tokenizer->encode({bytes.data(), bytes.size()},
                      {false, llqrt::SpecialTokens::None}, ids, error);
    return ids;
  }

  mlir::MLIRContext context;
  mlir::OwningOpRef<mlir::ModuleOp> module;

private:
  static const mlir::DialectRegistry &registry() {
    static const mlir::DialectRegistry *all = [] {
      registerAllPasses();
      auto *registry = new mlir::DialectRegistry;
      registerAllDialects(*registry);
      return registry;
    }();
    return *all;
  }
};

} // namespace llq::test

#endif // LLQ_TEST_UNIT_CALIBRATION_TINYMODEL_H
