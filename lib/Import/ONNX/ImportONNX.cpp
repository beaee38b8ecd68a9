//===- ImportONNX.cpp - Read an ONNX file ---------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "GraphImporter.h"

#include "dialects/LLQ/LLQ.h"
#include "llq/Import/ONNX.h"

#include "llvm/Support/MemoryBuffer.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <google/protobuf/stubs/logging.h>

using namespace mlir;

// Inside the namespace `onnx` is the dialect, `::onnx` the protobuf classes.
namespace llq {

OwningOpRef<ModuleOp> importONNX(StringRef path, MLIRContext *context) {
  context->loadDialect<LLQDialect, onnx::ONNXDialect, func::FuncDialect>();
  Location location = FileLineColLoc::get(context, path, 0, 0);
  auto buffer = llvm::MemoryBuffer::getFile(path, /*IsText=*/false,
                                            /*RequiresNullTerminator=*/false);
  if (!buffer) {
    emitError(location) << "cannot be read: " << buffer.getError().message();
    return nullptr;
  }
  if ((*buffer)->getBufferSize() > size_t(INT_MAX)) {
    emitError(location)
        << "is larger than 2 GiB, the limit of the format: keep "
           "the weights in external data";
    return nullptr;
  }

  ::onnx::ModelProto model;
  {
    google::protobuf::LogSilencer silencer;
    google::protobuf::io::ArrayInputStream input(
        (*buffer)->getBufferStart(), int((*buffer)->getBufferSize()));
    google::protobuf::io::CodedInputStream coded(&input);
    coded.SetTotalBytesLimit(INT_MAX);
    if (!model.ParseFromCodedStream(&coded) || !coded.ConsumedEntireMessage()) {
      emitError(location) << "is not an ONNX model, or it is damaged";
      return nullptr;
    }
  }
  // The protobuf has copied everything; give the pages back.
  buffer->reset();
  FailureOr<OwningOpRef<ModuleOp>> module =
      GraphImporter(context, path, model).import();
  return failed(module) ? nullptr : std::move(*module);
}

} // namespace llq
