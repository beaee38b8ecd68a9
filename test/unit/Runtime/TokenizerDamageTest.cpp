//===- TokenizerDamageTest.cpp - Tests of broken tokenizer files ----------===//
//
// Whatever is wrong with a file, loading it gives one clear message or a
// tokenizer that can be used; never a crash. Run with sanitizers these tests
// say most.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "TokenizerFixture.h"

#include <random>

using namespace llqrt;
using namespace llqrt::test;

/// The message for `json`, without the folder.
static std::string messageOf(std::string_view text,
                             std::string_view config = {}) {
  std::string error;
  EXPECT_FALSE(loadText(text, error, config)) << "accepted";
  EXPECT_EQ(error.find('\n'), std::string::npos) << error;
  size_t slash = error.find("/tokenizer");
  return slash == std::string::npos ? error : error.substr(slash + 1);
}

/// The tiny tokenizer with `patch` merged into it.
static std::string messageOfPatch(const Json &patch) {
  Json json = readJson("models/tiny-llama3/tokenizer.json");
  json.merge_patch(patch);
  return messageOf(json.dump());
}

TEST(TokenizerDamageTest, MissingFilesAreNamed) {
  std::string error;
  EXPECT_FALSE(Tokenizer::load("/no/such/folder", error));
  EXPECT_EQ(error, "/no/such/folder: No such file or directory");
  TemporaryFolder folder;
  EXPECT_FALSE(Tokenizer::load(folder.path(), error));
  EXPECT_EQ(error, folder.path() + ": neither tokenizer.json nor "
                                   "tokenizer.model in this directory");
}

TEST(TokenizerDamageTest, EmptyFilesBesideItAreErrors) {
  for (const char *name : {"tokenizer_config.json", "generation_config.json",
                           "config.json", "chat_template.jinja"}) {
    TemporaryFolder folder;
    folder.write("tokenizer.json",
                 readText(dataPath("models/tiny-llama3/tokenizer.json")));
    folder.write(name, "");
    std::string error;
    EXPECT_FALSE(Tokenizer::load(folder.path(), error));
    EXPECT_EQ(error, folder.path() + "/" + name + ": the file is empty");
  }
}

TEST(TokenizerDamageTest, TextThatIsNoTokenizer) {
  EXPECT_EQ(messageOf("{"), "tokenizer.json: not valid JSON at line 1, byte 2");
  EXPECT_EQ(messageOf("{\"model\":\n1]"),
            "tokenizer.json: not valid JSON at line 2, byte 12");
  EXPECT_EQ(messageOf("{}"), "tokenizer.json: 'model' is missing or no object");
  EXPECT_EQ(messageOf("{\"a\": \"\\ud800\"}").substr(0, 30),
            "tokenizer.json: not valid JSON");
  EXPECT_EQ(messageOf("{\"a\": 1e999}"),
            "tokenizer.json: not valid JSON, a number in it is out of range");
  std::string deep = "{\"model\":" + std::string(100000, '[');
  EXPECT_EQ(messageOf(deep).substr(0, 30), "tokenizer.json: not valid JSON");
}

TEST(TokenizerDamageTest, ModelsThatAreNotSupported) {
  EXPECT_EQ(messageOfPatch({{"model", {{"type", "Unigram"}}}}),
            "tokenizer.json: model type 'Unigram' is not supported, only BPE "
            "is");
  EXPECT_EQ(messageOfPatch({{"model", {{"dropout", 0.1}}}}),
            "tokenizer.json: model: 'dropout' is not supported, remove it to "
            "tokenize");
  EXPECT_EQ(messageOfPatch({{"model", {{"end_of_word_suffix", "</w>"}}}}),
            "tokenizer.json: model: 'end_of_word_suffix' is not supported");
  EXPECT_EQ(messageOfPatch({{"model", {{"ignore_merges", "yes"}}}}),
            "tokenizer.json: model: 'ignore_merges' is no boolean");
  EXPECT_EQ(messageOfPatch({{"model", {{"unk_token", "<none>"}}}}),
            "tokenizer.json: model: unk_token '<none>' is not in the "
            "vocabulary");
}

