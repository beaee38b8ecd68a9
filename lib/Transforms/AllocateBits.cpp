//===- AllocateBits.cpp - Choose the bits of each layer for a total size --===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llq/Calibration/CollectStatistics.h"
#include "llq/Calibration/TrialWeight.h"
#include "llq/Numerics/BitAllocation.h"
#include "llq/Numerics/OutputMetric.h"
#include "llq/Numerics/UniformGrid.h"
#include "llq/Transforms/Passes.h"

#include "mlir/IR/Remarks.h"

#include <cmath>

using namespace mlir;

namespace llq {
#define GEN_PASS_DEF_ALLOCATEBITSPASS
#include "llq/Transforms/Passes.h.inc"

namespace {
constexpr unsigned kLeastBits = 2;

struct AllocationOptions {
  double bitsPerWeight;
  int64_t bytes;
  int64_t groupSize;
  unsigned minBits, maxBits, probeBits;
  int64_t probeTokens;
};

/// A layer and what its widths cost.
struct Candidate {
  LinearOp layer;
  int64_t rows, columns;
  /// Mean squared error at the output and divergence, both at probeBits.
  double probeError = 0, divergence = 0;
  /// The error from minBits on.
  std::vector<double> errors;
};

class BitAllocator {
public:
  BitAllocator(ModuleOp module, func::FuncOp forward,
               const AllocationOptions &options)
      : module(module), forward(forward), options(options),
        pool(module.getContext()->getNumThreads()) {}

  LogicalResult run();

private:
  LogicalResult measure();
  LogicalResult measureLayer(Calibrator &calibrator, Candidate &candidate,
                             const InputStatistics &inputs);
  FailureOr<double> getDivergence(Calibrator &calibrator, LinearOp layer,
                                  ArrayRef<float> weights);
  LogicalResult collectLogProbabilities(Calibrator &calibrator);
  std::vector<float> roundToNearest(ArrayRef<float> weights,
                                    const Candidate &candidate, unsigned bits);
  int64_t getBytes(const Candidate &candidate, unsigned bits);
  LogicalResult allocate();

