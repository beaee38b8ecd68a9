//===- ChatTemplate.cpp - Applying a model's chat template ----------------===//
//
// Sets up the variables that the transformers library gives to a template.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "ChatTemplate.h"

#include "JinjaInterpreter.h"
#include "Utf8.h"

#include <ctime>

namespace llqrt::tok {

std::string renderChatTemplate(const TokenizerSpec &spec,
                               std::span<const ChatMessage> messages,
                               const ChatOptions &options) {
  using jinja::Value;
  if (spec.chatTemplate.empty())
    throw Error("the model has no chat template; give a plain prompt");

  jinja::Values list;
  for (size_t i = 0; i < messages.size(); ++i) {
    const ChatMessage &message = messages[i];
    if (!isUtf8(message.role) || !isUtf8(message.content))
      throw Error("chat message " + std::to_string(i) + " is not UTF-8");
    jinja::Dict entry;
    entry.set("role", Value::string(message.role));
    entry.set("content", Value::string(message.content));
    list.push_back(Value::dict(std::move(entry)));
  }

  jinja::Dict variables;
  variables.set("messages", Value::list(std::move(list)));
  variables.set("add_generation_prompt",
                Value::boolean(options.addGenerationPrompt));
  variables.set("tools", Value::none());
  variables.set("documents", Value::none());
  auto setText = [&](const char *name, const std::string &text) {
    if (!text.empty())
      variables.set(name, Value::string(text));
  };
  setText("bos_token", spec.bosText);
  setText("eos_token", spec.eosText);
  setText("unk_token", spec.unknownText);
  setText("pad_token", spec.paddingText);

  int64_t now =
      options.now < 0 ? static_cast<int64_t>(std::time(nullptr)) : options.now;
  try {
    return jinja::render(jinja::parseTemplate(spec.chatTemplate),
                         std::move(variables), now);
  } catch (const Error &e) {
    throw Error(std::string("chat template, ") + e.what());
  }
}

} // namespace llqrt::tok
