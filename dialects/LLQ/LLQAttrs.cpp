//===- LLQAttrs.cpp - Attributes of the llq dialect -----------------------===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "dialects/LLQ/LLQ.h"
#include "llq/Numerics/Hadamard.h"

#include "mlir/IR/Builders.h"
#include "mlir/IR/DialectImplementation.h"
#include "mlir/IR/OpImplementation.h"
#include "llvm/ADT/StringSwitch.h"
#include "llvm/ADT/TypeSwitch.h"
#include "llvm/Support/CheckedArithmetic.h"

using namespace mlir;
using namespace llq;

#include "dialects/LLQ/LLQEnums.cpp.inc"

#include "dialects/LLQ/LLQAttrInterfaces.cpp.inc"

#define GET_ATTRDEF_CLASSES
#include "dialects/LLQ/LLQAttrs.cpp.inc"

void LLQDialect::registerAttributes() {
  addAttributes<
#define GET_ATTRDEF_LIST
#include "dialects/LLQ/LLQAttrs.cpp.inc"
      >();
}

int64_t WeightFormatInterface::getBytes(int64_t n, int64_t k) {
  int64_t bytes = 0;
  for (const WeightComponent &component : getComponents(n, k))
    bytes += component.type.getNumElements() *
             component.type.getElementTypeBitWidth() / 8;
  return bytes;
}

//===----------------------------------------------------------------------===//
// ExternalAttr
//===----------------------------------------------------------------------===//

LogicalResult ExternalAttr::verify(function_ref<InFlightDiagnostic()> emitError,
                                   RankedTensorType type, StringRef path,
                                   int64_t offset, ArrayRef<int64_t> strides,
                                   int64_t fileSize, int64_t modified) {
  if (!type.hasStaticShape() || !type.getElementType().isIntOrFloat() ||
      type.getElementTypeBitWidth() % 8)
    return emitError() << "external weight needs a static shape and elements "
                          "of whole bytes, found "
                       << type;
  if (strides.size() != size_t(type.getRank()))
    return emitError() << "external weight of rank " << type.getRank()
                       << " has " << strides.size() << " strides";
  // The last byte of the view, every step checked: the numbers come from a
  // file.
  std::optional<int64_t> last = 0;
  for (auto [dim, stride] : llvm::zip_equal(type.getShape(), strides)) {
    if (dim <= 0 || stride < 0)
      return emitError() << "external weight needs positive dimensions and "
                            "strides that are not negative";
    if (std::optional<int64_t> step = llvm::checkedMul(dim - 1, stride))
      last = last ? llvm::checkedAdd(*last, *step) : std::nullopt;
    else
      last = std::nullopt;
  }
  int64_t bytes = type.getElementTypeBitWidth() / 8;
  if (last)
    last = llvm::checkedAdd<int64_t>(*last, 1);
  std::optional<int64_t> end =
      last ? llvm::checkedMulAdd(*last, bytes, offset) : std::nullopt;
  if (offset < 0 || !end || *end > fileSize)
    return emitError() << "external weight at offset " << offset
                       << " does not fit in " << path << " of " << fileSize
                       << " bytes";
  return success();
}

//===----------------------------------------------------------------------===//
// ScaledAttr
//===----------------------------------------------------------------------===//

ScaledAttr ScaledAttr::get(TypedAttr source, TypedAttr rows, TypedAttr columns,
                           TypedAttr clip, int64_t group) {
  MLIRContext *context = source.getContext();
  auto type = RankedTensorType::get(
      cast<ShapedType>(source.getType()).getShape(), Float32Type::get(context));
  return get(context, type, source, rows, columns, clip, group);
}

/// Whether the data of `value` lies in a file or a blob.
static bool isStored(TypedAttr value) {
  return isa<ExternalAttr, DenseResourceElementsAttr>(value);
}

static bool isFloatMatrix(RankedTensorType type) {
  return type && type.getRank() == 2 && type.hasStaticShape() &&
         isa<Float16Type, BFloat16Type, Float32Type>(type.getElementType());
}

