//===- LLQOps.cpp - Verifiers of the llq ops ------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "dialects/LLQ/LLQ.h"

#include "mlir/IR/Builders.h"
#include "mlir/IR/DialectImplementation.h"
#include "mlir/IR/OpImplementation.h"
#include "llvm/ADT/DenseSet.h"

using namespace mlir;
using namespace llq;

/// A bare enum keyword, as in `llq.buffer weight "w"`.
static ParseResult parseKeyword(OpAsmParser &parser, BufferKindAttr &kind) {
  StringRef keyword;
  SMLoc loc = parser.getCurrentLocation();
  if (parser.parseKeyword(&keyword))
    return failure();
  std::optional<BufferKind> value = symbolizeBufferKind(keyword);
  if (!value)
    return parser.emitError(loc) << "unknown buffer kind '" << keyword << "'";
  kind = BufferKindAttr::get(parser.getContext(), *value);
  return success();
}

static void printKeyword(OpAsmPrinter &printer, Operation *,
                         BufferKindAttr kind) {
  printer << stringifyBufferKind(kind.getValue());
}

#define GET_OP_CLASSES
#include "dialects/LLQ/LLQOps.cpp.inc"

/// Rows and columns of a weight, quantized or not.
static std::pair<int64_t, int64_t> getMatrixShape(Type type) {
  if (auto quantized = dyn_cast<QuantizedType>(type))
    return {quantized.getRows(), quantized.getColumns()};
  auto shaped = cast<ShapedType>(type);
  return {shaped.getDimSize(0), shaped.getDimSize(1)};
}

static int64_t getColumns(Value value) {
  return getMatrixShape(value.getType()).second;
}

/// Checks that `type` can be a weight operand: static and, if quantized, in a
/// weight format.
static LogicalResult verifyWeight(Operation *op, Type type) {
  auto [rows, columns] = getMatrixShape(type);
  if (ShapedType::isDynamic(rows) || ShapedType::isDynamic(columns))
    return op->emitOpError("needs a weight of static shape, found ") << type;
  return success();
}

//===----------------------------------------------------------------------===//
// Weights
//===----------------------------------------------------------------------===//

/// Weights are views of files or resource blobs, never context-lifetime
/// constants.
static bool isWeightData(Attribute value) {
  return isa<ExternalAttr, DenseResourceElementsAttr>(value);
}

LogicalResult WeightOp::verify() {
  if (!isWeightData(getValue()) && !isa<ScaledAttr, RotatedAttr>(getValue()))
    return emitOpError("needs #llq.external, dense_resource, #llq.scaled or "
                       "#llq.rotated, found ")
           << getValue();
  return success();
}

LogicalResult QuantizedWeightOp::verify() {
  QuantizedType type = getType();
  if (type.isActivation())
    return emitOpError("needs a weight type, found activations ") << type;
  auto format = cast<WeightFormatInterface>(type.getFormat());
  SmallVector<WeightComponent> expected =
      format.getComponents(type.getRows(), type.getColumns());
  for (const WeightComponent &component : expected) {
    auto value = getComponents().getAs<TypedAttr>(component.name);
    if (!value)
      return emitOpError("lacks component '") << component.name << "'";
    if (!isWeightData(value))
      return emitOpError("component '")
             << component.name
             << "' needs #llq.external or dense_resource, found " << value;
    if (value.getType() != component.type)
      return emitOpError("component '")
             << component.name << "' has type " << value.getType()
             << ", its format needs " << component.type;
  }
  if (getComponents().size() != expected.size())
    return emitOpError("has ")
           << getComponents().size() << " components, its format has "
           << expected.size();
  return success();
}

LogicalResult DequantizeOp::verify() {
  auto [rows, columns] = getMatrixShape(getType());
  if (rows != getInput().getType().getRows() ||
      columns != getInput().getType().getColumns())
    return emitOpError("changes the shape");
  return success();
}

LogicalResult QuantizeActivationOp::verify() {
  if (!getType().isActivation())
    return emitOpError("needs quantized activations as result, found ")
           << getType();
  if (getColumns(getInput()) != getType().getColumns())
    return emitOpError("changes the number of columns");
  return success();
}

//===----------------------------------------------------------------------===//
// The decoder
//===----------------------------------------------------------------------===//

LogicalResult EmbeddingOp::verify() {
  if (failed(verifyWeight(*this, getTable().getType())))
    return failure();
  if (getColumns(getTable()) != getColumns(getResult()))
    return emitOpError("table has ")
           << getColumns(getTable()) << " columns, result has "
           << getColumns(getResult());
  return success();
}

LogicalResult RMSNormOp::verify() {
  int64_t size = cast<ShapedType>(getWeight().getType()).getDimSize(0);
  if (size != getColumns(getInput()))
    return emitOpError("weight has ") << size << " elements, input has "
                                      << getColumns(getInput()) << " columns";
  return success();
}

InFlightDiagnostic LinearOp::emitLayerError() {
  return emitOpError("\"") << getName() << "\" ";
}

LogicalResult LinearOp::verify() {
  if (failed(verifyWeight(*this, getWeight().getType())))
    return failure();
  auto [n, k] = getMatrixShape(getWeight().getType());
  if (auto input = dyn_cast<QuantizedType>(getInput().getType());
      input && !input.isActivation())
    return emitOpError("needs quantized activations as input, found a weight");
  if (getColumns(getInput()) != k)
    return emitLayerError() << "has an input of " << getColumns(getInput())
                            << " columns and a weight of " << k;
  if (getColumns(getResult()) != n)
    return emitLayerError() << "has a result of " << getColumns(getResult())
                            << " columns and a weight of " << n << " rows";
  if (getBias() && cast<ShapedType>(getBias().getType()).getDimSize(0) != n)
    return emitLayerError() << "needs a bias of " << n << " elements";
  return success();
}

