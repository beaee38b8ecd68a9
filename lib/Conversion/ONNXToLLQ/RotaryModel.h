//===- RotaryModel.h - Frequencies behind cosines and sines -----*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_LIB_CONVERSION_ONNXTOLLQ_ROTARYMODEL_H
#define LLQ_LIB_CONVERSION_ONNXTOLLQ_ROTARYMODEL_H

#include "Decoder.h"

namespace llq::raise {

/// Frequencies as a formula, if they are one.
struct RotaryFormula {
  /// 0 if there is none.
  double theta = 0;
  /// "none", "linear", "llama3" or "table".
  std::string scaling = "table";
  /// linear: factor; llama3: factor, low and high frequency factor, original
  /// context.
  std::vector<double> parameters;
};

/// How angles follow from positions.
struct RotaryModel {
  /// One for each pair of a head; empty if only tables say.
  std::vector<float> frequencies;
  RotaryFormula formula;
  /// [C, D/2] each, where there are no frequencies.
  std::optional<WeightView> cosines, sines;
  /// Rows of the tables that the graph holds; 0 if it holds none.
  int64_t tableSize = 0;
};

/// Recovers the frequencies from the angles that were seen, the float vectors
/// of the graph and the tables among its constants.
Result<RotaryModel> findRotaryModel(const Rotation &rotation, int64_t headDim,
                                    llvm::ArrayRef<Tensor> vectors,
                                    mlir::func::FuncOp graph,
                                    WeightReader &reader);

/// The formula that `frequencies` of heads of `headDim` follow.
RotaryFormula findFormula(llvm::ArrayRef<float> frequencies, int64_t headDim);

} // namespace llq::raise

#endif // LLQ_LIB_CONVERSION_ONNXTOLLQ_ROTARYMODEL_H
