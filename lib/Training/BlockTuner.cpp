//===- BlockTuner.cpp - Training of the scales of one block ---------------===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "BlockTuner.h"

using namespace mlir;
using namespace llq;
using namespace llq::training;

FailureOr<BlockTuner> BlockTuner::create(const DecoderBlock &block,
                                         ArrayRef<LinearOp> layers,
                                         WeightReader &reader,
                                         ThreadPool &pool) {
  auto tape = Tape::create(block.input, block.output, reader, pool);
  if (failed(tape))
    return failure();
  BlockTuner result(std::move(*tape), pool);
  for (LinearOp layer : layers) {
    auto op = layer.getWeight().getDefiningOp<QuantizedWeightOp>();
    auto weight = TrainedWeight::create(op, reader);
    if (!weight)
      return layer.emitLayerError() << llvm::toString(weight.takeError());
    result.weights.push_back(std::move(*weight));
  }
  return result;
}

void BlockTuner::decode() {
  for (TrainedWeight &weight : weights)
    weight.decode(tape->getWeight(weight.getValue()).values, *pool);
}

void BlockTuner::restore() {
  for (TrainedWeight &weight : weights)
    weight.restore();
  decode();
}

/// Sum of (y - z)^2. f64, in the order of the values.
static double addSquares(ArrayRef<float> y, ArrayRef<float> z) {
  double sum = 0;
  for (auto [a, b] : llvm::zip_equal(y, z))
    sum += (double(a) - b) * (double(a) - b);
  return sum;
}

FailureOr<double> BlockTuner::getLoss(SampleActivations &inputs,
                                      SampleActivations &targets) {
  double error = 0, size = 0;
  for (size_t sample = 0; sample < inputs.size(); ++sample) {
    auto y = tape->forward(inputs.get(sample), inputs.getTokens(sample));
    if (failed(y))
      return failure();
    ArrayRef<float> z = targets.get(sample);
    error += addSquares(*y, z);
    for (float value : z)
      size += double(value) * value;
    inputs.release(sample);
    targets.release(sample);
  }
  return error / size;
}

LogicalResult BlockTuner::train(SampleActivations &inputs,
                                SampleActivations &targets,
                                const TuneOptions &options) {
  int64_t samples = inputs.size();
  int64_t perEpoch = llvm::divideCeil(samples, options.batch);
  int64_t steps = options.epochs * perEpoch;
  std::vector<float> gradient;
  // Codes may have changed.
  decode();
  for (int64_t step = 0; step < steps; ++step) {
    for (TrainedWeight &weight : weights)
      tape->getWeight(weight.getValue()).clearGradient();
    int64_t begin = step % perEpoch * options.batch;
    int64_t end = std::min(begin + options.batch, samples);
    for (int64_t sample = begin; sample < end; ++sample) {
      auto y = tape->forward(inputs.get(sample), inputs.getTokens(sample));
      if (failed(y))
        return failure();
      // The loss of a batch up to a factor, which Adam does not see.
      gradient.assign(y->begin(), y->end());
      for (auto [d, z] : llvm::zip_equal(gradient, targets.get(sample)))
        d -= z;
      tape->backward(gradient);
      inputs.release(sample);
      targets.release(sample);
    }
    float rate = options.learningRate * getCosineDecay(step, steps);
    for (TrainedWeight &weight : weights)
      weight.step(rate, tape->getWeight(weight.getValue()).gradient, *pool);
    decode();
  }
  return success();
}
