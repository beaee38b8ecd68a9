//===- QuIP.cpp - Rounding in an incoherent basis -------------------------===//
//
// Chee et al., "QuIP: 2-Bit Quantization of Large Language Models With
// Guarantees", arXiv 2307.13304; Tseng et al., "QuIP#: Even Better LLM
// Quantization with Hadamard Incoherence and Lattice Codebooks", arXiv
// 2402.04396. The arithmetic is in llq/Numerics/Incoherence.h, LDLQ.h and
// BlockLDLQ.h.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "QuIP.h"

#include "llq/Calibration/Calibrator.h"
#include "llq/Numerics/BlockLDLQ.h"
#include "llq/Numerics/E8P.h"
#include "llq/Numerics/Incoherence.h"
#include "llq/Numerics/LDLQ.h"
#include "llq/Quantize/CompensatedMethod.h"
#include "llq/Quantize/UniformWeight.h"
#include "llq/Transforms/RotateLayers.h"

#include "mlir/IR/Remarks.h"

using namespace mlir;

namespace llq {
#define GEN_PASS_DECL_QUANTIZEQUIPPASS
#define GEN_PASS_DEF_QUANTIZEQUIPPASS
#include "lib/Quantize/QuIP.h.inc"

namespace {

struct QuIPOptions {
  QuIPCodebook codebook;
  numerics::LDLQOptions rounding;
  numerics::BlockLDLQOptions lattice;
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
  WeightFormatInterface getFormat(MLIRContext *context) const;
  LogicalResult quantize(const LinearLayer &layer, QuantizedWeight &result);
  /// Rounds weights in the basis that they are stored in, whose second moment
  /// is `moment`; `weights` becomes what they mean. Returns the output error.
  FailureOr<double> roundToGrid(const LinearLayer &layer,
                                std::vector<float> &weights,
                                std::vector<float> &moment,
                                QuantizedWeight &result);
  FailureOr<double> roundToLattice(const LinearLayer &layer,
                                   std::vector<float> &weights,
                                   std::vector<float> &moment,
                                   QuantizedWeight &result);

