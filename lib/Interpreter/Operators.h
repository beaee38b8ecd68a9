//===- Operators.h - The operator table ------------------------*- C++ -*-===//
//
// Each source file contributes the operators of one subject as a table; the
// driver in Interpreter.cpp gathers them.
//
// SPDX-License-Identifier: Apache-2.0
//===----------------------------------------------------------------------===//

#ifndef LLQ_LIB_INTERPRETER_OPERATORS_H
#define LLQ_LIB_INTERPRETER_OPERATORS_H

#include "OpContext.h"

namespace llq::interp {

/// The newest version of the standard operators whose changes have been taken
/// in; models of a newer one are refused rather than guessed at.
inline constexpr int64_t newestOpset = 28;

inline constexpr std::string_view microsoftDomain = "com.microsoft";
inline constexpr unsigned variadic = ~0u;

struct Operator {
  std::string_view name;
  /// First version of the domain's operator set with these semantics.
  int64_t since;
  /// Operands [0, minInputs) must be present.
  unsigned minInputs;
  unsigned maxInputs;
  unsigned maxOutputs;
  void (*eval)(OpContext &);
  std::string_view domain = "";
  /// Last version; the default means "up to the newest known".
  int64_t until = 0;
};

std::span<const Operator> mathOperators();
std::span<const Operator> arithmeticOperators();
std::span<const Operator> castOperators();
std::span<const Operator> shapeOperators();
std::span<const Operator> layoutOperators();
std::span<const Operator> gatherOperators();
std::span<const Operator> scatterOperators();
std::span<const Operator> reduceOperators();
std::span<const Operator> selectionOperators();
std::span<const Operator> matMulOperators();
std::span<const Operator> einsumOperators();
std::span<const Operator> normalizationOperators();
std::span<const Operator> rotaryOperators();
std::span<const Operator> attentionOperators();
std::span<const Operator> contribAttentionOperators();
std::span<const Operator> quantizeOperators();
std::span<const Operator> blockQuantizedOperators();

} // namespace llq::interp

#endif // LLQ_LIB_INTERPRETER_OPERATORS_H
