//===- LayerReport.h - What became of each layer ----------------*- C++ -*-===//
//
// Passes say what they have made of a layer in remarks. This collects them, so
// that nothing here knows a method.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_DRIVER_LAYERREPORT_H
#define LLQ_DRIVER_LAYERREPORT_H

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/MLIRContext.h"
#include "llvm/Support/JSON.h"

#include <functional>
#include <string>
#include <vector>

namespace llq {

/// What one pass has said of one layer.
struct LayerRecord {
  std::string pass;  ///< e.g. `llq-quantize-gptq`
  std::string what;  ///< e.g. `Quantized`
  std::string layer; ///< e.g. `layers.3.mlp.up_proj`
  /// Numbers and texts by `snake_case` names: `bits_per_weight`,
  /// `relative_error`, `seconds` and others.
  llvm::json::Object values;
};

class LayerReport {
public:
  using Listener = std::function<void(const LayerRecord &)>;

  /// Collects the remarks of `context`'s passes from now on. Passes run one
  /// after the other; `listener`, if there is one, hears of each record at
  /// once.
  explicit LayerReport(Listener listener = nullptr);
  /// Makes `context` report here. This object has to outlive the context.
  mlir::LogicalResult listenTo(mlir::MLIRContext &context);

  const std::vector<LayerRecord> &getRecords() const { return records; }

  /// [{layer, pass, what, values...}].
  llvm::json::Array toJSON() const;

private:
  class Streamer;

  Listener listener;
  std::vector<LayerRecord> records;
};

} // namespace llq

#endif // LLQ_DRIVER_LAYERREPORT_H
