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
        bytes.push_back(char(random()));
    }
  }
  int64_t largestCode = 1;
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

std::vector<std::vector<char>> llq::test::packTiles(const TestWeight &weight) {
  int64_t tileBytes = *getTileBytes(weight.type, [&] {
    return emitError(UnknownLoc::get(weight.type.getContext()));
  });
  int64_t tiles = getPaddedRows(weight.rows) / kTileRows;
  std::vector<std::vector<char>> result(tiles, std::vector<char>(tileBytes));
  SmallVector<ArrayRef<char>> data(weight.components.begin(),
                                   weight.components.end());
  for (int64_t tile = 0; tile * kTileRows < weight.rows; ++tile) {
    char *out = result[tile].data();
    int64_t begin = tile * kTileRows;
    if (auto quantized = dyn_cast<QuantizedType>(weight.type)) {
      cast<CPULayoutInterface>(quantized.getFormat())
          .packTile(data, weight.rows, weight.columns, begin, out);
      continue;
    }
    int64_t bytes = cast<ShapedType>(weight.type).getElementTypeBitWidth() / 8;
    int64_t end = std::min(weight.rows, begin + kTileRows);
    for (int64_t row = begin; row < end; ++row)
      for (int64_t column = 0; column < weight.columns; ++column)
        std::memcpy(out + (column * kTileRows + row - begin) * bytes,
                    data[0].data() + (row * weight.columns + column) * bytes,
                    bytes);
  }
  return result;
}

std::vector<char> llq::test::packBuffer(ArrayRef<TestWeight> weights,
                                        bool interleaved) {
  std::vector<std::vector<std::vector<char>>> parts;
  for (const TestWeight &weight : weights)
    parts.push_back(packTiles(weight));
  std::vector<char> result;
  auto put = [&](const std::vector<char> &tile) {
    result.insert(result.end(), tile.begin(), tile.end());
  };
  if (interleaved) {
    for (size_t tile = 0; tile < parts.front().size(); ++tile)
      for (auto &part : parts)
        put(part[tile]);
    return result;
  }
  for (auto &part : parts)
    for (auto &tile : part)
      put(tile);
  return result;
}
