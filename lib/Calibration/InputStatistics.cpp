//===- InputStatistics.cpp - Statistics of a layer's inputs ---------------===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llq/Calibration/InputStatistics.h"
#include "llq/Support/WeightBlob.h"
#include "llq/Support/WeightData.h"

#include "mlir/IR/Builders.h"

#include <cmath>

using namespace mlir;
using namespace llq;

namespace {
/// An entry of llq.stats: its name, its place, and how often K is a dimension.
struct Entry {
  StringLiteral name;
  std::vector<float> InputStatistics::*values;
  int64_t rank;
};
} // namespace

static constexpr Entry kEntries[] = {
    {"abs_max", &InputStatistics::absMax, 1},
    {"mean_abs", &InputStatistics::meanAbs, 1},
    {"mean_square", &InputStatistics::meanSquare, 1},
    {"second_moment", &InputStatistics::secondMoment, 2},
};

static int64_t getInputColumns(LinearOp layer) {
  Type type = layer.getWeight().getType();
  if (auto quantized = dyn_cast<QuantizedType>(type))
    return quantized.getColumns();
  return cast<ShapedType>(type).getDimSize(1);
}

FailureOr<InputStatistics> llq::readStatistics(LinearOp layer) {
  auto emitError = [&] {
    return layer.emitOpError("\"") << layer.getName() << "\" ";
  };
  auto stats = layer->getAttrOfType<DictionaryAttr>(kStatsAttr);
  if (!stats)
    return emitError() << "has no " << kStatsAttr;
  InputStatistics result;
  auto tokens = stats.getAs<IntegerAttr>("tokens");
  if (!tokens || tokens.getInt() < 1)
    return emitError() << "has " << kStatsAttr
                       << " without a positive number of tokens";
  result.tokens = tokens.getInt();
  WeightReader reader;
  int64_t k = getInputColumns(layer);
  for (const Entry &entry : kEntries) {
    Attribute found = stats.get(entry.name);
    if (!found && entry.rank == 2)
      continue;
    auto values = dyn_cast_or_null<TypedAttr>(found);
    auto expected = RankedTensorType::get(SmallVector<int64_t>(entry.rank, k),
                                          Float32Type::get(layer.getContext()));
    if (!values || values.getType() != expected)
      return emitError() << "needs " << kStatsAttr << " " << entry.name
                         << " of type " << expected;
    llvm::Expected<std::vector<float>> read = reader.readAll(values);
    if (!read)
      return emitError() << llvm::toString(read.takeError());
    if (!llvm::all_of(*read, [](float v) { return std::isfinite(v); }))
      return emitError() << "has " << kStatsAttr << " " << entry.name
                         << " that is not finite";
    result.*entry.values = std::move(*read);
  }
  return result;
}

void llq::attachStatistics(LinearOp layer, const InputStatistics &statistics) {
  Builder b(layer.getContext());
  int64_t k = getInputColumns(layer);
  NamedAttrList entries;
  entries.set("tokens", b.getI64IntegerAttr(statistics.tokens));
  for (const Entry &entry : kEntries) {
    ArrayRef<float> values = statistics.*entry.values;
    if (values.empty())
      continue;
    entries.set(entry.name,
                makeResource(b.getContext(),
                             SmallVector<int64_t>(entry.rank, k), values,
                             (layer.getName() + "." + entry.name).str()));
  }
  layer->setAttr(kStatsAttr, entries.getDictionary(layer.getContext()));
}

void llq::divideInputs(InputStatistics &statistics, ArrayRef<float> factors) {
  size_t k = factors.size();
  auto divideRows = [&](std::vector<float> &values) {
    for (size_t i = 0; i < values.size(); ++i)
      values[i] /= factors[i % k];
  };
  for (std::vector<float> *values :
       {&statistics.absMax, &statistics.meanAbs, &statistics.meanSquare,
        &statistics.meanSquare, &statistics.secondMoment, &statistics.inputs})
    divideRows(*values);
  for (size_t i = 0; i < statistics.secondMoment.size(); ++i)
    statistics.secondMoment[i] /= factors[i / k];
}
