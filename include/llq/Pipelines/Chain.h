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

#include <string>
#include <utility>

namespace llq {

/// Translates a chain to the text of a pass pipeline, to be put between the
/// parentheses of `builtin.module(...)`.
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
llvm::Expected<std::string> parseChain(llvm::StringRef chain);

/// Splits the text of a chain's passes behind llq-rotate, if it begins with
/// that: what looks at layers to choose their bits has to see them rotated.
std::pair<llvm::StringRef, llvm::StringRef>
splitRotation(llvm::StringRef passes);

} // namespace llq

#endif // LLQ_PIPELINES_CHAIN_H