TEST(TokenizerDamageTest, VocabulariesWithFaults) {
  EXPECT_EQ(messageOfPatch({{"model", {{"vocab", nullptr}}}}),
            "tokenizer.json: model: 'vocab' is missing or no object of tokens "
            "and ids");
  EXPECT_EQ(messageOfPatch({{"model", {{"vocab", {{"he", "5"}}}}}}),
            "tokenizer.json: token 'he': the token id is no integer");
  EXPECT_EQ(messageOfPatch({{"model", {{"vocab", {{"he", -1}}}}}}),
            "tokenizer.json: token 'he': token id -1 is out of range, 0 to "
            "4194303 are supported");
  EXPECT_EQ(messageOfPatch({{"model", {{"vocab", {{"he", 1e300}}}}}}),
            "tokenizer.json: token 'he': the token id is no integer");
  EXPECT_EQ(messageOfPatch({{"model", {{"vocab", {{"he", 4000000000u}}}}}}),
            "tokenizer.json: token 'he': token id 4000000000 is out of range, "
            "0 to 4194303 are supported");
  EXPECT_EQ(messageOfPatch({{"model", {{"vocab", {{"he", 4000000}}}}}}),
            "tokenizer.json: the largest token id is 4000000 but there are "
            "only 4096 tokens");
  // "!" is token 5.
  EXPECT_EQ(messageOfPatch({{"model", {{"vocab", {{"he", 5}}}}}}),
            "tokenizer.json: token 'he' has id 5, which is the id of '!'");
  EXPECT_EQ(messageOfPatch({{"model", {{"vocab", {{"he", nullptr}}}}}}),
            "tokenizer.json: merge 2 needs the token 'he', which the "
            "vocabulary lacks");
}

TEST(TokenizerDamageTest, MergesWithFaults) {
  auto withMerges = [](const Json &merges) {
    return messageOfPatch({{"model", {{"merges", merges}}}});
  };
  EXPECT_EQ(withMerges(nullptr), "tokenizer.json: model: 'merges' is missing");
  EXPECT_EQ(withMerges("h e"), "tokenizer.json: model: 'merges' is no array");
  EXPECT_EQ(withMerges({{"h"}}),
            "tokenizer.json: merge 0 is not a pair of tokens");
  EXPECT_EQ(withMerges(Json::array({"h e", "h  e"})),
            "tokenizer.json: merge 1 'h  e' is not two tokens with a space "
            "between them");
  EXPECT_EQ(withMerges(Json::array({7})),
            "tokenizer.json: merge 0 is not a pair of tokens");
  EXPECT_EQ(withMerges(Json::array({"q z"})),
            "tokenizer.json: merge 0 needs the token 'qz', which the "
            "vocabulary lacks");
}

TEST(TokenizerDamageTest, AddedTokensWithFaults) {
  auto withAdded = [](const Json &tokens) {
    return messageOfPatch({{"added_tokens", tokens}});
  };
  EXPECT_EQ(withAdded("x"), "tokenizer.json: 'added_tokens' is no array");
  EXPECT_EQ(withAdded(Json::array({Json::object()})),
            "tokenizer.json: an added token has no 'content'");
  EXPECT_EQ(withAdded({{{"content", "<a>"}}}),
            "tokenizer.json: added token '<a>' has no 'id'");
  EXPECT_EQ(withAdded({{{"content", "<a>"}, {"id", 5}}}),
            "tokenizer.json: added token '<a>' has id 5, which is the id of "
            "'!'");
  EXPECT_EQ(withAdded({{{"content", "!"}, {"id", 5000}}}),
            "tokenizer.json: added token '!' has two different ids");
  EXPECT_EQ(withAdded({{{"content", "!"}, {"id", 5}, {"lstrip", 1}}}),
            "tokenizer.json: an added token '!': 'lstrip' is no boolean");
}

TEST(TokenizerDamageTest, StepsThatAreNotSupported) {
  EXPECT_EQ(messageOfPatch({{"normalizer", {{"type", "NFC"}}}}),
            "tokenizer.json: normalizer 'NFC' is not supported");
  EXPECT_EQ(messageOfPatch({{"normalizer", {{"type", 3}}}}),
            "tokenizer.json: normalizer: 'type' is no string");
  EXPECT_EQ(messageOfPatch({{"normalizer", "NFC"}}),
            "tokenizer.json: normalizer is no JSON object");
  EXPECT_EQ(messageOfPatch({{"pre_tokenizer", {{"type", "Whitespace"}}}}),
            "tokenizer.json: pre_tokenizer 'Whitespace' is not supported");
  EXPECT_EQ(messageOfPatch({{"pre_tokenizer", {{"pretokenizers", nullptr}}}}),
            "tokenizer.json: pre_tokenizer: 'pretokenizers' is missing");
  EXPECT_EQ(
      messageOfPatch({{"pre_tokenizer",
                       {{"pretokenizers",
                         {{{"type", "ByteLevel"}}, {{"type", "Digits"}}}}}}}),
      "tokenizer.json: pre_tokenizer 'Digits' behind ByteLevel is not "
      "supported");
  EXPECT_EQ(messageOfPatch({{"decoder", {{"type", "WordPiece"}}}}),
            "tokenizer.json: decoder 'WordPiece' does not fit the "
            "pre-tokenizer, only ByteLevel does");
  EXPECT_EQ(messageOfPatch({{"decoder", nullptr}}),
            "tokenizer.json: decoder is missing");
  EXPECT_EQ(messageOfPatch({{"post_processor", {{"type", "Bert"}}}}),
            "tokenizer.json: post_processor 'Bert' is not supported");
  EXPECT_EQ(messageOfPatch({{"post_processor",
                             {{"type", "TemplateProcessing"},
                              {"single", Json::array()}}}}),
            "tokenizer.json: post_processor: the template does not contain "
            "the text");
  Json nested = {{"type", "NFC"}};
  for (int i = 0; i < 100; ++i)
    nested = {{"type", "Sequence"}, {"normalizers", {nested}}};
  EXPECT_EQ(messageOfPatch({{"normalizer", nested}}),
            "tokenizer.json: normalizer is nested too deeply");
}

