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

/// What takes the place of a layer's source weight. As an attribute it can be
/// kept in a file.
struct FinishedLayer {
  QuantizedType type;
  mlir::DictionaryAttr components;
  /// How it was made: the attribute `method` of a quantized layer.
  mlir::DictionaryAttr method;
  /// Of the inputs (QuantizedWeight::inputOrder); null: as they are.
  mlir::DenseIntElementsAttr order;
  /// In front of the layer and behind it; null if there are none. The scale is
  /// a resource blob of f16.
  RotationAttr inputRotation, outputRotation;
  mlir::TypedAttr inputScale;
  /// Time that the method took; 0 if it was done before.
  double seconds = 0;

  mlir::DictionaryAttr store() const;
  static std::optional<FinishedLayer> load(mlir::DictionaryAttr stored);
};

/// Puts quantized weights in place of source weights, says so, and frees these.
class LayerRewriter {
public:
  LayerRewriter(mlir::ModuleOp module, const WeightOptions &options)
      : module(module), options(options), references(module) {}

  /// The layer of `selected`; `statistics` of its inputs, if there are some.
  LinearLayer getLayer(const SelectedWeight &selected,
                       std::shared_ptr<const InputStatistics> statistics = {});

  /// Calls `quantize` for `layer`, that of `selected`, and measures the error
  /// if the method has not. Emits an error at the layer.
  mlir::FailureOr<FinishedLayer> quantize(const SelectedWeight &selected,
                                          const LinearLayer &layer,
                                          QuantizeLayerFn quantize);

  /// Replaces the weight of all uses of `selected`.
  void replace(const SelectedWeight &selected, const FinishedLayer &finished);

private:
  /// The attribute `method` of a quantized layer. `prepared` says what scaled
  /// its source, or is null.
  mlir::DictionaryAttr getProvenance(const QuantizedWeight &weight,
                                     mlir::Attribute prepared) const;

  mlir::ModuleOp module;
  const WeightOptions &options;
  WeightReferences references;
  WeightReader reader;
};

} // namespace llq

#endif // LLQ_LIB_QUANTIZE_LAYERREWRITER_H