LogicalResult ScaledAttr::verify(function_ref<InFlightDiagnostic()> emitError,
                                 RankedTensorType type, TypedAttr source,
                                 TypedAttr rows, TypedAttr columns,
                                 TypedAttr clip, int64_t group) {
  auto tensor = dyn_cast<RankedTensorType>(source.getType());
  if (!isStored(source) && !isa<ScaledAttr, RotatedAttr>(source))
    return emitError()
           << "scaled weight needs #llq.external, dense_resource, #llq.scaled "
              "or #llq.rotated as source, found "
           << source;
  if (!isFloatMatrix(tensor))
    return emitError() << "scaled weight needs a source matrix of f16, bf16 or "
                          "f32, found "
                       << source.getType();
  Type f32 = Float32Type::get(type.getContext());
  auto expected = RankedTensorType::get(tensor.getShape(), f32);
  if (type != expected)
    return emitError() << "scaled weight has type " << type
                       << ", its source needs " << expected;
  if (!rows && !columns && !clip)
    return emitError() << "scaled weight needs rows, columns or clip";
  if (group < 0)
    return emitError() << "scaled weight has a negative group: " << group;
  if (group && !clip)
    return emitError() << "scaled weight has a group of " << group
                       << " without clip";
  int64_t n = tensor.getDimSize(0), k = tensor.getDimSize(1);
  // Not divideCeil, whose sum may overflow for a group from a file.
  int64_t groups = group ? k / group + (k % group != 0) : 1;
  struct Part {
    StringLiteral name;
    TypedAttr value;
    RankedTensorType type;
  };
  for (const Part &part :
       {Part{"rows", rows, RankedTensorType::get({n}, f32)},
        Part{"columns", columns, RankedTensorType::get({k}, f32)},
        Part{"clip", clip, RankedTensorType::get({n, groups}, f32)}}) {
    if (!part.value)
      continue;
    if (!isStored(part.value))
      return emitError() << "scaled weight needs #llq.external or "
                            "dense_resource as "
                         << part.name << ", found " << part.value;
    if (part.value.getType() != part.type)
      return emitError() << "scaled weight has " << part.name << " of type "
                         << part.value.getType() << ", needed is " << part.type;
  }
  return success();
}

//===----------------------------------------------------------------------===//
// DynamicAttr, StaticAttr, ArchitectureAttr
//===----------------------------------------------------------------------===//

LogicalResult DynamicAttr::verify(function_ref<InFlightDiagnostic()> emitError,
                                  int64_t bits, int64_t group) {
  if (bits < 2 || bits > 8)
    return emitError() << "activation bits are 2 to 8, found " << bits;
  if (group < 0)
    return emitError() << "activation group is negative: " << group;
  return success();
}

LogicalResult StaticAttr::verify(function_ref<InFlightDiagnostic()> emitError,
                                 int64_t bits, FloatAttr scale) {
  if (bits < 2 || bits > 8)
    return emitError() << "activation bits are 2 to 8, found " << bits;
  if (!scale.getType().isF32())
    return emitError() << "activation scale is an f32, found " << scale;
  if (!scale.getValue().isFiniteNonZero() || scale.getValue().isNegative())
    return emitError() << "activation scale is positive and finite, found "
                       << scale;
  return success();
}

LogicalResult RotationAttr::verify(function_ref<InFlightDiagnostic()> emitError,
                                   RotationKind kind, int64_t size,
                                   int64_t seed) {
  // What a table of the runtime holds.
  constexpr int64_t mostSize = 65536, mostFactor = 1024;
  if (size < 1 || size > mostSize)
    return emitError() << "rotation size is 1 to " << mostSize << ", found "
                       << size;
  if (kind == RotationKind::Hadamard && !numerics::supportsHadamard(size))
    return emitError() << "has no Hadamard transform of size " << size
                       << ": sizes are powers of two, or one times 12, 20, 28 "
                          "or 36";
  auto [p, q] = numerics::splitKronecker(size);
  if (kind == RotationKind::Kronecker && std::max(p, q) > mostFactor)
    return emitError() << "kronecker size " << size << " is " << p << " times "
                       << q << ", factors are at most " << mostFactor;
  if (seed < 0)
    return emitError() << "rotation seed is negative: " << seed;
  return success();
}

