//===- TestTokenizer.cpp - A tokenizer for the hand-made model ------------===//
//
// Written as the files of a checkpoint and read by the tokenizer's own loader.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "TestTokenizer.h"

#include "TestModel.h"
#include "llqrt/Tokenizer.h"

#include "gtest/gtest.h"

#include <filesystem>
#include <fstream>
#include <unistd.h>

using namespace llqrt;
using namespace llqrt::test;

/// Spelling of every id in the files; a byte-level tokenizer writes a space as
/// U+0120.
static std::string spelling(int32_t id) {
  static const char *const special[] = {"<s>", "</s>", "<|im_end|>"};
  if (id < spaceId)
    return special[id];
  if (id == spaceId)
    return "\xc4\xa0";
  int32_t letter = id - spaceId - 1;
  return letter < 26 ? std::string(1, static_cast<char>('a' + letter))
                     : std::string(1, static_cast<char>('0' + letter - 26));
}

static std::string tokenizerJson() {
  std::string added, vocabulary;
  for (int32_t id = 0; id < static_cast<int32_t>(vocab); ++id) {
    std::string number = std::to_string(id), content = spelling(id);
    if (id < spaceId)
      added += (id ? "," : "") +
               ("{\"id\":" + number + ",\"content\":\"" + content) +
               "\",\"single_word\":false,\"lstrip\":false,\"rstrip\":false,"
               "\"normalized\":false,\"special\":true}";
    else
      vocabulary += (id > spaceId ? ",\"" : "\"") + content + "\":" + number;
  }
  return R"({"version":"1.0","normalizer":null,"added_tokens":[)" + added +
         R"(],"pre_tokenizer":{"type":"ByteLevel","add_prefix_space":false,
  "trim_offsets":true,"use_regex":true},
  "post_processor":{"type":"TemplateProcessing",
    "single":[{"SpecialToken":{"id":"<s>","type_id":0}},
              {"Sequence":{"id":"A","type_id":0}}],
    "pair":[{"Sequence":{"id":"A","type_id":0}},
            {"Sequence":{"id":"B","type_id":1}}],
    "special_tokens":{"<s>":{"id":"<s>","ids":[0],"tokens":["<s>"]}}},
  "decoder":{"type":"ByteLevel","add_prefix_space":true,"trim_offsets":true,
    "use_regex":true},
  "model":{"type":"BPE","dropout":null,"unk_token":null,
    "continuing_subword_prefix":null,"end_of_word_suffix":null,
    "fuse_unk":false,"byte_fallback":false,"merges":[],"vocab":{)" +
         vocabulary + "}}}";
}

std::vector<uint8_t> test::makeTestTokenizer(int32_t endOfText) {
  namespace fs = std::filesystem;
  fs::path folder = fs::path(testing::TempDir()) /
                    ("llqrt-tokenizer-" + std::to_string(getpid()));
  fs::create_directories(folder);
  std::ofstream(folder / "tokenizer.json") << tokenizerJson();
  std::ofstream(folder / "tokenizer_config.json")
      << R"({"bos_token":"<s>","eos_token":"</s>","chat_template":
"{{ bos_token }}{% for m in messages %}{{ m['role'] }} {{ m['content'] }}<|im_end|>{% endfor %}{% if add_generation_prompt %}assistant {% endif %}"})";
  std::ofstream(folder / "generation_config.json")
      << "{\"eos_token_id\": " << endOfText << "}";
  std::string error;
  std::unique_ptr<Tokenizer> tokenizer =
      Tokenizer::load(folder.string(), error);
  fs::remove_all(folder);
  std::vector<uint8_t> bytes;
  if (!tokenizer || !tokenizer->serialize(bytes, error))
    ADD_FAILURE() << error;
  return bytes;
}
