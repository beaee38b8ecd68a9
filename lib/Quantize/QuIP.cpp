//===- QuIP.cpp - Rounding in an incoherent basis -------------------------===//
//
// Chee et al., "QuIP: 2-Bit Quantization of Large Language Models With
// Guarantees", arXiv 2307.13304. The arithmetic is in
// llq/Numerics/Incoherence.h and llq/Numerics/LDLQ.h.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "QuIP.h"

#include "llq/Calibration/Calibrator.h"
#include "llq/Numerics/Hadamard.h"
#include "llq/Numerics/Incoherence.h"
#include "llq/Numerics/LDLQ.h"
#include "llq/Quantize/CompensatedMethod.h"
#include "llq/Quantize/UniformWeight.h"

using namespace mlir;

namespace llq {
#define GEN_PASS_DECL_QUANTIZEQUIPPASS
#define GEN_PASS_DEF_QUANTIZEQUIPPASS
#include "lib/Quantize/QuIP.h.inc"

namespace {

struct QuIPOptions {
  numerics::LDLQOptions rounding;
  numerics::GPTQOptions factor;
  QuIPRotation rotation;
  int64_t seed;
  bool rescale;
};

class QuIP {
public:
  QuIP(const QuIPOptions &options, ThreadPool &pool)
      : options(options), pool(pool) {}

  FailureOr<QuantizedWeight> operator()(const LinearLayer &layer);

private:
  /// The rotation of vectors of `size`, or null if there is none.
  RotationAttr getRotation(MLIRContext *context, int64_t size) const;
  /// A row's scale and zero point on the matrix's grid.
  numerics::UniformGridOptions getGrid() const;
  LogicalResult quantize(const LinearLayer &layer, QuantizedWeight &result);

