//===- Chat.h - A conversation on a terminal --------------------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_TOOLS_RUN_CHAT_H
#define LLQ_TOOLS_RUN_CHAT_H

#include "llqrt/Generate.h"
#include "llqrt/Tokenizer.h"

namespace llq::tools {

/// The tokens of `messages` in the model's chat format, up to where the
/// assistant's answer begins.
llqrt::Status encodeChat(const llqrt::Tokenizer &tokenizer,
                         const std::vector<llqrt::ChatMessage> &messages,
                         std::vector<int32_t> &ids);

/// Reads messages from standard input, line by line, and prints the answers
/// until the input ends. `system` comes first if it is not empty.
llqrt::Status runChat(llqrt::Session &session,
                      const llqrt::Tokenizer &tokenizer,
                      const std::string &system,
                      const llqrt::GenerateOptions &options);

} // namespace llq::tools

#endif // LLQ_TOOLS_RUN_CHAT_H
