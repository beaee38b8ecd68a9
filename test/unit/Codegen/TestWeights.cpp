//===- TestWeights.cpp - Random weights, packed and in plain form ---------===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "TestWeights.h"

#include "llq/Codegen/CPU.h"
#include "llq/Numerics/BitPacking.h"
#include "llq/Numerics/Float16.h"

#include <cmath>
#include <cstring>

using namespace mlir;
using namespace llq;
using namespace llq::test;

MLIRContext &llq::test::getContext() {
  static MLIRContext *context = [] {
    DialectRegistry registry;
    registry.insert<LLQDialect>();
    registerKernelDialects(registry);
    registerCPULayouts(registry);
    registerCPUDecoders(registry);
    registerKernelDialects(registry);
    auto *made = new MLIRContext(registry);
    made->loadAllAvailableDialects();
    return made;
  }();
  return *context;
}

Type llq::test::getQuantized(int64_t rows, int64_t columns,
                             WeightFormatInterface format) {
  return QuantizedType::get(format.getContext(), {rows, columns}, format);
}

Type llq::test::getTensor(int64_t rows, int64_t columns, Type element) {
  return RankedTensorType::get({rows, columns}, element);
}

/// Appends `value` as f32, f16 or bf16 and returns what is stored.
static float append(std::vector<char> &bytes, float value, Type element) {
  auto put = [&](auto stored) {
    const char *data = reinterpret_cast<const char *>(&stored);
    bytes.insert(bytes.end(), data, data + sizeof(stored));
  };
  if (element.isF16()) {
    uint16_t half = numerics::encodeF16(value);
    put(half);
    return numerics::decodeF16(half);
  }
  if (element.isBF16()) {
    uint16_t half = numerics::encodeBF16(value);
    put(half);
    return numerics::decodeBF16(half);
  }
  put(value);
  return value;
}

/// Appends rows of codes below 2^bits as the bit stream of the IR.
static std::vector<uint8_t> appendCodes(std::vector<char> &bytes, int64_t rows,
                                        int64_t columns, int64_t bits,
                                        std::mt19937 &random, Codes kind) {
  std::vector<uint8_t> codes(rows * columns);
  for (uint8_t &code : codes)
    code =
        kind == Codes::AllMax ? (1 << bits) - 1 : random() & ((1u << bits) - 1);
  std::vector<uint8_t> packed(rows * numerics::packedRowBytes(columns, bits));
  numerics::packRows(codes, rows, columns, bits, packed);
  bytes.insert(bytes.end(), packed.begin(), packed.end());
  return codes;
}

/// Sets the values that the components mean.
static void decode(TestWeight &weight, WeightFormatInterface format) {
  SmallVector<ArrayRef<char>> data(weight.components.begin(),
                                   weight.components.end());
  weight.values.resize(weight.rows * weight.columns);
  format.dequantizeRows(data, weight.rows, weight.columns, 0, weight.rows,
                        weight.values.data());
}