  QuIPOptions options;
  ThreadPool &pool;
};

} // namespace

RotationAttr QuIP::getRotation(MLIRContext *context, int64_t size) const {
  // What kernels take: runs of a power of two of at least a vector.
  constexpr int64_t leastRun = 16, mostFactor = 512, mostSize = 32768;
  int64_t order = numerics::hadamardOrder(size);
  bool hadamard = order && size / order >= leastRun && size <= mostSize;
  auto [p, q] = numerics::splitKronecker(size);
  bool kronecker = std::max(p, q) <= mostFactor && size <= mostSize;
  switch (options.rotation) {
  case QuIPRotation::Auto:
    kronecker = kronecker && !hadamard;
    break;
  case QuIPRotation::Hadamard:
    kronecker = false;
    break;
  case QuIPRotation::Kronecker:
    hadamard = false;
    break;
  case QuIPRotation::None:
    return {};
  }
  if (!hadamard && !kronecker)
    return {};
  return RotationAttr::get(
      context, hadamard ? RotationKind::Hadamard : RotationKind::Kronecker,
      size, options.seed);
}

numerics::UniformGridOptions QuIP::getGrid() const {
  numerics::UniformGridOptions grid;
  grid.bits = options.rounding.bits;
  grid.groupSize = 0;
  return grid;
}

LogicalResult QuIP::quantize(const LinearLayer &layer,
                             QuantizedWeight &result) {
  FailureOr<ArrayRef<float>> given = getSecondMoment(layer);
  if (failed(given))
    return failure();
  FailureOr<std::vector<float>> source = readWeights(layer);
  if (failed(source))
    return failure();
  int64_t rows = layer.getRows(), columns = layer.getColumns();
  std::vector<float> weights = *source, moment = given->vec();

  if (options.rescale) {
    std::vector<double> squares(columns);
    numerics::addColumnSquares(weights.data(), rows, squares, pool);
    result.inputScale = numerics::chooseInputScales(moment, squares);
  }
  auto getMatrix = [](RotationAttr rotation) {
    return rotation ? rotation.getMatrix() : nullptr;
  };
  auto input = getMatrix(result.inputRotation);
  auto output = getMatrix(result.outputRotation);
  numerics::IncoherentBasis basis{result.inputScale, input.get(), output.get()};
  basis.enterWeights(weights.data(), rows, columns, pool);
  basis.enterSecondMoment(moment.data(), columns, pool);
  double mean = numerics::normalizeSecondMoment(moment.data(), columns,
                                                options.factor.damp, pool);
  auto factor = createFactor(layer, moment, options.factor, pool);
  if (!factor)
    return failure();

  numerics::UniformGridOptions grid = getGrid();
  UniformBlock block(rows, columns, grid, /*floatZeros=*/true);
  numerics::LDLQGrid chosen;
  if (numerics::quantizeLDLQ(weights.data(), rows, *factor, moment,
                             options.rounding, block.codes.data(), chosen,
                             pool))
    return layer.emitError() << "has weights that are not finite once they are "
                                "rotated";
  if (failed(verifyOutputError(layer, chosen.outputError)))
    return failure();
  llvm::fill(block.scales, chosen.scale);
  llvm::fill(block.floatZeros, chosen.zero);
  storeUniformBlock(block, 0, grid, weights, result);

  // The error where weights are as they were.
  for (auto [weight, code] : llvm::zip_equal(weights, block.codes))
    weight = chosen.scale * (float(code) - chosen.zero);
  basis.leaveWeights(weights.data(), rows, columns, pool);
  result.error.emplace();
  result.error->add(*source, weights);
  result.figures = {{"objective", chosen.outputError * mean /
                                      (double(rows) * double(columns))},
                    {"range", chosen.range}};
  return success();
}

FailureOr<QuantizedWeight> QuIP::operator()(const LinearLayer &layer) {
  if (layer.isTable())
    return roundToNearest(layer);
  MLIRContext *context = layer.getContext();
  FailureOr<QuantizedWeight> result = QuantizedWeight::create(
      layer, getUniformFormat(context, getGrid(), /*floatZeros=*/true));
  if (failed(result))
    return failure();
  if (layer.isSketch()) {
    result->error.emplace();
    return result;
  }
  result->inputRotation = getRotation(context, layer.getColumns());
  if (!layer.hasBias())
    result->outputRotation = getRotation(context, layer.getRows());
  if (failed(quantize(layer, *result)))
    return failure();
  return result;
}

namespace {
struct QuantizeQuIPPass : impl::QuantizeQuIPPassBase<QuantizeQuIPPass> {
  using Base::Base;

  void getDependentDialects(DialectRegistry &registry) const override {
    registerCalibrationDialects(registry);
  }

  void runOnOperation() override {
    ModuleOp module = getOperation();
    FailureOr<WeightOptions> weights = getLayerOptions(*this, module);
    if (failed(weights))
      return signalPassFailure();
    weights->grid.groupSize = 0;
    FailureOr<CompensationOptions> compensation =
        getCompensationOptions(*this, module, *weights);
    if (failed(compensation))
      return signalPassFailure();
    QuIPOptions options;
    options.rounding.bits = unsigned(int64_t(bits));
    options.rounding.range = range;
    options.rounding.clampFirst = clampFirst;
    options.rounding.greedyPasses = int(int64_t(greedyPasses));
    options.rotation = rotation;
    options.seed = seed;
    options.rescale = rescale;
    options.factor = compensation->factor;
    options.factor.order = greedyPasses ? numerics::GPTQOrder::Activation
                                        : numerics::GPTQOrder::Reverse;
    if (!(options.rounding.range >= 0 && options.rounding.range <= 100)) {
      emitError(module.getLoc(), "llq-quantize-quip: range is 0 to 100, found ")
          << options.rounding.range;
      return signalPassFailure();
    }
    ThreadPool pool(module.getContext()->getNumThreads());
    QuIP quip(options, pool);
    if (failed(quantizeCalibratedLayers(module, *weights,
                                        compensation->calibration, quip)))
      signalPassFailure();
  }
};
} // namespace
} // namespace llq