  QuIPOptions options;
  ThreadPool &pool;
};

} // namespace

RotationAttr QuIP::getRotation(MLIRContext *context, int64_t size) const {
  auto use = RotationUse::Activations;
  bool hadamard = hasRotation(RotationKind::Hadamard, size, use);
  bool kronecker = hasRotation(RotationKind::Kronecker, size, use);
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

WeightFormatInterface QuIP::getFormat(MLIRContext *context) const {
  if (options.codebook == QuIPCodebook::E8P)
    return E8PAttr::get(context, options.lattice.bits);
  return getUniformFormat(context, getGrid(), /*floatZeros=*/true);
}

/// What rounding returns where weights overflow in their new basis.
static FailureOr<double> emitNonFinite(const LinearLayer &layer) {
  return layer.emitError() << "has weights that are not finite once they are "
                              "rotated";
}

FailureOr<double> QuIP::roundToGrid(const LinearLayer &layer,
                                    std::vector<float> &weights,
                                    std::vector<float> &moment,
                                    QuantizedWeight &result) {
  int64_t rows = layer.getRows(), columns = layer.getColumns();
  auto factor = createFactor(layer, moment, options.factor, pool);
  if (!factor)
    return failure();
  numerics::UniformGridOptions grid = getGrid();
  UniformBlock block(rows, columns, grid, /*floatZeros=*/true);
  numerics::LDLQGrid chosen;
  if (numerics::quantizeLDLQ(weights.data(), rows, *factor, moment,
                             options.rounding, block.codes.data(), chosen,
                             pool))
    return emitNonFinite(layer);
  llvm::fill(block.scales, chosen.scale);
  llvm::fill(block.floatZeros, chosen.zero);
  storeUniformBlock(block, 0, grid, weights, result);
  for (auto [weight, code] : llvm::zip_equal(weights, block.codes))
    weight = chosen.scale * (float(code) - chosen.zero);
  result.figures = {{"range", chosen.range}};
  return chosen.outputError;
}

/// Puts the tuples of #llq.e8p side by side in rows of whole blocks, or back:
/// `size` numbers at a time belong together.
static void gatherTuples(MutableArrayRef<float> values, int64_t size,
                         bool back) {
  std::vector<float> old(E8PAttr::kBlock * size);
  for (size_t at = 0; at < values.size(); at += old.size()) {
    MutableArrayRef<float> block = values.slice(at, old.size());
    llvm::copy(block, old.begin());
    for (int64_t place = 0; place < E8PAttr::kBlock; ++place) {
      int64_t column = E8PAttr::getColumn(place / numerics::kE8Width,
                                          place % numerics::kE8Width);
      std::copy_n(&old[(back ? place : column) * size], size,
                  &block[(back ? column : place) * size]);
    }
  }
}

FailureOr<double> QuIP::roundToLattice(const LinearLayer &layer,
                                       std::vector<float> &weights,
                                       std::vector<float> &moment,
                                       QuantizedWeight &result) {
  int64_t rows = layer.getRows(), columns = layer.getColumns();
  int64_t tuples = columns / numerics::kE8Width;
  gatherTuples(weights, 1, /*back=*/false);
  // Columns, then rows.
  gatherTuples(moment, 1, /*back=*/false);
  gatherTuples(moment, columns, /*back=*/false);
  numerics::GPTQOptions factorOptions = numerics::blockLDLQFactorOptions();
  factorOptions.damp = options.factor.damp;
  auto factor = createFactor(layer, moment, factorOptions, pool);
  if (!factor)
    return failure();
  std::vector<uint32_t> codes(rows * tuples);
  numerics::BlockLDLQResult chosen;
  if (numerics::quantizeBlockLDLQ(weights.data(), rows, *factor, moment,
                                  options.lattice, codes.data(), chosen, pool))
    return emitNonFinite(layer);

  char *pairs = result.getData(0).data();
  char *residuals = result.getData(1).data();
  for (auto [at, code] : llvm::enumerate(codes)) {
    pairs[2 * at] = char(code);
    pairs[2 * at + 1] = char(code >> 8);
    if (options.lattice.bits == 3) {
      residuals[at] = char(code >> 16);
    } else if (options.lattice.bits == 4) {
      residuals[2 * at] = char(code >> 16);
      residuals[2 * at + 1] = char(code >> 24);
    }
    chosen.grid.decode(code, &weights[at * numerics::kE8Width]);
  }
  gatherTuples(weights, 1, /*back=*/true);
  std::vector<float> scales;
  for (int64_t r = 0; r < rows; ++r) {
    scales.push_back(chosen.grid.scale);
    if (options.lattice.bits > 2)
      scales.push_back(chosen.grid.residualScale);
  }
  storeHalves(scales, result, result.getComponents().size() - 1);
  result.figures = {{"lattice_scale", chosen.relativeScale}};
  return chosen.outputError;
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
  FailureOr<double> outputError =
      options.codebook == QuIPCodebook::E8P
          ? roundToLattice(layer, weights, moment, result)
          : roundToGrid(layer, weights, moment, result);
  if (failed(outputError) || failed(verifyOutputError(layer, *outputError)))
    return failure();
  // The error where weights are as they were.
  basis.leaveWeights(weights.data(), rows, columns, pool);
  result.error.emplace();
  result.error->add(*source, weights);
  result.figures.push_back(
      {"objective", *outputError * mean / (double(rows) * double(columns))});
  return success();
}

FailureOr<QuantizedWeight> QuIP::operator()(const LinearLayer &layer) {
  if (layer.isTable())
    return roundToNearest(layer);
  MLIRContext *context = layer.getContext();
  FailureOr<QuantizedWeight> result =
      QuantizedWeight::create(layer, getFormat(context));
  if (failed(result))
    return failure();
  result->inputRotation = getRotation(context, layer.getColumns());
  if (!layer.hasBias())
    result->outputRotation = getRotation(context, layer.getModelRows());
  if (!result->inputRotation && options.rotation != QuIPRotation::None)
    remark::missed(
        layer.getLoc(),
        remark::RemarkOpts::name("NotRotated").category("llq-quantize-quip"))
        << remark::metric("Layer", layer.getName())
        << remark::metric("Channels", layer.getColumns())
        << remark::reason("no rotation of this kind has so many channels");
  if (layer.isSketch()) {
    if (options.rescale)
      result->inputScale.assign(layer.getColumns(), 1);
    result->error.emplace();
    return result;
  }
  if (failed(quantize(layer, *result)))
    return failure();
  return result;
}

static LogicalResult verifyOptions(ModuleOp module,
                                   const QuIPOptions &options) {
  auto emit = [&] { return emitError(module.getLoc(), "llq-quantize-quip: "); };
  auto isFactor = [](double value) { return value >= 0 && value <= 100; };
  if (!isFactor(options.rounding.range))
    return emit() << "range is 0 to 100, found " << options.rounding.range;
  if (!isFactor(options.lattice.relativeScale))
    return emit() << "lattice-scale is 0 to 100, found "
                  << options.lattice.relativeScale;
  if (options.codebook == QuIPCodebook::E8P && options.lattice.bits > 4)
    return emit() << "codebook=e8p has 2 to 4 bits, found "
                  << options.lattice.bits;
  return success();
}

namespace {
struct QuantizeQuIPPass : impl::QuantizeQuIPPassBase<QuantizeQuIPPass> {
  using Base::Base;

  void getDependentDialects(DialectRegistry &registry) const override {
    registerCalibrationDialects(registry);
  }

  void runOnOperation() override {
    ModuleOp module = getOperation();
    FailureOr<CompensationOptions> compensation =
        getCompensationOptions(*this, module, int64_t(0));
    if (failed(compensation))
      return signalPassFailure();
    QuIPOptions options;
    options.codebook = codebook;
    options.rounding.bits = unsigned(int64_t(bits));
    options.rounding.range = range;
    options.rounding.clampFirst = clampFirst;
    options.rounding.greedyPasses = int(int64_t(greedyPasses));
    options.lattice.bits = unsigned(int64_t(bits));
    options.lattice.relativeScale = latticeScale;
    options.lattice.sweeps = int(int64_t(greedyPasses));
    options.rotation = rotation;
    options.seed = seed;
    options.rescale = rescale;
    options.factor = compensation->factor;
    options.factor.order = greedyPasses ? numerics::GPTQOrder::Activation
                                        : numerics::GPTQOrder::Reverse;
    if (failed(verifyOptions(module, options)))
      return signalPassFailure();
    ThreadPool pool(module.getContext()->getNumThreads());
    QuIP quip(options, pool);
    if (failed(quantizeCalibratedLayers(module, compensation->weights,
                                        compensation->calibration, quip)))
      signalPassFailure();
  }
};
} // namespace
} // namespace llq
