//===- Scenario.h - What the inputs of a graph stand for --------*- C++ -*-===//
//
// Which input holds token ids, positions, masks or caches, and for which
// numbers of tokens the graph is run.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_LIB_CONVERSION_ONNXTOLLQ_SCENARIO_H
#define LLQ_LIB_CONVERSION_ONNXTOLLQ_SCENARIO_H

#include "Evaluator.h"

namespace llq::raise {

/// What one graph input stands for.
struct InputRole {
  enum class Kind {
    Tokens,     ///< ids of the new tokens
    Positions,  ///< their absolute positions
    Mask,       ///< ones: every token counts; or 0 / true where it may be seen
    CausalMask, ///< a mask over queries and keys that the caller builds
    Past,       ///< cached keys or values
    LastKey,    ///< past + tokens - 1 of each sequence
    Total,      ///< past + tokens
    NumLogits,  ///< for how many of the last tokens logits are wanted
    UseCache,   ///< whether there is a cache
  };
  Kind kind;
  /// Past: the dimension of positions.
  unsigned positionAxis = 0;
};

/// The roles of all inputs, and the lengths to run the graph for.
struct Scenario {
  std::vector<InputRole> roles;
  std::vector<Lengths> lengths;
  bool hasPast = false;

  /// The value of input `index`, as a tensor or (tokens, caches) as the shape
  /// of a root.
  Shape getShape(mlir::BlockArgument argument, const Lengths &lengths) const;
  Result<Tensor> getValue(mlir::BlockArgument argument,
                          const Lengths &lengths) const;
  /// Binds all inputs of `graph` in `evaluator`.
  Result<bool> bind(Evaluator &evaluator, mlir::func::FuncOp graph) const;
};

/// The possible readings of the inputs of `graph`, best first; an error names
/// the input that has no role.
Result<std::vector<Scenario>> getScenarios(mlir::func::FuncOp graph);

/// The name of a graph input.
llvm::StringRef getInputName(mlir::BlockArgument argument);

} // namespace llq::raise

#endif // LLQ_LIB_CONVERSION_ONNXTOLLQ_SCENARIO_H
