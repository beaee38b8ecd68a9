//===- ChatTemplate.h - Applying a model's chat template --------*- C++ -*-===//
//
// Chat models say in a Jinja template how a conversation becomes one text. This
// renders it in the environment that the template was written for: that of the
// transformers library, with its variables, functions and white space rules.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQRT_TOKENIZER_CHATTEMPLATE_H
#define LLQRT_TOKENIZER_CHATTEMPLATE_H

#include "TokenizerSpec.h"
#include "llqrt/Tokenizer.h"

namespace llqrt::tok {

/// Renders the chat template of `spec`. Throws Error, with the template's line
/// where there is one.
std::string renderChatTemplate(const TokenizerSpec &spec,
                               std::span<const ChatMessage> messages,
                               const ChatOptions &options);

} // namespace llqrt::tok

#endif // LLQRT_TOKENIZER_CHATTEMPLATE_H
