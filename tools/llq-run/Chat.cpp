//===- Chat.cpp - A conversation on a terminal ----------------------------===//
//
// Every turn formats the whole conversation anew, as chat templates want it,
// and evaluates only what differs from the tokens that are in the cache.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "Chat.h"

#include <algorithm>
#include <cstdio>
#include <iostream>
#include <unistd.h>

using namespace llq::tools;
using namespace llqrt;

Status llq::tools::encodeChat(const Tokenizer &tokenizer,
                              const std::vector<ChatMessage> &messages,
                              std::vector<int32_t> &ids) {
  std::string prompt, error;
  if (!tokenizer.applyChatTemplate(messages, {}, prompt, error))
    return Status::unsupported("--chat: " + error);
  if (!tokenizer.encode(prompt, {true, SpecialTokens::None}, ids, error))
    return Status::unsupported("--chat: " + error);
  return {};
}

namespace {

class Chat {
public:
  Chat(Session &session, const Tokenizer &tokenizer, const std::string &system,
       const GenerateOptions &options)
      : session(session), tokenizer(tokenizer), options(options) {
    if (!system.empty())
      opening.push_back({"system", system});
    messages = opening;
  }

  Status run();

private:
  Status answer(const std::string &line);

  Session &session;
  const Tokenizer &tokenizer;
  const GenerateOptions &options;
  std::vector<ChatMessage> opening, messages;
  /// Tokens of the session's sequence.
  std::vector<int32_t> cached;
};

} // namespace

Status Chat::answer(const std::string &line) {
  messages.push_back({"user", line});
  std::vector<int32_t> ids;
  LLQRT_RETURN_IF_ERROR(encodeChat(tokenizer, messages, ids));
  if (ids.empty())
    return Status::unsupported("--chat: the chat template gives no text");
  if (ids.size() > session.capacity())
    return {LLQRT_OUT_OF_CONTEXT, "the conversation has " +
                                      std::to_string(ids.size()) +
                                      " tokens and no longer fits into the " +
                                      std::to_string(session.capacity()) +
                                      " of the context, /reset starts anew"};

  // At least the last token has to be evaluated to get its outputs.
  size_t same = static_cast<size_t>(
      std::mismatch(cached.begin(), cached.end(), ids.begin(), ids.end())
          .first -
      cached.begin());
  same = std::min(same, ids.size() - 1);
  LLQRT_RETURN_IF_ERROR(session.truncate(same));
  cached = ids;

  std::string text;
  GenerateResult result;
  LLQRT_RETURN_IF_ERROR(generate(
      session, std::span(ids).subspan(same), options,
      [&](int32_t, const std::string &part) {
        text += part;
        std::fputs(part.c_str(), stdout);
        std::fflush(stdout);
        return true;
      },
      result));
  std::fputc('\n', stdout);
  std::fflush(stdout);
  messages.push_back({"assistant", text});
  cached.insert(cached.end(), result.tokens.begin(), result.tokens.end());
  cached.resize(session.position());
  return {};
}

Status Chat::run() {
  bool terminal = isatty(STDIN_FILENO) && isatty(STDERR_FILENO);
  if (terminal)
    std::fputs("/reset forgets the conversation, /exit ends it\n", stderr);
  std::string line;
  while (true) {
    if (terminal)
      std::fputs("> ", stderr);
    if (!std::getline(std::cin, line) || line == "/exit")
      return {};
    if (line == "/reset") {
      messages = opening;
      continue;
    }
    if (line.find_first_not_of(" \t\r") == std::string::npos)
      continue;
    Status status = answer(line);
    if (status.ok())
      continue;
    // In a conversation one message too many is no reason to leave.
    if (!terminal || status.code() != LLQRT_OUT_OF_CONTEXT)
      return status;
    messages.pop_back();
    std::fprintf(stderr, "%s\n", status.message().c_str());
  }
}

Status llq::tools::runChat(Session &session, const Tokenizer &tokenizer,
                           const std::string &system,
                           const GenerateOptions &options) {
  return Chat(session, tokenizer, system, options).run();
}
