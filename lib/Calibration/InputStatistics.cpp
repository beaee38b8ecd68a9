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
#include <limits>

using namespace mlir;
using namespace llq;

namespace {
/// An entry of llq.stats: its name, its place, and its dimensions.
struct Entry {
  enum Shape { Channels, Square, Rows };

  StringLiteral name;
  std::vector<float> InputStatistics::*values;
  Shape shape;

  /// The type of `count` values for K = `columns`.
  SmallVector<int64_t> getShape(int64_t count, int64_t columns) const {
    if (shape == Channels)
      return {columns};
    return {shape == Square ? columns : count / columns, columns};
  }
};
} // namespace

static constexpr Entry kEntries[] = {
    {"abs_max", &InputStatistics::absMax, Entry::Channels},
    {"mean_abs", &InputStatistics::meanAbs, Entry::Channels},
    {"mean_square", &InputStatistics::meanSquare, Entry::Channels},
    {"second_moment", &InputStatistics::secondMoment, Entry::Square},
    {"inputs", &InputStatistics::inputs, Entry::Rows},
};

static int64_t getInputColumns(LinearOp layer) {
  Type type = layer.getWeight().getType();
  if (auto quantized = dyn_cast<QuantizedType>(type))
    return quantized.getColumns();
  return cast<ShapedType>(type).getDimSize(1);
}

DictionaryAttr llq::storeStatistics(MLIRContext *context,
                                    const InputStatistics &statistics,
                                    StringRef name) {
  Builder b(context);
  NamedAttrList entries;
  entries.set("tokens", b.getI64IntegerAttr(statistics.tokens));
  int64_t columns = statistics.absMax.size();
  for (const Entry &entry : kEntries) {
    ArrayRef<float> values = statistics.*entry.values;
    if (!values.empty())
      entries.set(entry.name,
                  makeResource(context, entry.getShape(values.size(), columns),
                               values, (name + "." + entry.name).str()));
  }
  return entries.getDictionary(context);
}

llvm::Expected<InputStatistics> llq::loadStatistics(DictionaryAttr stored,
                                                    int64_t columns) {
  auto makeError = [](const Twine &text) {
    return llvm::createStringError(text.str());
  };
  InputStatistics result;
  auto tokens = stored.getAs<IntegerAttr>("tokens");
  if (!tokens || tokens.getInt() < 1)
    return makeError("without a positive number of tokens");
  result.tokens = tokens.getInt();
  WeightReader reader;
  for (const Entry &entry : kEntries) {
    Attribute found = stored.get(entry.name);
    if (!found && entry.shape != Entry::Channels)
      continue;
    auto values = dyn_cast_or_null<TypedAttr>(found);
    auto type = values ? dyn_cast<RankedTensorType>(values.getType())
                       : RankedTensorType();
    int64_t count = type && type.hasStaticShape() ? type.getNumElements() : 0;
    if (!count || !type.getElementType().isF32() ||
        type.getShape() != ArrayRef(entry.getShape(count, columns))) {
      std::string k = std::to_string(columns);
      std::string rows = entry.shape == Entry::Channels ? ""
                         : entry.shape == Entry::Rows   ? "?x"
                                                        : k + "x";
      return makeError("whose " + entry.name + " is no tensor<" + rows + k +
                       "xf32>");
    }
    llvm::Expected<std::vector<float>> read = reader.readAll(values);
    if (!read)
      return read.takeError();
    if (!llvm::all_of(*read, [](float v) { return std::isfinite(v); }))
      return makeError("whose " + entry.name + " is not finite");
    result.*entry.values = std::move(*read);
  }
  return result;
}

/// What keeps `values`, one for each channel, from being magnitudes; or empty.
static std::string checkMagnitudes(ArrayRef<float> values) {
  const float *found = llvm::find_if(values, [](float v) { return v < 0; });
  if (found == values.end())
    return {};
  return "has a negative number in channel " +
         std::to_string(found - values.begin());
}

/// What keeps `matrix` from being a mean of products of inputs; or empty.
static std::string checkSecondMoment(ArrayRef<float> matrix, int64_t columns) {
  // Far above what rounding does to sums of products in f32.
  constexpr float tolerance = 1e-2f;
  // Columns at a time: a cache line of each row below, and few rows beside it.
  constexpr int64_t strip = 16;
  std::vector<float> roots(columns); // NaN of what is negative
  for (int64_t i = 0; i < columns; ++i)
    roots[i] = std::sqrt(matrix[i * columns + i]);
  std::string text;
  llvm::raw_string_ostream stream(text);
  for (int64_t first = 0; first < columns; first += strip)
    for (int64_t i = first; i < columns; ++i)
      for (int64_t j = first; j < std::min(first + strip, i + 1); ++j) {
        float value = matrix[i * columns + j], other = matrix[j * columns + i];
        float bound = roots[i] * roots[j] * (1 + tolerance) +
                      std::numeric_limits<float>::min();
        bool possible = std::fabs(value) <= bound;
        if (possible && std::fabs(value - other) <= tolerance * bound)
          continue;
        stream << "is none of real inputs: it has " << value << " in row " << i
               << ", column " << j << ", ";
        if (possible)
          stream << other << " in row " << j << ", column " << i;
        else
          stream << matrix[i * columns + i] << " and "
                 << matrix[j * columns + j] << " on the diagonal";
        return text;
      }
  return {};
}

/// What is wrong with numbers that anybody may have written; or empty.
static std::string checkStatistics(const InputStatistics &statistics) {
  for (const Entry &entry : kEntries) {
    ArrayRef<float> values = statistics.*entry.values;
    std::string wrong =
        entry.shape == Entry::Channels ? checkMagnitudes(values)
        : entry.shape == Entry::Square && !values.empty()
            ? checkSecondMoment(values, statistics.absMax.size())
            : std::string();
    if (!wrong.empty())
      return "whose " + entry.name.str() + " " + wrong;
  }
  return {};
}

FailureOr<InputStatistics> llq::readStatistics(LinearOp layer) {
  auto stored = layer->getAttrOfType<DictionaryAttr>(kStatsAttr);
  if (!stored)
    return layer.emitLayerError()
           << (layer->hasAttr(kStatsAttr)
                   ? "has llq.stats that is no dictionary"
                   : "has no llq.stats");
  llvm::Expected<InputStatistics> result =
      loadStatistics(stored, getInputColumns(layer));
  if (!result)
    return layer.emitLayerError()
           << "has " << kStatsAttr << " " << llvm::toString(result.takeError());
  std::string wrong = checkStatistics(*result);
  if (!wrong.empty())
    return layer.emitLayerError() << "has " << kStatsAttr << " " << wrong;
  return std::move(*result);
}

void llq::attachStatistics(LinearOp layer, const InputStatistics &statistics) {
  layer->setAttr(kStatsAttr, storeStatistics(layer.getContext(), statistics,
                                             layer.getName()));
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
