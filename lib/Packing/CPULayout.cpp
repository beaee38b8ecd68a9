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
  if (auto tensor = dyn_cast<RankedTensorType>(type))
    return getPaddedColumns(tensor.getDimSize(1)) * kTileRows *
           tensor.getElementTypeBitWidth() / 8;
  auto quantized = cast<QuantizedType>(type);
  auto layout = dyn_cast<CPULayoutInterface>(quantized.getFormat());
  if (!layout)
    return emitError() << "the cpu target has no layout for "
                       << quantized.getFormat();
  if (failed(layout.verifyCPULayout(emitError, quantized.getColumns())))
    return failure();
  return layout.getTileBytes(quantized.getColumns());
}
