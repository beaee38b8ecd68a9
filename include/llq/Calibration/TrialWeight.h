//===- TrialWeight.h - Other weights in a layer for a while -----*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_CALIBRATION_TRIALWEIGHT_H
#define LLQ_CALIBRATION_TRIALWEIGHT_H

#include "dialects/LLQ/LLQ.h"

namespace llq {

/// Puts other values in place of a layer's source weight as long as it lives,
/// to see what becomes of the model's activations.
class TrialWeight {
public:
  /// `weights[N,K]` for the llq.weight of `layer`, as the type of that, so that
  /// the model runs with the same kernels. Emits an error if memory is short.
  static mlir::FailureOr<TrialWeight> put(LinearOp layer,
                                          llvm::ArrayRef<float> weights);
  /// Other values again; parts of the model that are compiled see them once
  /// they have reloaded their weights.
  void set(llvm::ArrayRef<float> weights);

  TrialWeight(TrialWeight &&other);
  TrialWeight &operator=(TrialWeight &&) = delete;
  ~TrialWeight();

private:
  TrialWeight(LinearOp layer, WeightOp source, WeightOp trial)
      : layer(layer), source(source), trial(trial) {}

  LinearOp layer; ///< null: moved from
  WeightOp source, trial;
};

} // namespace llq

#endif // LLQ_CALIBRATION_TRIALWEIGHT_H
