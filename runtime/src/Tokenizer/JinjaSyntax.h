//===- JinjaSyntax.h - Syntax tree of a chat template -----------*- C++ -*-===//
//
// Expressions and statements. Their depth is limited when they are made, so
// that neither evaluating nor destroying a tree can exhaust the stack.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQRT_TOKENIZER_JINJASYNTAX_H
#define LLQRT_TOKENIZER_JINJASYNTAX_H

#include "JinjaValue.h"

namespace llqrt::tok::jinja {

struct Expr;
struct Stmt;
using ExprPtr = std::unique_ptr<Expr>;
using Body = std::vector<std::unique_ptr<Stmt>>;

struct Expr {
  enum class Kind {
    /// `value`.
    Literal,
    /// The variable `name`.
    Name,
    /// All operands.
    List,
    Tuple,
    /// Keys and values by turns.
    Dict,
    /// operands[0].name
    Attribute,
    /// operands[0][operands[1]]
    Index,
    /// operands[0][operands[1]:operands[2]:operands[3]]; absent parts are
    /// literals none.
    Slice,
    /// operands[0](operands[1]..., named...)
    Call,
    /// operands[0] | name(operands[1]..., named...)
    Filter,
    /// operands[0] is name(operands[1]..., named...)
    Test,
    Not,
    Negate,
    Plus,
    And,
    Or,
    /// All operands as text, one behind the other.
    Concat,
    /// operands[0] op operands[1]
    Binary,
    /// operands[0] comparisons[0] operands[1] comparisons[1] operands[2] ...
    Compare,
    /// operands[0] if operands[1] else operands[2]
    Conditional,
  };
  enum class Comparison {
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    In,
    NotIn
  };

  Kind kind;
  unsigned line;
  unsigned depth = 1;
  std::string name;
  Value value;
  BinaryOp op = BinaryOp::Add;
  std::vector<ExprPtr> operands;
  std::vector<std::pair<std::string, ExprPtr>> named;
  std::vector<Comparison> comparisons;
};

struct Stmt {
  enum class Kind {
    /// Writes `text`.
    Text,
    /// Writes `exprs[0]`.
    Print,
    /// bodies[i] for the first true exprs[i]; a last body without one is else.
    If,
    /// For targets in exprs[0], if exprs[1] (when there is one): bodies[0], or
    /// bodies[1] if nothing was gone through.
    For,
    /// targets = exprs[0]
    Set,
    /// targets = the text of bodies[0], through the filters of exprs[0], whose
    /// innermost operand is a name that stands for it.
    SetBlock,
    /// Defines `text` with parameters `targets`, of which the last
    /// exprs.size() have defaults.
    Macro,
    /// Runs bodies[0] with targets = exprs, one by one.
    With,
    /// Writes the text of bodies[0] through the filters of exprs[0].
    FilterBlock,
    /// Runs bodies[0].
    Group,
    Break,
    Continue,
  };
  /// What is assigned to: a variable, or an attribute of a namespace.
  struct Target {
    std::string name;
    std::string attribute;
  };

  Kind kind;
  unsigned line;
  std::string text;
  std::vector<Target> targets;
  /// The targets are written as a tuple, even if there is only one.
  bool unpacks = false;
  std::vector<ExprPtr> exprs;
  std::vector<Body> bodies;
};

/// The variable that stands for the text of a SetBlock or FilterBlock. No
/// template can spell it.
inline constexpr const char *kBlockText = " block";

/// Parses a template. Throws Error with a line number.
Body parseTemplate(std::string_view source);

} // namespace llqrt::tok::jinja

#endif // LLQRT_TOKENIZER_JINJASYNTAX_H
