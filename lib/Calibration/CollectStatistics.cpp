//===- CollectStatistics.cpp - Statistics of a site from samples ----------===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llq/Calibration/CollectStatistics.h"
#include "llq/Numerics/SecondMoment.h"

#include <cstring>

using namespace mlir;
using namespace llq;

static llvm::Error makeError(const ActivationRows &rows,
                             const numerics::NonFiniteActivation &found) {
  return llvm::createStringError(
      "sees an input of %f in channel %lld at token %lld of calibration sample "
      "%lld: the model or the layers quantized in front of it overflow",
      double(found.value), static_cast<long long>(found.channel),
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

/// Runs to `site` and feeds its inputs to `accumulator` and `sample`.
template <typename Accumulator>
static LogicalResult accumulate(Calibrator &calibrator, const Site &site,
                                ThreadPool &pool, Accumulator &accumulator,
                                InputSample &sample) {
  std::vector<float> dense;
  return calibrator.advance(
      site, [&](const ActivationRows &rows) -> llvm::Error {
        const float *data = rows.data;
        if (rows.stride != rows.columns) {
          dense.resize(rows.tokens * rows.columns);
          for (int64_t t = 0; t < rows.tokens; ++t)
            std::memcpy(dense.data() + t * rows.columns, data + t * rows.stride,
                        rows.columns * sizeof(float));
          data = dense.data();
        }
        if (auto found = accumulator.add(data, rows.tokens, pool))
          return makeError(rows, *found);
        sample.add(data, rows.tokens, rows.columns);
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

FailureOr<InputStatistics> llq::collectStatistics(Calibrator &calibrator,
                                                  const Site &site,
                                                  bool secondMoment,
                                                  ThreadPool &pool,
                                                  int64_t sampleTokens) {
  int64_t columns = cast<ShapedType>(site.input.getType()).getDimSize(1);
  InputStatistics result;
  InputSample sample(calibrator.getTokens(), sampleTokens);
  if (!secondMoment) {
    numerics::ChannelStatistics channels(columns);
    if (failed(accumulate(calibrator, site, pool, channels, sample)))
      return failure();
    setChannels(channels, result);
    result.inputs = std::move(sample.inputs);
    return result;
  }
  numerics::SecondMoment moment(columns);
  if (failed(accumulate(calibrator, site, pool, moment, sample)))
    return failure();
  setChannels(moment.channelStatistics(), result);
  result.secondMoment = moment.meanMatrix(pool);
  result.inputs = std::move(sample.inputs);
  return result;
}
