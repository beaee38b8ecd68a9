//===- UniformWeight.cpp - From grids to the uniform format ---------------===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llq/Quantize/UniformWeight.h"
#include "llq/Numerics/BitPacking.h"
#include "llq/Numerics/Float16.h"

#include <algorithm>
#include <cstring>

using namespace mlir;
using namespace llq;

UniformAttr llq::getUniformFormat(MLIRContext *context,
                                  const numerics::UniformGridOptions &grid,
                                  bool floatZeros) {
  ZeroPoint zero = floatZeros           ? ZeroPoint::Float
                   : grid.storesZeros() ? ZeroPoint::Int
                                        : ZeroPoint::None;
  return UniformAttr::get(context, grid.bits, grid.groupSize, zero,
                          grid.scaleType == numerics::ScaleType::F16
                              ? ScaleType::F16
                              : ScaleType::F32);
}

UniformBlock::UniformBlock(int64_t rows, int64_t columns,
                           const numerics::UniformGridOptions &grid,
                           bool floatZeros)
    : codes(rows * columns), scales(rows * grid.groupsPerRow(columns)),
      zeros(grid.storesZeros() && !floatZeros ? scales.size() : 0),
      floatZeros(floatZeros ? scales.size() : 0) {}

numerics::UniformRows UniformBlock::view() {
  return {codes.data(), scales.data(), zeros.empty() ? nullptr : zeros.data()};
}

/// The bytes of rows [begin, begin + rows) of component `index`.
static std::span<uint8_t> getRows(QuantizedWeight &weight, size_t index,
                                  int64_t begin, int64_t rows) {
  MutableArrayRef<char> data = weight.getData(index);
  size_t rowBytes = data.size() / weight.getRows();
  return {reinterpret_cast<uint8_t *>(data.data()) + begin * rowBytes,
          rows * rowBytes};
}

/// Writes `numbers` as f16 or f32.
static void storeNumbers(const std::vector<float> &numbers,
                         numerics::ScaleType type, std::span<uint8_t> out) {
  if (type == numerics::ScaleType::F32) {
    std::memcpy(out.data(), numbers.data(), out.size());
    return;
  }
  auto *halves = reinterpret_cast<uint16_t *>(out.data());
  numerics::encodeF16(numbers, {halves, numbers.size()});
}

void llq::storeUniformBlock(const UniformBlock &block, int64_t begin,
                            const numerics::UniformGridOptions &grid,
                            ArrayRef<float> source, QuantizedWeight &weight) {
  int64_t columns = weight.getColumns();
  auto [least, most] = std::ranges::minmax_element(block.scales);
  int64_t rows = block.codes.size() / columns;
  auto getZero = [&](int64_t group) {
    return !block.floatZeros.empty() ? block.floatZeros[group]
           : !block.zeros.empty()    ? float(block.zeros[group])
                                     : float(grid.midCode());
  };
  weight.addRange(*least, *most,
                  numerics::countClipped(source.data(), rows, columns, grid,
                                         block.scales, getZero));
  int64_t groups = grid.groupsPerRow(columns);
  numerics::packRows(block.codes, rows, columns, grid.bits,
                     getRows(weight, 0, begin, rows));

  storeNumbers(block.scales, grid.scaleType, getRows(weight, 1, begin, rows));

  if (!block.floatZeros.empty())
    storeNumbers(block.floatZeros, numerics::ScaleType::F16,
                 getRows(weight, 2, begin, rows));
  else if (grid.storesZeros())
    numerics::packRows(block.zeros, rows, groups, grid.bits,
                       getRows(weight, 2, begin, rows));
}

FailureOr<QuantizedWeight> llq::quantizeUniform(const LinearLayer &layer,
                                                QuantizeUniformFn quantize) {
  const numerics::UniformGridOptions &grid = layer.getGrid();
  FailureOr<QuantizedWeight> result = QuantizedWeight::create(
      layer, getUniformFormat(layer.getContext(), grid));
  if (failed(result))
    return failure();
  auto quantizeBlock = [&](const RowBlock &rows) -> llvm::Error {
    UniformBlock block(rows.rows(), rows.columns, grid);
    [[maybe_unused]] auto bad = quantize(rows, block.view());
    assert(!bad && "a layer's weights are finite");
    storeUniformBlock(block, rows.begin, grid, rows.weights, *result);
    return llvm::Error::success();
  };
  if (failed(quantizeRowBlocks(layer, *result, quantizeBlock)))
    return failure();
  return result;
}

FailureOr<QuantizedWeight> llq::roundToNearest(const LinearLayer &layer) {
  return quantizeUniform(
      layer, [&](const RowBlock &rows, const numerics::UniformRows &result) {
        return numerics::quantizeRows(rows.weights.data(), rows.rows(),
                                      rows.columns, layer.getGrid(), result);
      });
}
