//===- CompensatedMethod.h - Methods that compensate errors -----*- C++ -*-===//
//
// What methods in the loop of llq/Numerics/Compensation.h share: their options
// (`compensationOptions` of QuantPass.td), the factor of a layer's inputs, and
// what happens to tables, to layers of a dry run and to those whose samples say
// nothing.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_QUANTIZE_COMPENSATEDMETHOD_H
#define LLQ_QUANTIZE_COMPENSATEDMETHOD_H

#include "llq/Numerics/Compensation.h"
#include "llq/Quantize/Method.h"
#include "llq/Support/ParallelFor.h"

namespace llq {

/// What `compensationOptions` say, and which layers are quantized on what grid.
/// The factor's group size is the grid's.
struct CompensationOptions {
  WeightOptions weights;
  numerics::GPTQOptions factor;
  CalibrationOptions calibration;
};

namespace detail {
template <typename Pass> struct CompensationAccess : Pass {
  static CompensationOptions get(Pass &pass) {
    CompensationOptions options;
    options.factor.damp = pass.*&CompensationAccess::damp;
    options.calibration.inputs = pass.*&CompensationAccess::inputs;
    options.calibration.trueSequential =
        pass.*&CompensationAccess::trueSequential;
    options.calibration.firstTokenShare =
        pass.*&CompensationAccess::firstTokenShare;
    return options;
  }
};

/// Fails with an error at `module` if a number is out of range.
mlir::LogicalResult verifyOptions(mlir::Pass &pass, mlir::ModuleOp module,
                                  const CompensationOptions &options);
} // namespace detail

/// The options of `pass`, whose td says `compensationOptions`, and `weights`.
template <typename Pass>
mlir::FailureOr<CompensationOptions>
getCompensationOptions(Pass &pass, mlir::ModuleOp module,
                       mlir::FailureOr<WeightOptions> weights) {
  if (failed(weights))
    return mlir::failure();
  CompensationOptions options = detail::CompensationAccess<Pass>::get(pass);
  options.weights = std::move(*weights);
  options.factor.groupSize = options.weights.grid.groupSize;
  if (failed(detail::verifyOptions(pass, module, options)))
    return mlir::failure();
  return options;
}

/// The same for a pass whose td says `layerOptions` too: a method without a
/// choice of a grid, but for groups of `groupSize` columns.
template <typename Pass>
mlir::FailureOr<CompensationOptions>
getCompensationOptions(Pass &pass, mlir::ModuleOp module, int64_t groupSize) {
  mlir::FailureOr<WeightOptions> weights = getLayerOptions(pass, module);
  if (succeeded(weights))
    weights->grid.groupSize = groupSize;
  return getCompensationOptions(pass, module, std::move(weights));
}

/// A method that needs the factor of a layer's inputs.
class CompensatedMethod {
public:
  virtual ~CompensatedMethod() = default;

  /// The format of a layer's weight, for a dry run, which has no inputs; in the
  /// result of a quantization the method chooses it by itself.
  virtual WeightFormatInterface getFormat(const LinearLayer &layer) const = 0;
  /// Whether the head is a layer like any other; otherwise it is rounded to
  /// nearest on its own grid, as the embedding is.
  virtual bool quantizesHead() const { return false; }
  /// Whether channels of a layer's input will be put in another order.
  virtual bool permutesInputs(const LinearLayer &layer) const { return false; }

  /// Quantizes a layer whose inputs have `factor`. Emits an error if it fails.
  virtual mlir::FailureOr<QuantizedWeight>
  quantize(const LinearLayer &layer, const numerics::GPTQFactor &factor,
           ThreadPool &pool) = 0;
};

/// The same as quantizeCalibratedLayers for such a method. The embedding is
/// rounded to nearest. Where samples tell nothing about any channel, all
/// channels count alike. `method` of a layer records the damping, dead channels
/// and what else the method says.
mlir::LogicalResult
quantizeCompensatedLayers(mlir::ModuleOp module,
                          const CompensationOptions &options,
                          CompensatedMethod &method);

/// The second moment of the layer's inputs, or an error at the layer.
mlir::FailureOr<llvm::ArrayRef<float>>
getSecondMoment(const LinearLayer &layer);

/// The factor of `secondMoment`, or an error at the layer.
std::optional<numerics::GPTQFactor>
createFactor(const LinearLayer &layer, llvm::ArrayRef<float> secondMoment,
             const numerics::GPTQOptions &options, ThreadPool &pool);

/// Emits an error at the layer if compensation has overflowed.
mlir::LogicalResult verifyOutputError(const LinearLayer &layer,
                                      double outputError);

/// Reads all of a layer. Emits an error if it cannot be read.
mlir::FailureOr<std::vector<float>> readWeights(const LinearLayer &layer);

/// Sets the format's bytes of component `index` of `weight` to f16 numbers,
/// from element `begin` on.
void storeHalves(llvm::ArrayRef<float> numbers, QuantizedWeight &weight,
                 size_t index, int64_t begin = 0);

} // namespace llq

#endif // LLQ_QUANTIZE_COMPENSATEDMETHOD_H
