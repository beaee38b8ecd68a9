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
                             UniformAttr format) {
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

static void fillQuantized(TestWeight &weight, UniformAttr format,
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

  SmallVector<ArrayRef<char>> data(weight.components.begin(),
                                   weight.components.end());
  weight.values.resize(n * k);
  cast<WeightFormatInterface>(Attribute(format))
      .dequantizeRows(data, n, k, 0, n, weight.values.data());
  for (int64_t row = 0; row < n; ++row)
    for (int64_t column = 0; column < k; ++column) {
      int64_t g = row * groups + column / size;
      weight.magnitudes.push_back(
          std::fabs(scales[g]) *
          (codes[row * k + column] + std::fabs(zeros[g])));
    }
}

TestWeight llq::test::makeWeight(Type type, std::mt19937 &random, Codes codes) {
  TestWeight weight;
  weight.type = type;
  if (auto quantized = dyn_cast<QuantizedType>(type)) {
    weight.rows = quantized.getRows();
    weight.columns = quantized.getColumns();
    fillQuantized(weight, cast<UniformAttr>(quantized.getFormat()), random,
                  codes);
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
