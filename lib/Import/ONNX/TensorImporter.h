//===- TensorImporter.h - TensorProto to attributes -------------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_LIB_IMPORT_ONNX_TENSORIMPORTER_H
#define LLQ_LIB_IMPORT_ONNX_TENSORIMPORTER_H

#include "Proto.h"

#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/BuiltinTypes.h"
#include "llvm/ADT/StringMap.h"

#include <string>

namespace llq {

/// MLIR type of an ONNX element type; null if there is none.
mlir::Type getElementType(mlir::MLIRContext *context, int64_t dataType);

/// A tensor as `onnx.Constant` holds it.
struct ImportedTensor {
  /// Type of the tensor.
  mlir::RankedTensorType type;
  /// dense, dense_resource or #llq.external; of bytes for narrow elements.
  mlir::TypedAttr value;
};

/// Turns TensorProtos into attributes. Errors go through `emitError`, one line
/// that starts with the tensor's name.
class TensorImporter {
public:
  using EmitError = llvm::function_ref<mlir::InFlightDiagnostic()>;

  /// `modelPath` is the path of the model file; external data must lie in its
  /// folder.
  TensorImporter(mlir::MLIRContext *context, llvm::StringRef modelPath);

  /// Imports `tensor` and takes its data away. `label` says what it is, e.g.
  /// "initializer 'w'".
  mlir::FailureOr<ImportedTensor> import(::onnx::TensorProto &tensor,
                                         const llvm::Twine &label,
                                         EmitError emitError);

private:
  /// A file with external data.
  struct File {
    std::string path;
    int64_t size = 0;
    int64_t modified = 0;
  };

  mlir::FailureOr<mlir::TypedAttr>
  importExternal(const ::onnx::TensorProto &tensor,
                 mlir::RankedTensorType stored, int64_t bytes,
                 llvm::StringRef label, EmitError emitError);
  mlir::FailureOr<const File *> findFile(llvm::StringRef location,
                                         llvm::StringRef label,
                                         EmitError emitError);

  mlir::MLIRContext *context;
  std::string folder;
  llvm::StringMap<File> files;
};

} // namespace llq

#endif // LLQ_LIB_IMPORT_ONNX_TENSORIMPORTER_H
