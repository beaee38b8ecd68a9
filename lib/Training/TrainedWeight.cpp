//===- TrainedWeight.cpp - A quantized weight whose numbers move ----------===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "TrainedWeight.h"

#include "llq/Numerics/Float16.h"
#include "llq/Support/WeightBlob.h"

#include "mlir/IR/AsmState.h"

#include <cmath>
#include <cstring>

using namespace mlir;
using namespace llq;
using namespace llq::training;

/// Rows that are decoded and differentiated at once.
static constexpr int64_t kRows = 16;

bool TrainedWeight::canTrain(QuantizedWeightOp weight) {
  TrainedWeight each(weight);
  return each.format.differentiateRows({}, each.type.getRows(),
                                       each.type.getColumns(), 0, 0, nullptr,
                                       nullptr, {});
}

bool TrainedWeight::canEncode() const {
  return format.encodeRows({}, type.getRows(), type.getColumns(), 0, 0, nullptr,
                           {});
}

static std::vector<float> readNumbers(ArrayRef<char> bytes, bool isF16) {
  std::vector<float> values(bytes.size() / (isF16 ? 2 : 4));
  if (!isF16) {
    std::memcpy(values.data(), bytes.data(), bytes.size());
    return values;
  }
  std::vector<uint16_t> halves(values.size());
  std::memcpy(halves.data(), bytes.data(), bytes.size());
  numerics::decodeF16(halves, values);
  return values;
}

static void writeNumbers(ArrayRef<float> values, bool isF16,
                         std::vector<char> &bytes) {
  if (!isF16) {
    std::memcpy(bytes.data(), values.data(), bytes.size());
    return;
  }
  std::vector<uint16_t> halves(values.size());
  numerics::encodeF16(values, halves);
  std::memcpy(bytes.data(), halves.data(), bytes.size());
}

/// The root mean square of its row for each of `values`.
static std::vector<float> getUnits(ArrayRef<float> values, int64_t rows) {
  std::vector<float> units(values.size());
  size_t width = values.size() / rows;
  for (size_t begin = 0; begin < values.size(); begin += width) {
    double sum = 0;
    for (float value : values.slice(begin, width))
      sum += double(value) * value;
    std::fill_n(units.begin() + begin, width,
                float(std::sqrt(sum / double(width))));
  }
  return units;
}

llvm::Expected<TrainedWeight> TrainedWeight::create(QuantizedWeightOp weight,
                                                    WeightReader &reader) {
  TrainedWeight result(weight);
  auto source = reader.getComponents(weight);
  if (!source)
    return source.takeError();
  result.source = std::move(*source);
  result.components = result.format.getComponents(result.type.getRows(),
                                                  result.type.getColumns());
  for (auto [index, component] : llvm::enumerate(result.components)) {
    Type element = component.type.getElementType();
    if (!isa<FloatType>(element))
      continue;
    std::vector<char> bytes(result.source[index].begin(),
                            result.source[index].end());
    std::vector<float> values = readNumbers(bytes, element.isF16());
    Adam adam(getUnits(values, component.hasRows ? result.type.getRows() : 1));
    result.numbers.push_back({index, element.isF16(), bytes, std::move(bytes),
                              std::move(values), std::move(adam)});
  }
  return result;
}

SmallVector<ArrayRef<char>> TrainedWeight::getData() const {
  SmallVector<ArrayRef<char>> data = source;
  for (const Numbers &each : numbers)
    data[each.component] = each.stored;
  if (!codes.empty())
    data[0] = codes;
  return data;
}

template <typename Rows>
void TrainedWeight::forRows(ThreadPool &pool, Rows rows) const {
  pool.parallelFor(0, type.getRows(), kRows, rows);
}

void TrainedWeight::decode(MutableArrayRef<float> matrix,
                           ThreadPool &pool) const {
  SmallVector<ArrayRef<char>> data = getData();
  int64_t rows = type.getRows(), columns = type.getColumns();
  forRows(pool, [&](int64_t begin, int64_t end) {
    format.dequantizeRows(data, rows, columns, begin, end,
                          matrix.data() + begin * columns);
  });
}

void TrainedWeight::follow(std::vector<float> weights, ThreadPool &pool) {
  followed = std::move(weights);
  codes.resize(source[0].size());
  encode(pool);
}

void TrainedWeight::encode(ThreadPool &pool) {
  SmallVector<ArrayRef<char>> data = getData();
  int64_t rows = type.getRows(), columns = type.getColumns();
  forRows(pool, [&](int64_t begin, int64_t end) {
    format.encodeRows(data, rows, columns, begin, end,
                      followed.data() + begin * columns, codes);
  });
}

void TrainedWeight::step(float rate, ArrayRef<float> gradient,
                         ThreadPool &pool) {
  SmallVector<ArrayRef<char>> data = getData();
  SmallVector<std::vector<float>, 2> sums;
  SmallVector<MutableArrayRef<float>> gradients(components.size());
  for (const Numbers &each : numbers)
    sums.emplace_back(each.values.size());
  for (auto [each, sum] : llvm::zip_equal(numbers, sums))
    gradients[each.component] = sum;
  int64_t rows = type.getRows(), columns = type.getColumns();
  forRows(pool, [&](int64_t begin, int64_t end) {
    int64_t at = begin * columns;
    format.differentiateRows(
        data, rows, columns, begin, end, gradient.data() + at,
        followed.empty() ? nullptr : followed.data() + at, gradients);
  });
  for (auto [each, sum] : llvm::zip_equal(numbers, sums)) {
    each.adam.step(rate, sum, each.values);
    writeNumbers(each.values, each.isF16, each.stored);
  }
  if (!followed.empty())
    encode(pool);
}

void TrainedWeight::restore() {
  for (Numbers &each : numbers)
    each.stored = each.before;
  followed.clear();
  codes.clear();
}

llvm::Expected<DictionaryAttr> TrainedWeight::store(StringRef name) {
  NamedAttrList entries(op.getComponents());
  SmallVector<ArrayRef<char>> data = getData();
  for (auto [index, component] : llvm::enumerate(components)) {
    ArrayRef<char> bytes = data[index];
    if (bytes.data() == source[index].data())
      continue;
    auto blob = allocateBlob(bytes.size());
    if (!blob)
      return blob.takeError();
    llvm::copy(bytes, blob->getMutableData().begin());
    entries.set(component.name,
                DenseResourceElementsAttr::get(
                    component.type, (name + "." + component.name).str(),
                    std::move(*blob)));
  }
  return entries.getDictionary(type.getContext());
}