static void fillUniform(TestWeight &weight, UniformAttr format,
                        std::mt19937 &random, Codes kind) {
  int64_t n = weight.rows, k = weight.columns, bits = format.getBits();
  int64_t groups = format.getNumGroups(k), size = format.getGroupSize(k);
  Builder b(format.getContext());
  Type scaleType = format.getScale() == ScaleType::F16 ? Type(b.getF16Type())
                                                       : Type(b.getF32Type());
  std::uniform_real_distribution<float> unit(0, 1);
  weight.components.resize(format.getZero() == ZeroPoint::None ? 2 : 3);
  std::vector<uint8_t> codes =
      appendCodes(weight.components[0], n, k, bits, random, kind);
  std::vector<float> scales, zeros;
  for (int64_t i = 0; i < n * groups; ++i) {
    // Most are ordinary; some zero, negative, subnormal in f16 or larger.
    float scale = (0.1f + unit(random)) / 64;
    switch (random() % 16) {
    case 0:
      scale = 0;
      break;
    case 1:
      scale = -scale;
      break;
    case 2:
      scale = 3e-6f * unit(random);
      break;
    case 3:
      scale = unit(random);
      break;
    }
    scales.push_back(append(weight.components[1],
                            kind == Codes::AllMax ? 1 : scale, scaleType));
  }
  if (format.getZero() == ZeroPoint::Int) {
    for (uint8_t zero : appendCodes(weight.components[2], n, groups, bits,
                                    random, Codes::Random))
      zeros.push_back(zero);
  } else {
    for (int64_t i = 0; i < n * groups; ++i)
      zeros.push_back(format.getZero() == ZeroPoint::None
                          ? float(1 << (bits - 1))
                          : append(weight.components[2],
                                   (unit(random) * 1.5f - 0.25f) * (1 << bits),
                                   b.getF16Type()));
  }

  decode(weight, format);
  for (int64_t row = 0; row < n; ++row)
    for (int64_t column = 0; column < k; ++column) {
      int64_t g = row * groups + column / size;
      weight.magnitudes.push_back(
          std::fabs(scales[g]) *
          (codes[row * k + column] + std::fabs(zeros[g])));
    }
}

/// Columns of group `g` that may use the second table.
static int64_t getMostCount(WeightFormatInterface format,
                            const TestWeight &weight, int64_t g) {
  int64_t group = cast<CodebookAttr>(format).getGroup();
  int64_t size = group ? group : weight.columns;
  return std::min<int64_t>({32, size, weight.columns - g * size});
}

/// Sets bits [begin, begin + count) of a row of `rowBytes` bytes to 0.
static void clearBits(std::vector<char> &bytes, int64_t row, int64_t rowBytes,
                      int64_t begin, int64_t count) {
  for (int64_t bit = begin; bit < begin + count; ++bit)
    bytes[row * rowBytes + bit / 8] &= char(~(1 << (bit % 8)));
}

/// Sets the code of a weight in the first component of a base to 0.
static void clearCode(TestWeight &weight, Attribute base, int64_t row,
                      int64_t column) {
  std::vector<char> &codes = weight.components[0];
  int64_t k = weight.columns;
  if (auto planes = dyn_cast<PlanesAttr>(base)) {
    for (int64_t p = 0; p < planes.getCount(); ++p)
      clearBits(codes, row * planes.getCount() + p, llvm::divideCeil(k, 8),
                column, 1);
    return;
  }
  auto uniform = dyn_cast<UniformAttr>(base);
  int64_t bits =
      uniform ? uniform.getBits() : cast<CodebookAttr>(base).getBits();
  clearBits(codes, row, numerics::packedRowBytes(k, bits), column * bits, bits);
}

/// Outliers in random places, as many as the format says.
static void fillOutliers(TestWeight &weight, OutliersAttr format,
                         std::mt19937 &random) {
  int64_t n = weight.rows, k = weight.columns;
  // Each byte of a mask, as the first column that it speaks of.
  std::vector<std::pair<int64_t, int64_t>> slots;
  for (int64_t row = 0; row < n; ++row)
    for (int64_t column = 0; column < k; ++column)
      if (column % 32 < 4)
        slots.push_back({row, column});
  std::shuffle(slots.begin(), slots.end(), random);
  slots.resize(format.getMasks());
  // A code for each of them, then others.
  SmallVector<std::pair<int64_t, int64_t>> places, others;
  for (auto [row, column] : slots) {
    size_t first = others.size();
    for (int64_t c = column; c < std::min(k, column + 32); c += 4)
      others.push_back({row, c});
    std::swap(others[first + random() % (others.size() - first)],
              others.back());
    places.push_back(others.pop_back_val());
  }
  std::shuffle(others.begin(), others.end(), random);
  llvm::append_range(places, others);
  places.resize(format.getOutliers());
  std::vector<uint8_t> present(n * k), codes(n * k);
  for (auto [row, column] : places) {
    present[row * k + column] = 1;
    codes[row * k + column] = uint8_t(random());
    clearCode(weight, format.getBase(), row, column);
  }
  numerics::SparseCodes sparse =
      numerics::packSparseCodes(codes.data(), present.data(), n, k);
  size_t first = weight.components.size() - format.getNumOwnComponents();
  auto put = [&](size_t index, auto &from) {
    if (!from.empty())
      std::memcpy(weight.components[first + index].data(), from.data(),
                  from.size() * sizeof(from[0]));
  };
  put(0, sparse.presence);
  put(1, sparse.masks);
  put(2, sparse.codes);
  put(3, sparse.starts);
}

