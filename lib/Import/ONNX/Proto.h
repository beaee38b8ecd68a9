//===- Proto.h - The protobuf classes of ONNX -------------------*- C++ -*-===//
//
// libonnx's generated classes; its checker is not used, it refuses newer files.
// Its schema ends at IR version 8: enumerators added since then are named here.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_LIB_IMPORT_ONNX_PROTO_H
#define LLQ_LIB_IMPORT_ONNX_PROTO_H

#include <onnx/onnx_pb.h>

namespace llq::proto {

/// Values of TensorProto.DataType that the schema does not have.
enum NewDataType : int32_t {
  kFloat8E4M3FN = 17,
  kFloat8E4M3FNUZ = 18,
  kFloat8E5M2 = 19,
  kFloat8E5M2FNUZ = 20,
  kUInt4 = 21,
  kInt4 = 22,
  kUInt2 = 25,
  kInt2 = 26,
};

/// Field of FunctionProto with the default values of attributes.
inline constexpr int kFunctionAttributeField = 11;

} // namespace llq::proto

#endif // LLQ_LIB_IMPORT_ONNX_PROTO_H
