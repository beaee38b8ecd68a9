//===- Tokenizer.h - Text to token ids and back -----------------*- C++ -*-===//
//
// The tokenizer of the LLQ runtime: byte-level BPE as LLAMA3, SmolLM2 and GPT-2
// use it, SentencePiece-style BPE of older checkpoints, and the model's chat
// template. It is read once from Hugging Face or tiktoken files, then stored in
// the model file as one FlatBuffer that loads without parsing any JSON.
// No exception leaves this interface: functions that can fail say so and give
// one line of explanation.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQRT_TOKENIZER_H
#define LLQRT_TOKENIZER_H

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace llqrt {

/// Which special tokens encode() puts around the text.
enum class SpecialTokens {
  /// What the tokenizer's post-processor says, e.g. BOS in front for LLAMA3.
  Template,
  /// As Template, and BOS in front even where the post-processor adds none.
  WithBos,
  /// Nothing but the text's own tokens.
  None,
};

struct EncodeOptions {
  /// Text such as "<|eot_id|>" becomes the special token of that name. When
  /// false it is plain text (evaluation reads its texts that way). Tokens that
  /// were added to the vocabulary without being special are always recognised.
  bool parseSpecial = true;
  SpecialTokens addSpecial = SpecialTokens::Template;
};

struct ChatMessage {
  /// "system", "user", "assistant" or what else the template knows.
  std::string role;
  std::string content;
};

struct ChatOptions {
  /// Ends the prompt with the header of the assistant's turn.
  bool addGenerationPrompt = true;
  /// Seconds since 1970 that a template sees as the current time; negative:
  /// the clock. Dates are in UTC so that a given time gives one text.
  int64_t now = -1;
};

/// An immutable tokenizer. All const functions may be called from several
/// threads at once.
class Tokenizer {
public:
  /// Reads `path`: a directory with tokenizer.json (or the tiktoken form,
  /// tokenizer.model), or such a file. tokenizer_config.json,
  /// generation_config.json, config.json and chat_template.jinja beside it add
  /// special token ids and the chat template. Null, with `error` set, when the
  /// files are missing, damaged or ask for something unsupported.
  static std::unique_ptr<Tokenizer> load(const std::string &path,
                                         std::string &error);

  /// Reads what serialize() wrote. Nothing is assumed about `bytes`, which may
  /// have any alignment and need not outlive the call. Null, with `error` set,
  /// when they are not a valid tokenizer.
  static std::unique_ptr<Tokenizer>
  fromFlatBuffer(std::span<const uint8_t> bytes, std::string &error);

  /// Writes the tokenizer as a FlatBuffer (runtime/schema/tokenizer.fbs). The
  /// same tokenizer always gives the same bytes.
  bool serialize(std::vector<uint8_t> &bytes, std::string &error) const;

  ~Tokenizer();
  Tokenizer(const Tokenizer &) = delete;
  Tokenizer &operator=(const Tokenizer &) = delete;

  /// Replaces `ids` by the tokens of `text`, which must be UTF-8 and shorter
  /// than 2 GiB. False, with `error` set and `ids` empty, otherwise.
  bool encode(std::string_view text, const EncodeOptions &options,
              std::vector<int32_t> &ids, std::string &error) const;

  /// The text of `ids`. Bytes that are not UTF-8 become U+FFFD; ids outside the
  /// vocabulary are left out; `skipSpecial` leaves out special tokens too.
  std::string decode(std::span<const int32_t> ids,
                     bool skipSpecial = false) const;

  /// One more than the largest token id.
  int32_t vocabSize() const;
  /// Id of the token spelled `content` in the tokenizer's files ("<|eot_id|>"),
  /// or -1.
  int32_t findToken(std::string_view content) const;
  /// True for control tokens such as BOS; false for ids outside the vocabulary.
  bool isSpecial(int32_t id) const;

  /// Beginning of text, or -1 if the model has none.
  int32_t bosToken() const;
  /// End of text, or -1 if the model has none.
  int32_t eosToken() const;
  /// Tokens that end a generation: those of generation_config.json and EOS.
  std::span<const int32_t> stopTokens() const;
  /// Tokens that end an answer in a chat: stopTokens() and the end-of-turn
  /// tokens of the vocabulary (<|eot_id|>, <|im_end|>, ...).
  std::span<const int32_t> chatStopTokens() const;

  /// The template as it is written in the model's files; empty if there is
  /// none.
  std::string_view chatTemplate() const;
  /// Replaces `prompt` by `messages` in the model's own chat format. Encode the
  /// result with {parseSpecial = true, SpecialTokens::None}: the template
  /// writes BOS itself. False, with `error` set, when the model has no template
  /// or the template rejects the messages.
  bool applyChatTemplate(std::span<const ChatMessage> messages,
                         const ChatOptions &options, std::string &prompt,
                         std::string &error) const;

private:
  friend class TextStream;
  struct Impl;
  explicit Tokenizer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl;
};

/// Decodes tokens one by one. What push() returns is always whole UTF-8
/// characters: bytes of a character that later tokens complete are held back.
/// The concatenation equals Tokenizer::decode() of all ids.
class TextStream {
public:
  /// `tokenizer` must outlive the stream.
  explicit TextStream(const Tokenizer &tokenizer, bool skipSpecial = false);

  /// The text that `id` completes, possibly empty.
  std::string push(int32_t id);
  /// The text of bytes still held back: U+FFFD if there are any.
  std::string finish();

private:
  const Tokenizer &tokenizer;
  bool skipSpecial;
  bool atStart = true;
  std::string pending;
};

} // namespace llqrt

#endif // LLQRT_TOKENIZER_H
