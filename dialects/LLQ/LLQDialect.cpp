//===- LLQDialect.cpp - Registration of the llq dialect -------------------===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "dialects/LLQ/LLQ.h"

#include "mlir/IR/DialectImplementation.h"
#include "mlir/IR/OpImplementation.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace llq;

#include "dialects/LLQ/LLQDialect.cpp.inc"

/// `4096x?` of `!llq.quantized`.
static ParseResult parseShape(AsmParser &parser, SmallVector<int64_t> &shape) {
  return parser.parseDimensionList(shape, /*allowDynamic=*/true,
                                   /*withTrailingX=*/false);
}

static void printShape(AsmPrinter &printer, ArrayRef<int64_t> shape) {
  printer.printDimensionList(shape);
}

#define GET_TYPEDEF_CLASSES
#include "dialects/LLQ/LLQTypes.cpp.inc"

void LLQDialect::registerTypes() {
  addTypes<
#define GET_TYPEDEF_LIST
#include "dialects/LLQ/LLQTypes.cpp.inc"
      >();
}

LogicalResult
QuantizedType::verify(function_ref<InFlightDiagnostic()> emitError,
                      ArrayRef<int64_t> shape, Attribute format) {
  if (shape.size() != 2)
    return emitError() << "quantized type needs two dimensions, found "
                       << shape.size();
  if (shape[1] <= 0)
    return emitError() << "quantized type needs a positive number of columns";
  if (isa_and_nonnull<DynamicAttr, StaticAttr>(format)) {
    if (!ShapedType::isDynamic(shape[0]))
      return emitError()
             << "activations need a dynamic number of rows, written `?`";
    return success();
  }
  auto weightFormat = dyn_cast_or_null<WeightFormatInterface>(format);
  if (!weightFormat)
    return emitError() << "quantized type needs a weight format, "
                          "#llq.dynamic or #llq.static, found "
                       << format;
  if (shape[0] <= 0)
    return emitError() << "quantized weight needs a positive number of rows";
  return weightFormat.verifyShape(emitError, shape[0], shape[1]);
}

LogicalResult LLQDialect::verifyOperationAttribute(Operation *op,
                                                   NamedAttribute attribute) {
  if (attribute.getName() != kBitsAttr)
    return success();
  auto bits = dyn_cast<IntegerAttr>(attribute.getValue());
  if (!bits || !bits.getType().isInteger(64) || bits.getInt() < 2 ||
      bits.getInt() > 8)
    return op->emitOpError() << kBitsAttr << " is an i64 of 2 to 8, found "
                             << attribute.getValue();
  return success();
}

void LLQDialect::initialize() {
  registerAttributes();
  registerBytecode();
  registerTypes();
  addOperations<
#define GET_OP_LIST
#include "dialects/LLQ/LLQOps.cpp.inc"
      >();
}