static std::string messageOfPattern(const std::string &pattern) {
  std::string message =
      messageOfPatch({{"pre_tokenizer",
                       {{"pretokenizers",
                         {{{"type", "Split"},
                           {"pattern", {{"Regex", pattern}}},
                           {"behavior", "Isolated"}},
                          {{"type", "ByteLevel"}, {"use_regex", false}}}}}}});
  return message.substr(message.find("pattern"));
}

TEST(TokenizerDamageTest, PatternsThatAreNotSupported) {
  EXPECT_EQ(messageOfPattern("a\\h"),
            "pattern 'a\\h': '\\h' at offset 1 is not supported");
  EXPECT_EQ(messageOfPattern("(a)\\1"),
            "pattern '(a)\\1': '\\1' at offset 3 is not supported");
  EXPECT_EQ(messageOfPattern("[a&&b]"),
            "pattern '[a&&b]': '&&' at offset 2 is not supported");
  EXPECT_EQ(messageOfPattern("\\p{N}{1,3}+"),
            "pattern '\\p{N}{1,3}+': '{1,3}+' at offset 5 is not supported");
  EXPECT_EQ(messageOfPattern("(?<name>a)"),
            "pattern '(?<name>a)': '(?<n' at offset 0 is not supported");
  EXPECT_EQ(messageOfPattern("(?i:\\p{Lu})"),
            "pattern '(?i:\\p{Lu})': '\\p{Lu}' at offset 4 is not supported");
  EXPECT_EQ(messageOfPattern("\\p{Nonsense}").substr(0, 58),
            "pattern '\\p{Nonsense}' is not a valid regular expression: ");
  EXPECT_EQ(messageOfPattern("(a"), "pattern '(a' lacks a ')'");
  EXPECT_EQ(messageOfPattern("a)"), "pattern 'a)' has a ')' without a '('");
  EXPECT_EQ(messageOfPattern("[a"), "pattern '[a' lacks a ']'");
  EXPECT_EQ(messageOfPattern("a\\"), "pattern 'a\\' ends in a backslash");
  EXPECT_EQ(messageOfPattern("\\x{pattern}"),
            "pattern '\\x{pattern}': '\\x{' at offset 0 is not supported");
}

