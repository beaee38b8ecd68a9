//===- CollectStatistics.cpp - Statistics of a site from samples ----------===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llq/Calibration/CollectStatistics.h"
#include "llq/Numerics/SecondMoment.h"

#include <bit>
#include <cmath>
#include <cstring>

using namespace mlir;
using namespace llq;

static llvm::Error makeError(const ActivationRows &rows,
                             const numerics::NonFiniteActivation &found) {
  return llvm::createStringError(
      "sees an input of %f in channel %lld at token %lld of calibration sample "
      "%lld: the model or the layers quantized in front of it overflow or have "
      "weights that are not finite",
      std::isnan(found.value) ? std::fabs(double(found.value))
                              : double(found.value),
      static_cast<long long>(found.channel),
      static_cast<long long>(rows.position + found.token),
      static_cast<long long>(rows.sample));
}

namespace {
/// The inputs of tokens at equal distances.
class InputSample {
public:
  InputSample(int64_t tokens, int64_t wanted)
      : left(wanted),
        distance(wanted ? std::max<int64_t>(1, tokens / wanted) : 0) {}

  void add(const float *data, int64_t tokens, int64_t columns) {
    for (int64_t t = 0; t < tokens && left; ++t)
      if (next++ % distance == 0) {
        inputs.insert(inputs.end(), data + t * columns,
                      data + (t + 1) * columns);
        --left;
      }
  }

  std::vector<float> inputs;

private:
  int64_t left, distance, next = 0;
};
} // namespace

/// Feeds the inputs of the present site to `accumulator` and `sample`, and
/// those of first tokens to `firsts`.
template <typename Accumulator>
static LogicalResult accumulate(Calibrator &calibrator,
                                Accumulator &accumulator, InputSample &sample,
                                std::vector<float> &firsts) {
  std::vector<float> dense;
  return calibrator.visitInputs([&](const ActivationRows &rows) -> llvm::Error {
    const float *data = rows.data;
    if (rows.stride != rows.columns) {
      dense.resize(rows.tokens * rows.columns);
      for (int64_t t = 0; t < rows.tokens; ++t)
        std::memcpy(dense.data() + t * rows.columns, data + t * rows.stride,
                    rows.columns * sizeof(float));
      data = dense.data();
    }
    if (auto found = accumulator.add(data, rows.tokens, calibrator.getPool()))
      return makeError(rows, *found);
    sample.add(data, rows.tokens, rows.columns);
    if (rows.position == 0)
      firsts.insert(firsts.end(), data, data + rows.columns);
    return llvm::Error::success();
  });
}

static void setChannels(const numerics::ChannelStatistics &channels,
                        InputStatistics &result) {
  result.tokens = channels.tokens();
  result.absMax = channels.absMax();
  result.meanAbs = channels.meanAbs();
  result.meanSquare = channels.meanSquare();
}

static FailureOr<InputStatistics> compute(Calibrator &calibrator,
                                          const StatisticsRequest &request) {
  int64_t columns = calibrator.getInputColumns();
  InputStatistics result;
  InputSample sample(calibrator.getTokens(), request.sampleTokens);
  std::vector<float> firsts;
  if (request.secondMoment) {
    numerics::SecondMoment moment(columns);
    if (failed(accumulate(calibrator, moment, sample, firsts)))
      return failure();
    moment.raiseShare(firsts.data(), firsts.size() / columns,
                      request.firstTokenShare, calibrator.getPool());
    setChannels(moment.channelStatistics(), result);
    result.secondMoment = moment.meanMatrix(calibrator.getPool());
  } else {
    numerics::ChannelStatistics channels(columns);
    if (failed(accumulate(calibrator, channels, sample, firsts)))
      return failure();
    setChannels(channels, result);
  }
  result.inputs = std::move(sample.inputs);
  auto isFinite = [](float value) { return std::isfinite(value); };
  if (!llvm::all_of(result.meanSquare, isFinite) ||
      !llvm::all_of(result.secondMoment, isFinite))
    return calibrator.getLayer().emitLayerError()
           << "sees inputs of up to " << *llvm::max_element(result.absMax)
           << ", whose squares overflow: weights in front of it are too large";
  return result;
}

static std::string getKey(const Calibrator &calibrator,
                          const StatisticsRequest &request) {
  return ContentKey()
      .add("statistics")
      .add(calibrator.getKey())
      .add(int64_t(request.secondMoment))
      .add(request.sampleTokens)
      .add(std::bit_cast<int64_t>(request.firstTokenShare))
      .finish();
}

/// Kept statistics that answer `request`, if there are any.
static std::optional<InputStatistics> load(const Calibrator &calibrator,
                                           StatisticsRequest request,
                                           MLIRContext *context) {
  DictionaryAttr stored = calibrator.getStatisticsStore()->load(
      getKey(calibrator, request), context);
  // Those with a second moment have all that those without have.
  if (!stored && !request.secondMoment) {
    request.secondMoment = true;
    stored = calibrator.getStatisticsStore()->load(getKey(calibrator, request),
                                                   context);
  }
  if (!stored)
    return std::nullopt;
  llvm::Expected<InputStatistics> statistics =
      loadStatistics(stored, calibrator.getInputColumns());
  releaseResources(stored);
  if (statistics)
    return std::move(*statistics);
  llvm::consumeError(statistics.takeError());
  return std::nullopt;
}

FailureOr<InputStatistics>
llq::getInputStatistics(Calibrator &calibrator,
                        const StatisticsRequest &request) {
  const ContentStore *store = calibrator.getStatisticsStore();
  if (!store)
    return compute(calibrator, request);
  LinearOp layer = calibrator.getLayer();
  if (auto found = load(calibrator, request, layer.getContext()))
    return std::move(*found);
  FailureOr<InputStatistics> result = compute(calibrator, request);
  if (failed(result))
    return failure();
  DictionaryAttr stored =
      storeStatistics(layer.getContext(), *result, layer.getName());
  // Without them the next run takes longer, and no more than that.
  if (llvm::Error error = store->save(getKey(calibrator, request), stored))
    layer.emitWarning() << llvm::toString(std::move(error));
  releaseResources(stored);
  return result;
}

FailureOr<InputStatistics>
llq::collectStatistics(Calibrator &calibrator, const Site &site,
                       const StatisticsRequest &request) {
  if (failed(calibrator.moveTo(site)))
    return failure();
  return getInputStatistics(calibrator, request);
}
