//===- Dequantize.cpp - Replace quantized weights by their values ---------===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llq/Numerics/Float16.h"
#include "llq/Support/WeightBlob.h"
#include "llq/Support/WeightData.h"
#include "llq/Support/WeightReferences.h"
#include "llq/Transforms/Passes.h"

#include "mlir/IR/Builders.h"
#include "mlir/IR/Threading.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace llq;

namespace llq {
#define GEN_PASS_DEF_DEQUANTIZEPASS
#include "llq/Transforms/Passes.h.inc"
} // namespace llq

static Type getElementType(WeightType type, MLIRContext *context) {
  switch (type) {
  case WeightType::F32:
    return Float32Type::get(context);
  case WeightType::F16:
    return Float16Type::get(context);
  case WeightType::BF16:
    return BFloat16Type::get(context);
  }
}

/// Writes `values` to `out`, in `type`.
static void encode(ArrayRef<float> values, WeightType type, char *out) {
  auto *halves = reinterpret_cast<uint16_t *>(out);
  switch (type) {
  case WeightType::F32:
    std::memcpy(out, values.data(), values.size() * sizeof(float));
    return;
  case WeightType::F16:
    return numerics::encodeF16(values, {halves, values.size()});
  case WeightType::BF16:
    return numerics::encodeBF16(values, {halves, values.size()});
  }
}

namespace {
class Dequantizer {
public:
  Dequantizer(ModuleOp module, WeightType type)
      : type(type), references(module) {}

  /// Replaces `weight` in the linear layers and embeddings that use it.
  LogicalResult run(QuantizedWeightOp weight);

private:
  FailureOr<TypedAttr> decode(QuantizedWeightOp weight, StringRef name);

  WeightType type;
  WeightReader reader;
  WeightReferences references;
  /// Values by components and type: equal weights stay one.
  llvm::DenseMap<std::pair<Attribute, Type>, TypedAttr> decoded;
};
} // namespace

FailureOr<TypedAttr> Dequantizer::decode(QuantizedWeightOp weight,
                                         StringRef name) {
  auto emitError = [&](llvm::Error error) {
    return weight.emitError("\"")
           << name << "\" " << llvm::toString(std::move(error));
  };
  llvm::Expected<SmallVector<ArrayRef<char>>> components =
      reader.getComponents(weight);
  if (!components)
    return emitError(components.takeError());
  int64_t rows = weight.getType().getRows();
  int64_t columns = weight.getType().getColumns();
  MLIRContext *context = weight.getContext();
  auto tensor =
      RankedTensorType::get({rows, columns}, getElementType(type, context));
  int64_t bytes = *getTensorBytes(tensor);
  llvm::Expected<AsmResourceBlob> blob = allocateBlob(bytes);
  if (!blob)
    return emitError(blob.takeError());
  char *data = blob->getMutableData().data();

  auto format = cast<WeightFormatInterface>(weight.getType().getFormat());
  int64_t blockRows = std::max<int64_t>(1, (int64_t(1) << 18) / columns);
  parallelFor(context, 0, llvm::divideCeil(rows, blockRows), [&](size_t block) {
    int64_t begin = block * blockRows;
    int64_t end = std::min(rows, begin + blockRows);
    std::vector<float> values((end - begin) * columns);
    format.dequantizeRows(*components, rows, columns, begin, end,
                          values.data());
    encode(values, type, data + bytes / rows * begin);
  });
  return TypedAttr(DenseResourceElementsAttr::get(
      tensor, (name + ".weight").str(), std::move(*blob)));
}

LogicalResult Dequantizer::run(QuantizedWeightOp weight) {
  SmallVector<OpOperand *> uses;
  StringRef name;
  for (OpOperand &use : weight->getUses()) {
    auto linear = dyn_cast<LinearOp>(use.getOwner());
    if (!linear && !isa<EmbeddingOp>(use.getOwner()))
      continue;
    uses.push_back(&use);
    // Uses are listed last first; the name is that of the first layer.
    name = linear ? linear.getName() : StringRef(kEmbeddingName);
  }
  if (uses.empty())
    return success();

  TypedAttr &values = decoded[{weight.getComponents(), weight.getType()}];
  if (!values) {
    FailureOr<TypedAttr> result = decode(weight, name);
    if (failed(result))
      return failure();
    values = *result;
  }
  OpBuilder builder(weight);
  auto replacement = WeightOp::create(builder, weight.getLoc(), values);
  for (OpOperand *use : uses)
    use->set(replacement);
  if (weight->use_empty())
    references.erase(weight);
  return success();
}

namespace {
struct DequantizePass : llq::impl::DequantizePassBase<DequantizePass> {
  using Base::Base;

  void runOnOperation() override {
    Dequantizer dequantizer(getOperation(), type);
    SmallVector<QuantizedWeightOp> weights;
    getOperation().walk([&](QuantizedWeightOp op) { weights.push_back(op); });
    for (QuantizedWeightOp weight : weights)
      if (failed(dequantizer.run(weight)))
        return signalPassFailure();
  }
};
} // namespace