  ModuleOp module;
  func::FuncOp forward;
  AllocationOptions options;
  ThreadPool pool;
  WeightReader reader;
  Value logits;
  /// Of the model as it is, for each token and id.
  std::vector<float> reference;
  std::vector<Candidate> candidates;
};
} // namespace

/// log softmax of `row`, in place.
static void normalize(MutableArrayRef<float> row) {
  float most = *llvm::max_element(row);
  double sum = 0;
  for (float value : row)
    sum += std::exp(double(value) - most);
  double shift = most + std::log(sum);
  for (float &value : row)
    value = float(value - shift);
}

/// Calls `visit` for the log probabilities of each token.
static LogicalResult
visitLogProbabilities(Calibrator &calibrator, Value logits,
                      function_ref<void(ArrayRef<float>)> visit) {
  FailureOr<Calibrator::Part> part = calibrator.compile(logits);
  if (failed(part))
    return failure();
  std::vector<float> row;
  return part->run([&](const ActivationRows &rows) -> llvm::Error {
    for (int64_t t = 0; t < rows.tokens; ++t) {
      row = rows.getRow(t).vec();
      normalize(row);
      if (!std::isfinite(row.front()))
        return llvm::createStringError("leads to logits that are not finite");
      visit(row);
    }
    return llvm::Error::success();
  });
}

LogicalResult BitAllocator::collectLogProbabilities(Calibrator &calibrator) {
  return visitLogProbabilities(calibrator, logits, [&](ArrayRef<float> row) {
    llvm::append_range(reference, row);
  });
}

std::vector<float> BitAllocator::roundToNearest(ArrayRef<float> weights,
                                                const Candidate &candidate,
                                                unsigned bits) {
  numerics::UniformGridOptions grid;
  grid.bits = bits;
  grid.groupSize = options.groupSize;
  int64_t rows = candidate.rows, columns = candidate.columns;
  std::vector<float> rounded(weights.size());
  pool.parallelFor(0, rows, 16, [&](int64_t begin, int64_t end) {
    int64_t count = end - begin, groups = grid.groupsPerRow(columns);
    std::vector<uint8_t> codes(count * columns), zeros(count * groups);
    std::vector<float> scales(count * groups);
    [[maybe_unused]] auto bad = numerics::quantizeRows(
        weights.data() + begin * columns, count, columns, grid,
        {codes.data(), scales.data(), zeros.data()});
    assert(!bad && "weights have been found finite");
    numerics::dequantizeRows(codes.data(), scales.data(), zeros.data(), count,
                             columns, grid, rounded.data() + begin * columns);
  });
  return rounded;
}

/// Of the next tokens' distributions with `weights` in `layer`.
FailureOr<double> BitAllocator::getDivergence(Calibrator &calibrator,
                                              LinearOp layer,
                                              ArrayRef<float> weights) {
  FailureOr<TrialWeight> trial = TrialWeight::put(layer, weights);
  if (failed(trial))
    return failure();
  double sum = 0;
  size_t place = 0;
  if (failed(
          visitLogProbabilities(calibrator, logits, [&](ArrayRef<float> row) {
            for (float logQ : row) {
              float logP = reference[place++];
              sum += std::exp(double(logP)) * (double(logP) - logQ);
            }
          })))
    return failure();
  return std::max(0.0, sum / double(calibrator.getTokens()));
}

LogicalResult BitAllocator::measureLayer(Calibrator &calibrator,
                                         Candidate &candidate,
                                         const InputStatistics &inputs) {
  LinearOp layer = candidate.layer;
  TypedAttr value = layer.getWeight().getDefiningOp<WeightOp>().getValue();
  auto weights = reader.readAll(value);
  if (!weights)
    return layer.emitLayerError() << llvm::toString(weights.takeError());
  if (llvm::Error error = verifyFinite(*weights, 0, candidate.columns))
    return layer.emitLayerError() << llvm::toString(std::move(error));
  auto metric =
      numerics::OutputMetric::ofInputs(inputs.inputs, candidate.columns);
  auto getError = [&](std::vector<float> rounded) {
    for (auto [error, weight] : llvm::zip_equal(rounded, *weights))
      error -= weight;
    return metric.cost(rounded.data(), candidate.rows, pool);
  };
  std::vector<float> probe =
      roundToNearest(*weights, candidate, options.probeBits);
  candidate.probeError = getError(probe);
  for (unsigned bits = options.minBits; bits <= options.maxBits; ++bits)
    candidate.errors.push_back(
        bits == options.probeBits
            ? candidate.probeError
            : getError(roundToNearest(*weights, candidate, bits)));
  FailureOr<double> divergence = getDivergence(calibrator, layer, probe);
  if (failed(divergence))
    return failure();
  candidate.divergence = *divergence;
  return success();
}

LogicalResult BitAllocator::measure() {
  FailureOr<Samples> samples = getSamples(module);
  if (failed(samples))
    return failure();
  Samples probe;
  for (ArrayRef<int32_t> ids : samples->sequences) {
    int64_t room = options.probeTokens - probe.tokens;
    if (room == 0)
      break;
    ArrayRef<int32_t> taken = ids.take_front(room);
    probe.sequences.push_back(taken);
    probe.tokens += taken.size();
    probe.longest = std::max(probe.longest, int64_t(taken.size()));
  }
  Calibrator calibrator(forward, probe, pool);
  for (const Site &site : getSites(forward)) {
    bool first = candidates.empty();
    SmallVector<LinearOp, 3> layers;
    for (LinearOp layer : site.layers)
      if (layer.getName() != kHeadName &&
          layer.getWeight().getDefiningOp<WeightOp>())
        layers.push_back(layer);
    if (layers.empty())
      continue;
    FailureOr<InputStatistics> inputs = collectStatistics(
        calibrator, site, {/*secondMoment=*/false, probe.tokens});
    if (failed(inputs) ||
        (first && failed(collectLogProbabilities(calibrator))))
      return failure();
    for (LinearOp layer : layers) {
      auto type = cast<ShapedType>(layer.getWeight().getType());
      Candidate candidate;
      candidate.layer = layer;
      candidate.rows = type.getDimSize(0);
      candidate.columns = type.getDimSize(1);
      if (failed(measureLayer(calibrator, candidate, *inputs)))
        return failure();
      candidates.push_back(std::move(candidate));
    }
    reader.release();
  }
  if (candidates.empty())
    return module.emitError("llq-allocate-bits: found no llq.linear whose "
                            "weight is not quantized");
  return success();
}

int64_t BitAllocator::getBytes(const Candidate &candidate, unsigned bits) {
  Operation *layer = candidate.layer;
  if (auto widths = layer->getAttrOfType<DenseI64ArrayAttr>(kWidthsAttr))
    if (bits - kLeastBits < widths.size())
      return widths[bits - kLeastBits];
  auto format = UniformAttr::get(module.getContext(), bits, options.groupSize,
                                 ZeroPoint::Int, ScaleType::F16);
  return int64_t(
      std::ceil(cast<WeightFormatInterface>(Attribute(format))
                    .getBitsPerWeight(candidate.rows, candidate.columns) *
                double(candidate.rows) * double(candidate.columns) / 8));
}

LogicalResult BitAllocator::allocate() {
  std::vector<std::vector<numerics::WidthChoice>> choices;
  double weights = 0, least = 0;
  for (const Candidate &candidate : candidates) {
    std::vector<numerics::WidthChoice> &own = choices.emplace_back();
    double probe = candidate.probeError;
    for (unsigned bits = options.minBits; bits <= options.maxBits; ++bits) {
      double error = candidate.errors[bits - options.minBits];
      own.push_back({getBytes(candidate, bits),
                     probe > 0 ? candidate.divergence * error / probe : 0});
    }
    weights += double(candidate.rows) * double(candidate.columns);
    least += double(own.front().bytes);
  }
  int64_t budget = options.bytes ? options.bytes
                                 : int64_t(options.bitsPerWeight * weights / 8);
  auto chosen = numerics::allocateBits(choices, budget);
  if (!chosen)
    return module.emitError("llq-allocate-bits: the layers need ")
           << int64_t(least) << " bytes, " << 8 * least / weights
           << " bits per weight, at " << options.minBits
           << " bits, more than the budget of " << budget << " bytes";
  Builder b(module.getContext());
  for (auto [candidate, own, choice] :
       llvm::zip_equal(candidates, choices, *chosen)) {
    int64_t bits = options.minBits + int64_t(choice);
    candidate.layer->setAttr(kBitsAttr, b.getI64IntegerAttr(bits));
    remark::analysis(
        candidate.layer.getLoc(),
        remark::RemarkOpts::name("Allocated").category("llq-allocate-bits"))
        << remark::metric("Layer", candidate.layer.getName())
        << remark::metric("Bits", bits)
        << remark::metric("ProbeDivergence", candidate.divergence)
        << remark::metric("Divergence", own[choice].cost);
  }
  return success();
}

LogicalResult BitAllocator::run() {
  logits = forward.getBody().front().getTerminator()->getOperand(0);
  LogicalResult result = measure();
  if (succeeded(result))
    result = allocate();
  for (Candidate &candidate : candidates)
    candidate.layer->removeAttr(kWidthsAttr);
  return result;
}

namespace {
struct AllocateBitsPass : impl::AllocateBitsPassBase<AllocateBitsPass> {
  using Base::Base;