OutliersAttr llq::test::makeOutliers(WeightFormatInterface base, int64_t rows,
                                     int64_t columns, int64_t percent) {
  int64_t slots = 0;
  for (int64_t column = 0; column < columns; ++column)
    slots += column % 32 < 4;
  int64_t masks = rows * slots * percent / 100;
  // Masks of the last columns may have a bit only.
  int64_t codes = percent == 100 ? rows * columns
                  : columns < 64 ? masks
                                 : masks * 3 / 2;
  return OutliersAttr::get(&getContext(), base, masks, codes);
}

/// Any bits for codes, ordinary numbers for f16 components; small counts. The
/// terms of a weight are its coefficients, of which there are at most 8.
static void fillGrouped(TestWeight &weight, WeightFormatInterface format,
                        std::mt19937 &random) {
  std::normal_distribution<float> normal;
  float largest = 0;
  for (const WeightComponent &component :
       format.getComponents(weight.rows, weight.columns)) {
    std::vector<char> &bytes = weight.components.emplace_back();
    for (int64_t i = 0; i < component.type.getNumElements(); ++i) {
      if (component.type.getElementType().isF16())
        largest = std::max(largest,
                           std::fabs(append(bytes, normal(random) / 8,
                                            component.type.getElementType())));
      else if (component.name == "counts")
        bytes.push_back(char(random() % (1 + getMostCount(format, weight, i))));
      else
        for (int64_t byte = 0;
             byte < component.type.getElementTypeBitWidth() / 8; ++byte)
          bytes.push_back(char(random()));
    }
  }
  int64_t largestCode = 1;
  if (auto outliers = dyn_cast<OutliersAttr>(format)) {
    fillOutliers(weight, outliers, random);
    largestCode = 255;
  }
  if (auto mixed = dyn_cast<MixedAttr>(format)) {
    // Widths in turn, as the format's sum of bits has been made.
    for (auto [g, bits] : llvm::enumerate(weight.components[3]))
      bits = char(mixed.getWidths()[g % mixed.getWidths().size()]);
    largestCode = (1 << mixed.getWidths().back()) - 1;
  }
  SmallVector<ArrayRef<char>> data(weight.components.begin(),
                                   weight.components.end());
  llvm::cantFail(format.verifyContents(data, weight.rows, weight.columns));
  decode(weight, format);
  weight.magnitudes.assign(weight.rows * weight.columns,
                           8 * largest * float(largestCode));
}

MixedAttr llq::test::makeMixed(ArrayRef<int64_t> widths, int64_t group,
                               int64_t columns) {
  int64_t size = group ? group : columns, bits = 0;
  for (int64_t g = 0; g * size < columns; ++g)
    bits += widths[g % widths.size()] * std::min(size, columns - g * size);
  return MixedAttr::get(&getContext(), widths, bits, group);
}

TestWeight llq::test::makeWeight(Type type, std::mt19937 &random, Codes codes) {
  TestWeight weight;
  weight.type = type;
  if (auto quantized = dyn_cast<QuantizedType>(type)) {
    weight.rows = quantized.getRows();
    weight.columns = quantized.getColumns();
    if (auto uniform = dyn_cast<UniformAttr>(quantized.getFormat()))
      fillUniform(weight, uniform, random, codes);
    else
      fillGrouped(weight, cast<WeightFormatInterface>(quantized.getFormat()),
                  random);
    return weight;
  }
  auto tensor = cast<RankedTensorType>(type);
  weight.rows = tensor.getDimSize(0);
  weight.columns = tensor.getDimSize(1);
  weight.components.resize(1);
  std::normal_distribution<float> normal;
  for (int64_t i = 0; i < weight.rows * weight.columns; ++i) {
    float value = normal(random);
    if (random() % 32 == 0)
      value *= 1e-6f; // Subnormal in f16.
    weight.values.push_back(
        append(weight.components[0], value, tensor.getElementType()));
    weight.magnitudes.push_back(std::fabs(weight.values.back()));
  }
  return weight;
}

