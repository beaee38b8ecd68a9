//===- ONNXDialect.cpp - The onnx dialect ---------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "dialects/ONNX/ONNX.h"

#include "mlir/IR/Builders.h"
#include "mlir/IR/DialectImplementation.h"
#include "llvm/ADT/TypeSwitch.h"
#include "llvm/Support/CheckedArithmetic.h"

using namespace mlir;
using namespace llq::onnx;

#include "dialects/ONNX/ONNXDialect.cpp.inc"

#define GET_TYPEDEF_CLASSES
#include "dialects/ONNX/ONNXTypes.cpp.inc"

/// Checks the number of inputs and outputs of an operator.
static LogicalResult verifyOperator(Operation *op, unsigned minInputs,
                                    unsigned maxInputs, unsigned maxOutputs) {
  unsigned inputs = op->getNumOperands(), outputs = op->getNumResults();
  if (inputs < minInputs || inputs > maxInputs)
    return op->emitOpError("has ")
           << inputs << " inputs, needs "
           << (inputs < minInputs ? "at least " : "at most ")
           << (inputs < minInputs ? minInputs : maxInputs);
  if (outputs < 1 || outputs > maxOutputs)
    return op->emitOpError("has ")
           << outputs << " outputs, needs 1 to " << maxOutputs;
  return success();
}

#define GET_OP_CLASSES
#include "dialects/ONNX/ONNXOps.cpp.inc"

void ONNXDialect::registerTypes() {
  addTypes<
#define GET_TYPEDEF_LIST
#include "dialects/ONNX/ONNXTypes.cpp.inc"
      >();
}

void ONNXDialect::initialize() {
  registerTypes();
  addOperations<
#define GET_OP_LIST
#include "dialects/ONNX/ONNXOps.cpp.inc"
      >();
}

//===----------------------------------------------------------------------===//
// Names
//===----------------------------------------------------------------------===//

static constexpr llvm::StringLiteral kContribPrefix = "contrib.";

StringRef llq::onnx::getDomain(Operation *op) {
  if (auto custom = dyn_cast<CustomOp>(op))
    return custom.getDomain();
  return op->getName().stripDialect().starts_with(kContribPrefix)
             ? StringRef(kContribDomain)
             : StringRef(kStandardDomain);
}

StringRef llq::onnx::getOperatorName(Operation *op) {
  if (auto custom = dyn_cast<CustomOp>(op))
    return custom.getOpType();
  StringRef name = op->getName().stripDialect();
  name.consume_front(kContribPrefix);
  return name;
}

std::string llq::onnx::getOperationName(MLIRContext *context, StringRef domain,
                                        StringRef operatorName) {
  std::string name = "onnx.";
  if (domain == kContribDomain)
    name += kContribPrefix;
  else if (domain != kStandardDomain)
    return "";
  name += operatorName;
  return RegisteredOperationName::lookup(name, context) ? name : "";
}

StringRef llq::onnx::getNodeName(Location location) {
  auto name = location->findInstanceOf<NameLoc>();
  return name ? name.getName().strref() : StringRef();
}

StringRef llq::onnx::getNodeName(Operation *op) {
  return getNodeName(op->getLoc());
}

//===----------------------------------------------------------------------===//
// Verifiers
//===----------------------------------------------------------------------===//

LogicalResult ConstantOp::verify() {
  auto type = cast<RankedTensorType>(getResult().getType());
  if (getValue().getType() == type)
    return success();
  auto stored = dyn_cast<RankedTensorType>(getValue().getType());
  Type element = type.getElementType();
  if (!stored || !element.isInteger() || element.getIntOrFloatBitWidth() >= 8)
    return emitOpError("has result type ")
           << type << " but its value has " << getValue().getType();
  std::optional<int64_t> bits = element.getIntOrFloatBitWidth();
  for (int64_t dim : type.getShape())
    if (bits)
      bits = llvm::checkedMul(*bits, dim);
  int64_t bytes = bits ? llvm::divideCeil(*bits, 8) : -1;
  if (stored.getRank() != 1 || stored.getElementTypeBitWidth() != 8 ||
      stored.getDimSize(0) != bytes)
    return emitOpError("of type ") << type << " needs a vector of " << bytes
                                   << " bytes, found " << stored;
  return success();
}

LogicalResult IfOp::verify() {
  for (Region *region : getRegions()) {
    auto yield = dyn_cast_or_null<YieldOp>(
        region->front().empty() ? nullptr : &region->front().back());
    if (!yield)
      return emitOpError("needs branches that end in onnx.Yield");
    if (yield.getNumOperands() != getNumResults())
      return emitOpError("has ") << getNumResults() << " outputs, a branch has "
                                 << yield.getNumOperands();
  }
  return success();
}