  void getDependentDialects(DialectRegistry &registry) const override {
    registerCalibrationDialects(registry);
  }

  void runOnOperation() override {
    ModuleOp module = getOperation();
    // A dry run has no inputs: layers keep the bits of the method's options.
    if (module->hasAttr(kSketchAttr))
      return noteSamplesOfSketch(module);
    AllocationOptions options{bitsPerWeight,
                              bytes,
                              groupSize,
                              unsigned(int64_t(minBits)),
                              unsigned(int64_t(maxBits)),
                              unsigned(int64_t(probeBits)),
                              probeTokens};
    auto fail = [&](const Twine &what) {
      emitError(module.getLoc(), "llq-allocate-bits: " + what);
      signalPassFailure();
    };
    if ((options.bytes != 0) == (options.bitsPerWeight != 0))
      return fail("give bits-per-weight or bytes, and not both");
    if (options.bytes < 0 ||
        !(options.bitsPerWeight >= 0 && options.bitsPerWeight <= 32))
      return fail("bits-per-weight is above 0 and at most 32, bytes above 0");
    if (options.minBits > options.maxBits)
      return fail("min-bits is above max-bits");
    FailureOr<func::FuncOp> forward = getForward(module);
    if (failed(forward) ||
        failed(BitAllocator(module, *forward, options).run()))
      signalPassFailure();
  }
};
} // namespace
} // namespace llq