TEST(TokenizerDamageTest, PatternsHaveALimitedLength) {
  Json json = readJson("models/tiny-llama3/tokenizer.json");
  json["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] =
      std::string(70000, 'a');
  std::string message = messageOf(json.dump());
  EXPECT_EQ(message.substr(message.find(": ") + 2),
            "a step of the pre-tokenizer is longer than 65536 bytes");
}

TEST(TokenizerDamageTest, PatternsThatTakeTooLongAreErrors) {
  Json json = readJson("models/tiny-llama3/tokenizer.json");
  json["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] =
      "(?:(?:a|aa)+)+b";
  auto tokenizer = loadJson(json);
  std::vector<int32_t> ids;
  std::string error;
  EXPECT_FALSE(tokenizer->encode(std::string(200, 'a') + " b", {}, ids, error));
  EXPECT_EQ(error, "the pre-tokenizer's pattern cannot be matched: match limit "
                   "exceeded");
}

TEST(TokenizerDamageTest, ConfigurationsWithFaults) {
  std::string json = readText(dataPath("models/tiny-llama3/tokenizer.json"));
  EXPECT_EQ(messageOf(json, " "),
            "tokenizer_config.json: not valid JSON at line 1, byte 2");
  EXPECT_EQ(messageOf(json, "[]"),
            "tokenizer_config.json: the top level is no JSON object");
  EXPECT_EQ(messageOf(json, R"({"bos_token": 7})"),
            "tokenizer_config.json: 'bos_token' is no string");
  EXPECT_EQ(messageOf(json, R"({"eos_token": "</s>"})"),
            "tokenizer_config.json: eos_token '</s>' is not in the vocabulary");
  EXPECT_EQ(messageOf(json, R"({"chat_template": [{"name": "rag"}]})"),
            "tokenizer_config.json: no chat_template is named 'default'");
}

//===----------------------------------------------------------------------===//
// Truncated and changed files
//===----------------------------------------------------------------------===//

/// Uses `tokenizer`: whatever it gives, it must not crash.
static void exercise(const Tokenizer &tokenizer) {
  std::vector<int32_t> ids;
  std::string error;
  std::string text = "Hello <|eot_id|> w\u00f6rld 123\n\n  don't \u65e5\u672c";
  tokenizer.encode(text, {}, ids, error);
  tokenizer.encode(text, {false, SpecialTokens::WithBos}, ids, error);
  for (int32_t id : {0, 1, 77, 300, tokenizer.vocabSize() - 1})
    ids.push_back(id);
  tokenizer.decode(ids);
  tokenizer.findToken("the");
  std::string prompt;
  std::vector<ChatMessage> messages = {{"user", "Hi"}};
  tokenizer.applyChatTemplate(messages, {}, prompt, error);
}

TEST(TokenizerDamageTest, TruncatedJsonIsAnError) {
  std::string json = readText(dataPath("models/tiny-llama3/tokenizer.json"));
  size_t length = json.find_last_not_of(" \n") + 1;
  for (size_t end = 0; end < length; end += 1 + length / 40)
    EXPECT_EQ(messageOf(json.substr(0, end)).substr(0, 30),
              "tokenizer.json: not valid JSON");
}

TEST(TokenizerDamageTest, ChangedJsonGivesAMessageOrATokenizer) {
  // Without most of the vocabulary, so that changes hit all parts alike.
  Json json = readJson("data/tokenizer/vectors.json")[15]["tokenizer"];
  Json base = readJson("models/tiny-llama3/tokenizer.json");
  base.update(json);
  std::string text = base.dump();
  std::mt19937 random(7);
  for (int i = 0; i < 400; ++i) {
    std::string changed = text;
    for (unsigned k = random() % 3 + 1; k > 0; --k) {
      size_t at = random() % changed.size();
      switch (random() % 3) {
      case 0:
        changed[at] = "\"{}[],:0123456789-truefalsn\\ "[random() % 28];
        break;
      case 1:
        changed.erase(at, random() % 8);
        break;
      default:
        changed.insert(at, changed.substr(random() % changed.size(), 8));
      }
    }
    std::string error;
    if (auto tokenizer = loadText(changed, error))
      exercise(*storeAndLoad(*tokenizer));
    else
      EXPECT_NE(error, "");
  }
}

static std::vector<uint8_t> storedTiny() {
  Json json = readJson("models/tiny-llama3/tokenizer.json");
  std::string config = R"({"chat_template": "{{ messages[0].content }}"})";
  std::vector<uint8_t> bytes;
  std::string error;
  EXPECT_TRUE(loadJson(json, config)->serialize(bytes, error)) << error;
  return bytes;
}

TEST(TokenizerDamageTest, StoredFormIsDeterministic) {
  EXPECT_EQ(storedTiny(), storedTiny());
}

TEST(TokenizerDamageTest, StoredFormNeedsNoAlignment) {
  std::vector<uint8_t> bytes = storedTiny();
  std::vector<uint8_t> shifted(bytes.size() + 3);
  std::copy(bytes.begin(), bytes.end(), shifted.begin() + 3);
  std::string error;
  auto tokenizer =
      Tokenizer::fromFlatBuffer({shifted.data() + 3, bytes.size()}, error);
  ASSERT_TRUE(tokenizer) << error;
  EXPECT_EQ(tokenizer->decode(encode(*tokenizer, "Hello", kRaw)), "Hello");
}

TEST(TokenizerDamageTest, TruncatedStoredFormIsAnError) {
  std::vector<uint8_t> bytes = storedTiny();
  for (size_t size = 0; size < bytes.size(); size += 1 + size / 20) {
    // A copy of its own, so that reading beyond the end is noticed.
    std::vector<uint8_t> part(bytes.begin(),
                              bytes.begin() + static_cast<ptrdiff_t>(size));
    std::string error;
    EXPECT_FALSE(Tokenizer::fromFlatBuffer(part, error)) << size;
    EXPECT_NE(error, "");
  }
}

TEST(TokenizerDamageTest, ChangedStoredFormGivesAMessageOrATokenizer) {
  std::vector<uint8_t> bytes = storedTiny();
  std::mt19937 random(3);
  for (int i = 0; i < 600; ++i) {
    std::vector<uint8_t> changed = bytes;
    // The tables are at the front, before long vectors.
    size_t range = i % 2 ? changed.size() : 1024;
    for (unsigned k = random() % 4 + 1; k > 0; --k)
      changed[random() % range] ^= static_cast<uint8_t>(1u << random() % 8);
    std::string error;
    if (auto tokenizer = Tokenizer::fromFlatBuffer(changed, error))
      exercise(*tokenizer);
    else
      EXPECT_NE(error, "");
  }
}
