//===- Chain.h - Chains of methods as users write them ----------*- C++ -*-===//
//
// `rtn(bits=4,group-size=128)` is sugar for `llq-quantize-rtn{bits=4
// group-size=128}`. Words and options are those of the registered passes: a new
// method, or one from a plugin, needs nothing here.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_PIPELINES_CHAIN_H
#define LLQ_PIPELINES_CHAIN_H

#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"

#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace llq {

/// The pass that compares with the model as it was, which chains keep for it.
inline constexpr llvm::StringLiteral kTunePassName = "llq-tune-scales";

/// The passes of a chain, in order.
class Chain {
public:
  struct Pass {
    /// Name and options as pipelines have them, without braces.
    std::string name, options;
  };

  Chain() = default;
  explicit Chain(std::vector<Pass> passes) : passes(std::move(passes)) {}

  bool empty() const { return passes.empty(); }
  bool contains(llvm::StringRef name) const;
  /// The value that the last pass with an option `name` gives it, if any does.
  std::optional<llvm::StringRef> getOption(llvm::StringRef name) const;
  /// The rotations that the chain begins with, and what is behind them: what
  /// looks at layers to choose their bits has to see them rotated.
  std::pair<Chain, Chain> splitRotations() const;
  /// Text to be put between the parentheses of `builtin.module(...)`.
  std::string getPipeline() const;

private:
  std::vector<Pass> passes;
};

/// Reads a chain.
///
///     chain   ::= word+
///     word    ::= name [ `(` [ option ( `,` option )* ] `)` ]
///     option  ::= name `=` value
///
/// A word `w` is the pass `llq-quantize-w`, or else `llq-w`. Blanks separate
/// words and may stand in for the commas. Values hold no blanks or parentheses
/// outside of braces; a part without `=` continues the list before it:
/// `only=*.q_proj,*.k_proj`.
///
/// Passes have to be registered. Every error is one line that names the word.
/// The one exception are values that an option refuses: LLVM's option parser
/// reports these on standard error, and the error returned has no text.
llvm::Expected<Chain> parseChain(llvm::StringRef chain);

} // namespace llq

#endif // LLQ_PIPELINES_CHAIN_H