LogicalResult RotaryTableOp::verify() {
  int64_t half = getFrequencies().size();
  if (getColumns(getCos()) != half || getColumns(getSin()) != half)
    return emitOpError("has ")
           << half << " frequencies, results need as many columns";
  return success();
}

LogicalResult RotaryLookupOp::verify() {
  if (getCosTable().getType() != getSinTable().getType())
    return emitOpError("needs tables of one type");
  if (getColumns(getCosTable()) != getColumns(getCos()) ||
      getColumns(getSinTable()) != getColumns(getSin()))
    return emitOpError("results need as many columns as the tables");
  return success();
}

LogicalResult RopeOp::verify() {
  int64_t half = getColumns(getCos());
  if (half <= 0 || getColumns(getInput()) % (2 * half))
    return emitOpError("input of ") << getColumns(getInput())
                                    << " columns is not a whole number of "
                                       "heads of "
                                    << 2 * half;
  return success();
}

LogicalResult AttentionOp::verify() {
  if (int64_t(getLayer()) < 0)
    return emitOpError("layer is negative: ") << int64_t(getLayer());
  int64_t heads = getHeads(), kvHeads = getKvHeads();
  if (heads <= 0 || kvHeads <= 0 || heads % kvHeads)
    return emitOpError("needs heads to be a multiple of kv_heads, found ")
           << heads << " and " << kvHeads;
  int64_t dim = getColumns(getQuery()) / heads;
  if (dim * heads != getColumns(getQuery()))
    return emitOpError("query of ")
           << getColumns(getQuery()) << " columns is not " << heads << " heads";
  for (Value value : {getKey(), getValue()})
    if (getColumns(value) != dim * kvHeads)
      return emitOpError("key and value need ")
             << kvHeads << " heads of " << dim << " columns, found "
             << getColumns(value) << " columns";
  if (getResult().getType() != getQuery().getType())
    return emitOpError("result has the type of the query");
  return success();
}

LogicalResult RotateOp::verify() {
  int64_t columns = getColumns(getInput());
  if (columns % getRotation().getSize())
    return emitOpError("rotates ")
           << columns << " channels, which is no multiple of "
           << getRotation().getSize();
  if (getScale() && getScale().getType().getShape() != ArrayRef(columns))
    return emitOpError("has a scale of type ")
           << getScale().getType() << " for " << columns << " channels";
  return success();
}

LogicalResult PermuteChannelsOp::verify() {
  int64_t columns = getColumns(getInput());
  if (getOrder().getType().getShape() != ArrayRef(columns))
    return emitOpError("has an order of type ")
           << getOrder().getType() << " for " << columns << " channels";
  // Not a vector of K bits: K of a splat is whatever the text says.
  llvm::DenseSet<int32_t> seen;
  for (int32_t channel : getOrder().getValues<int32_t>()) {
    if (channel < 0 || channel >= columns)
      return emitOpError("has channel ")
             << channel << " in its order, the input has " << columns;
    if (!seen.insert(channel).second)
      return emitOpError("has channel ") << channel << " twice in its order";
  }
  return success();
}

//===----------------------------------------------------------------------===//
// Program form
//===----------------------------------------------------------------------===//

LogicalResult RegionOp::verifyRegions() {
  auto yield = dyn_cast<YieldOp>(getBody().front().back());
  if (!yield)
    return emitOpError("needs to end in llq.yield");
  if (yield.getValues().getTypes() != getResults().getTypes())
    return yield.emitOpError("needs values of the types of its region's "
                             "results, ")
           << getResults().getTypes();
  return success();
}

LogicalResult ProgramOp::verify() {
  if (int64_t(getMaxTokens()) <= 0 || int64_t(getArenaBytes()) < 0 ||
      int64_t(getScratchBytes()) < 0)
    return emitOpError("needs max_tokens of at least 1 and sizes that are not "
                       "negative");
  return success();
}

LogicalResult BufferOp::verify() {
  int64_t offset = getOffset().value_or(0);
  if (int64_t(getBytes()) < 0 || int64_t(getBytesPerToken()) < 0 ||
      int64_t(getBytesPerPosition()) < 0 || offset < 0)
    return emitOpError("\"") << getName() << "\" has a negative size or offset";
  bool weight = getKind() == BufferKind::Weight;
  if (weight != bool(getContent()))
    return emitOpError("has content if and only if it is a weight");
  bool state = getKind() == BufferKind::State;
  if ((getBytes() != 0) != weight || (getBytesPerPosition() != 0) != state ||
      (getBytesPerToken() != 0) != (!weight && !state))
    return emitOpError("needs bytes (weight), bytes_per_position (state) or "
                       "bytes_per_token (any other kind), and only that");
  return success();
}

LogicalResult DispatchOp::verify() {
  int64_t items = getItems(), itemsPerToken = getItemsPerToken();
  if (items < 0 || itemsPerToken < 0 || (items == 0 && itemsPerToken == 0))
    return emitOpError("needs a grid of at least one work item");
  if (getNumWrites() == 0 || getNumWrites() > getBuffers().size())
    return emitOpError("num_writes is ") << int64_t(getNumWrites()) << " for "
                                         << getBuffers().size() << " buffers";
  for (Value buffer : getBuffers().take_back(getNumWrites()))
    if (auto def = buffer.getDefiningOp<BufferOp>();
        def && (def.getKind() == BufferKind::Weight ||
                def.getKind() == BufferKind::Input))
      return emitOpError("writes ") << stringifyBufferKind(def.getKind())
                                    << " \"" << def.getName() << "\"";
  return success();
}
