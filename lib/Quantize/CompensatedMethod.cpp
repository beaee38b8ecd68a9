//===- CompensatedMethod.cpp - Methods that compensate errors -------------===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llq/Quantize/CompensatedMethod.h"

#include "llq/Numerics/Float16.h"
#include "llq/Quantize/UniformWeight.h"

#include <cmath>

using namespace mlir;
using namespace llq;

LogicalResult llq::detail::verifyOptions(Pass &pass, ModuleOp module,
                                         const CompensationOptions &options) {
  auto fail = [&](StringRef what, double found) {
    return emitError(module.getLoc(), pass.getArgument())
           << ": " << what << ", found " << found;
  };
  if (double damp = options.factor.damp; !(damp >= 0 && damp <= 1))
    return fail("damp is 0 to 1", damp);
  if (double share = options.calibration.firstTokenShare;
      !(share >= 0 && share < 1))
    return fail("first-token-share is 0 to below 1", share);
  return success();
}

namespace {
/// Quantizes layer after layer, with the factor of their inputs kept for layers
/// that read the same.
class CompensatedQuantizer {
public:
  CompensatedQuantizer(const numerics::GPTQOptions &options,
                       CompensatedMethod &method, ThreadPool &pool)
      : options(options), method(method), pool(pool) {}

  FailureOr<QuantizedWeight> operator()(const LinearLayer &layer);

private:
  const numerics::GPTQFactor *getFactor(const LinearLayer &layer);
  FailureOr<QuantizedWeight> sketch(const LinearLayer &layer);

  numerics::GPTQOptions options;
  CompensatedMethod &method;
  ThreadPool &pool;
  std::optional<numerics::GPTQFactor> factor;
  /// Held, so that no other statistics can be in its place.
  std::shared_ptr<const InputStatistics> factorOf;
  int64_t deadChannels = 0;
};
} // namespace

const numerics::GPTQFactor *
CompensatedQuantizer::getFactor(const LinearLayer &layer) {
  std::shared_ptr<const InputStatistics> statistics = layer.getStatistics();
  if (factor && factorOf == statistics)
    return &*factor;
  factor.reset();
  factorOf = statistics;
  FailureOr<ArrayRef<float>> moment = getSecondMoment(layer);
  if (failed(moment))
    return nullptr;
  factor = createFactor(layer, *moment, options, pool);
  if (!factor)
    return nullptr;
  int64_t columns = layer.getColumns();
  deadChannels = factor->deadColumns().size();
  // Samples that tell nothing about any channel leave no reason for zeros.
  if (deadChannels == columns) {
    std::vector<float> identity(columns * columns);
    for (int64_t j = 0; j < columns; ++j)
      identity[j * columns + j] = 1;
    factor = createFactor(layer, identity, options, pool);
  }
  return factor ? &*factor : nullptr;
}

/// A layer of a dry run: any values.
FailureOr<QuantizedWeight>
CompensatedQuantizer::sketch(const LinearLayer &layer) {
  FailureOr<QuantizedWeight> result =
      QuantizedWeight::create(layer, method.getFormat(layer));
  if (failed(result))
    return failure();
  // Any order but the identity takes the room that the one of the inputs will.
  int64_t columns = layer.getColumns();
  for (int64_t j = 0; method.permutesInputs(layer) && j < columns; ++j)
    result->inputOrder.push_back(int32_t((j + 1) % columns));
  result->error.emplace();
  return result;
}

FailureOr<QuantizedWeight>
CompensatedQuantizer::operator()(const LinearLayer &layer) {
  bool isHead = layer.getName() == kHeadName;
  if (layer.isTable() && !(isHead && method.quantizesHead()))
    return roundToNearest(layer);
  if (layer.isSketch())
    return sketch(layer);
  const numerics::GPTQFactor *found = getFactor(layer);
  if (!found)
    return failure();
  FailureOr<QuantizedWeight> result = method.quantize(layer, *found, pool);
  if (failed(result))
    return failure();
  // Figures of a stand-in for the second moment would say nothing.
  if (deadChannels == layer.getColumns())
    result->figures.clear();
  else
    result->figures.push_back({"damp", found->damp()});
  if (deadChannels)
    result->figures.push_back({"dead_channels", double(deadChannels)});
  return result;
}

LogicalResult llq::quantizeCompensatedLayers(ModuleOp module,
                                             const CompensationOptions &options,
                                             CompensatedMethod &method) {
  ThreadPool pool(module.getContext()->getNumThreads());
  CompensatedQuantizer quantizer(options.factor, method, pool);
  return quantizeCalibratedLayers(module, options.weights, options.calibration,
                                  quantizer);
}

FailureOr<ArrayRef<float>> llq::getSecondMoment(const LinearLayer &layer) {
  auto statistics = layer.getStatistics();
  ArrayRef<float> moment;
  if (statistics)
    moment = statistics->secondMoment;
  if (moment.empty())
    return layer.emitError() << "has no second moment of its inputs, the "
                                "method needs one";
  return moment;
}

std::optional<numerics::GPTQFactor>
llq::createFactor(const LinearLayer &layer, ArrayRef<float> secondMoment,
                  const numerics::GPTQOptions &options, ThreadPool &pool) {
  auto factor = numerics::GPTQFactor::create(secondMoment, layer.getColumns(),
                                             options, pool);
  if (!factor)
    layer.emitError() << "has inputs whose second moment cannot be factorized";
  return factor;
}

LogicalResult llq::verifyOutputError(const LinearLayer &layer,
                                     double outputError) {
  if (std::isfinite(outputError))
    return success();
  return layer.emitError() << "overflows when errors are compensated, give "
                              "more samples or a larger damp";
}

FailureOr<std::vector<float>> llq::readWeights(const LinearLayer &layer) {
  std::vector<float> weights(layer.getRows() * layer.getColumns());
  if (llvm::Error failed = layer.readRows(0, layer.getRows(), weights))
    return layer.emitError() << llvm::toString(std::move(failed));
  return weights;
}

void llq::storeHalves(ArrayRef<float> numbers, QuantizedWeight &weight,
                      size_t index, int64_t begin) {
  auto *halves = reinterpret_cast<uint16_t *>(weight.getData(index).data());
  numerics::encodeF16(numbers, {halves + begin, numbers.size()});
}