static int64_t getTileSize(const TestWeight &weight) {
  return *getTileBytes(weight.type, [&] {
    return emitError(UnknownLoc::get(weight.type.getContext()));
  });
}
static int64_t getTiles(const TestWeight &weight) {
  return getPaddedRows(weight.rows) / kTileRows;
}

/// A tile of a weight whose tail begins `tail` bytes behind it.
static std::vector<char> packTile(const TestWeight &weight, int64_t tile,
                                  int64_t tail) {
  std::vector<char> result(getTileSize(weight));
  int64_t begin = tile * kTileRows;
  if (begin >= weight.rows)
    return result;
  SmallVector<ArrayRef<char>> data(weight.components.begin(),
                                   weight.components.end());
  if (auto quantized = dyn_cast<QuantizedType>(weight.type)) {
    cast<CPULayoutInterface>(quantized.getFormat())
        .packTile(data, weight.rows, weight.columns, begin, tail,
                  result.data());
    return result;
  }
  int64_t bytes = cast<ShapedType>(weight.type).getElementTypeBitWidth() / 8;
  int64_t end = std::min(weight.rows, begin + kTileRows);
  for (int64_t row = begin; row < end; ++row)
    for (int64_t column = 0; column < weight.columns; ++column)
      std::memcpy(&result[(column * kTileRows + row - begin) * bytes],
                  data[0].data() + (row * weight.columns + column) * bytes,
                  bytes);
  return result;
}

std::vector<std::vector<char>> llq::test::packTiles(const TestWeight &weight) {
  std::vector<std::vector<char>> result;
  for (int64_t tile = 0; tile < getTiles(weight); ++tile)
    result.push_back(packTile(weight, tile, 0));
  return result;
}

/// The tail of a weight.
static std::vector<char> packTail(const TestWeight &weight) {
  std::vector<char> tail(getTailBytes(weight.type));
  if (tail.empty())
    return tail;
  SmallVector<ArrayRef<char>> data(weight.components.begin(),
                                   weight.components.end());
  auto layout =
      cast<CPULayoutInterface>(cast<QuantizedType>(weight.type).getFormat());
  for (int64_t row = 0; row < weight.rows; row += kTileRows)
    layout.packTail(data, weight.rows, weight.columns, row, tail.data());
  return tail;
}

std::vector<char> llq::test::packBuffer(ArrayRef<TestWeight> weights,
                                        bool interleaved) {
  // Tiles in the order of the file, then tails.
  std::vector<std::pair<size_t, int64_t>> order;
  if (interleaved)
    for (int64_t tile = 0; tile < getTiles(weights.front()); ++tile)
      for (size_t part = 0; part < weights.size(); ++part)
        order.push_back({part, tile});
  else
    for (auto [part, weight] : llvm::enumerate(weights))
      for (int64_t tile = 0; tile < getTiles(weight); ++tile)
        order.push_back({part, tile});
  std::vector<char> result, tails;
  int64_t end = int64_t(order.size()) * getTileSize(weights.front());
  std::vector<int64_t> begins;
  for (const TestWeight &weight : weights) {
    begins.push_back(end + int64_t(tails.size()));
    llvm::append_range(tails, packTail(weight));
  }
  for (auto [part, tile] : order)
    llvm::append_range(result, packTile(weights[part], tile,
                                        begins[part] - int64_t(result.size())));
  llvm::append_range(result, tails);
  return result;
}
