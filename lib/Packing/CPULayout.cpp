//===- CPULayout.cpp - Packed tiles of weights in source types ------------===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llq/Packing/CPULayout.h"
#include "dialects/LLQ/LLQ.h"

using namespace mlir;
using namespace llq;

#include "llq/Packing/CPULayoutInterface.cpp.inc"

FailureOr<int64_t>
llq::getTileBytes(Type type, function_ref<InFlightDiagnostic()> emitError) {
  if (auto tensor = dyn_cast<RankedTensorType>(type)) {
    // Bounds every later product of sizes well inside 64 bits.
    int64_t rows = tensor.getDimSize(0), columns = tensor.getDimSize(1);
    if (rows <= 0 || columns <= 0 || rows > (int64_t(1) << 40) / columns)
      return emitError() << "the cpu target cannot hold a weight of " << rows
                         << " x " << columns;
    return getTileBytes(type);
  }
  auto quantized = cast<QuantizedType>(type);
  auto layout = dyn_cast<CPULayoutInterface>(quantized.getFormat());
  if (!layout)
    return emitError() << "the cpu target has no layout for "
                       << quantized.getFormat();
  if (failed(layout.verifyCPULayout(emitError, quantized.getColumns())))
    return failure();
  return getTileBytes(type);
}

int64_t llq::getTileBytes(Type type) {
  if (auto quantized = dyn_cast<QuantizedType>(type))
    return cast<CPULayoutInterface>(quantized.getFormat())
        .getTileBytes(quantized.getColumns());
  auto tensor = cast<RankedTensorType>(type);
  return getPaddedColumns(tensor.getDimSize(1)) * kTileRows *
         tensor.getElementTypeBitWidth() / 8;
}

int64_t llq::getPackedBytes(Type type) {
  auto quantized = dyn_cast<QuantizedType>(type);
  int64_t rows = quantized ? quantized.getRows()
                           : cast<RankedTensorType>(type).getDimSize(0);
  return getPaddedRows(rows) / kTileRows * getTileBytes(type) +
         getTailBytes(type);
}

int64_t llq::getTailBytes(Type type) {
  auto quantized = dyn_cast<QuantizedType>(type);
  if (!quantized)
    return 0;
  return cast<CPULayoutInterface>(quantized.getFormat())
      .getTailBytes(quantized.getRows(), quantized.getColumns());
}
