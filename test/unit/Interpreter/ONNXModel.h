//===- ONNXModel.h - Run ONNX files in tests -------------------*- C++ -*-===//
//
// Reads .onnx and .pb files with libonnx's protobuf classes and evaluates
// graphs node by node, so that the interpreter is tested without the importer.
//
// SPDX-License-Identifier: Apache-2.0
//===----------------------------------------------------------------------===//

#ifndef LLQ_TEST_UNIT_INTERPRETER_ONNXMODEL_H
#define LLQ_TEST_UNIT_INTERPRETER_ONNXMODEL_H

#include "llq/Interpreter/Interpreter.h"

#include <filesystem>
#include <map>
#include <onnx/onnx_pb.h>

namespace llq::interp::test {

using Tensors = std::map<std::string, Tensor, std::less<>>;

/// Parses a ModelProto file.
Result<onnx::ModelProto> readModel(const std::filesystem::path &path);
/// Parses a TensorProto file; `name` receives the tensor's name.
Result<Tensor> readTensor(const std::filesystem::path &path, std::string &name);

/// Attributes without external data.
Result<Attributes> readAttributes(const onnx::NodeProto &node);
/// The imported version of a domain's operators.
int64_t opsetOf(const onnx::ModelProto &model, const std::string &domain);

/// The first reason why the interpreter cannot be expected to run the model
/// (an operator or type outside its scope); empty if there is none.
std::string unsupportedReason(const onnx::ModelProto &model);

/// Evaluates the graph. `folder` is where external data lies.
Result<Tensors> runModel(const onnx::ModelProto &model,
                         const std::filesystem::path &folder, Tensors inputs,
                         const EvalOptions &options = {});

/// Empty if the tensors agree in type, shape and, within the tolerances,
/// values; otherwise what differs. Integers must be equal.
std::string compare(const Tensor &actual, const Tensor &expected,
                    double relative, double absolute);

} // namespace llq::interp::test

#endif // LLQ_TEST_UNIT_INTERPRETER_ONNXMODEL_H