std::unique_ptr<numerics::Rotation> RotationAttr::getMatrix() const {
  if (getKind() == RotationKind::Hadamard && getSeed() == 0)
    return std::make_unique<numerics::HadamardRotation>(
        std::vector<float>(getSize(), 1.0f));
  auto kind = getKind() == RotationKind::Hadamard
                  ? numerics::RotationKind::Hadamard
                  : numerics::RotationKind::Kronecker;
  return numerics::makeRotation(kind, getSize(), uint64_t(getSeed()));
}

//===----------------------------------------------------------------------===//
// RotatedAttr
//===----------------------------------------------------------------------===//

LogicalResult RotatedAttr::verify(function_ref<InFlightDiagnostic()> emitError,
                                  RankedTensorType type, TypedAttr source,
                                  RotationAttr input, RotationAttr output) {
  if (!isStored(source) && !isa<ScaledAttr>(source))
    return emitError() << "rotated weight needs #llq.external, dense_resource "
                          "or #llq.scaled as source, found "
                       << source;
  for (auto scaled = dyn_cast<ScaledAttr>(source); scaled;
       scaled = dyn_cast<ScaledAttr>(scaled.getSource()))
    if (isa<RotatedAttr>(scaled.getSource()))
      return emitError() << "rotated weight has a source that is rotated";
  auto tensor = dyn_cast<RankedTensorType>(source.getType());
  if (!isFloatMatrix(tensor) || !isFloatMatrix(type) ||
      tensor.getShape() != type.getShape())
    return emitError() << "rotated weight needs matrices of f16, bf16 or f32 "
                          "of one shape, found a source of type "
                       << source.getType() << " and type " << type;
  if (!input && !output)
    return emitError() << "rotated weight needs input or output";
  for (auto [name, rotation, size] :
       {std::tuple("input", input, type.getDimSize(1)),
        std::tuple("output", output, type.getDimSize(0))})
    if (rotation && (size == 0 || size % rotation.getSize()))
      return emitError() << "rotated weight has an " << name << " of size "
                         << rotation.getSize() << ", which does not divide "
                         << size;
  return success();
}

LogicalResult ArchitectureAttr::verify(
    function_ref<InFlightDiagnostic()> emitError, int64_t hidden,
    int64_t layers, int64_t heads, int64_t kvHeads, int64_t headDim,
    int64_t ffn, int64_t vocab, int64_t contextLength, FloatAttr ropeTheta,
    StringRef ropeScaling, DenseF64ArrayAttr ropeParameters, FloatAttr normEps,
    bool tiedEmbeddings) {
  if (hidden <= 0 || layers <= 0 || heads <= 0 || kvHeads <= 0 ||
      headDim <= 0 || ffn <= 0 || vocab < 0 || contextLength <= 0)
    return emitError() << "architecture has a size that is not positive";
  if (heads % kvHeads)
    return emitError() << "heads " << heads << " is not a multiple of kv_heads "
                       << kvHeads;
  // Numbers that each kind of frequency scaling has.
  int64_t parameters = llvm::StringSwitch<int64_t>(ropeScaling)
                           .Cases({"none", "table"}, 0)
                           .Case("linear", 1)
                           .Case("llama3", 4)
                           .Default(-1);
  if (parameters < 0)
    return emitError()
           << "rope_scaling is none, linear, llama3 or table, found "
           << ropeScaling;
  if (ropeParameters.size() != parameters)
    return emitError() << "rope_scaling " << ropeScaling << " has "
                       << parameters << " parameters, found "
                       << ropeParameters.size();
  return success();
}
