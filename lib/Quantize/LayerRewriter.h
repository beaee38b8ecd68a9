//===- LayerRewriter.h - Quantized weights in place of sources --*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_LIB_QUANTIZE_LAYERREWRITER_H
#define LLQ_LIB_QUANTIZE_LAYERREWRITER_H

#include "Selection.h"
#include "llq/Support/WeightReferences.h"

namespace llq {

/// Puts quantized weights in place of source weights, says so, and frees these.
class LayerRewriter {
public:
  LayerRewriter(mlir::ModuleOp module, const WeightOptions &options)
      : options(options), references(module) {}

  /// The layer of `selected`; `statistics` of its inputs, if there are some.
  LinearLayer getLayer(const SelectedWeight &selected,
                       std::shared_ptr<const InputStatistics> statistics = {});

  /// Replaces the weight of all uses of `selected`. Measures its error if the
  /// method has not. Emits an error at the layer.
  mlir::LogicalResult replace(const SelectedWeight &selected,
                              QuantizedWeight &weight);

private:
  /// The attribute `method` of a quantized layer.
  mlir::DictionaryAttr getProvenance(mlir::MLIRContext *context,
                                     const QuantizedWeight &weight) const;

  const WeightOptions &options;
  WeightReferences references;
  WeightReader reader;
};

} // namespace llq

#endif // LLQ_LIB_QUANTIZE_LAYERREWRITER_H
