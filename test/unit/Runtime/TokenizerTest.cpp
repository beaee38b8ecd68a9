//===- TokenizerTest.cpp - Tests of the tokenizer -------------------------===//
//
// Tokens are compared with those of the reference implementation, stored forms
// with what was stored, and merging with a naive version.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "TokenizerFixture.h"

#include <cstdlib>
#include <random>

using namespace llqrt;
using namespace llqrt::test;

using Ids = std::vector<int32_t>;

TEST(TokenizerTest, TinyLlama3AgreesWithTheReference) {
  auto tokenizer = loadTiny();
  auto stored = storeAndLoad(*tokenizer);
  Json golden = readJson("models/tiny-llama3/tokenizer_golden.json");
  ASSERT_EQ(golden.size(), 72u);
  for (const Json &vector : golden) {
    auto text = vector["text"].get<std::string>();
    auto ids = vector["ids"].get<Ids>();
    EXPECT_EQ(encode(*tokenizer, text, kPlain), ids) << text;
    EXPECT_EQ(encode(*stored, text, kPlain), ids) << text;
    EXPECT_EQ(stored->decode(ids), text);
  }
}

TEST(TokenizerTest, VariantsAgreeWithTheReference) {
  std::map<std::string, Json> bases;
  bases["tiny-llama3"] = readJson("models/tiny-llama3/tokenizer.json");
  Json vectors = readJson("data/tokenizer/vectors.json");
  ASSERT_GE(vectors.size(), 20u);
  for (const Json &variant : vectors) {
    auto name = variant["name"].get<std::string>();
    SCOPED_TRACE(name);
    Json description = bases.at(variant["base"].get<std::string>());
    for (const auto &[key, value] : variant["tokenizer"].items()) {
      if (key == "model")
        description["model"].update(value);
      else
        description[key] = value;
    }
    bases[name] = description;
    auto tokenizer = storeAndLoad(*loadJson(description));
    for (const Json &vector : variant["cases"]) {
      auto text = vector["text"].get<std::string>();
      auto ids = vector["ids"].get<Ids>();
      EXPECT_EQ(encode(*tokenizer, text), ids) << text;
      EXPECT_EQ(encode(*tokenizer, text, kRaw), vector.value("raw", ids))
          << text;
      EXPECT_EQ(tokenizer->decode(ids, true), vector.value("decoded", text));
    }
  }
}

/// Merges the leftmost pair of the lowest rank until there is none.
static Ids mergeNaively(const Json &model, const std::string &word) {
  std::vector<std::string> symbols;
  for (char c : word)
    symbols.emplace_back(1, c);
  for (;;) {
    size_t best = 0, bestRank = model["merges"].size();
    for (size_t i = 0; i + 1 < symbols.size(); ++i)
      for (size_t rank = 0; rank < bestRank; ++rank)
        if (model["merges"][rank][0] == symbols[i] &&
            model["merges"][rank][1] == symbols[i + 1]) {
          best = i;
          bestRank = rank;
        }
    if (bestRank == model["merges"].size())
      break;
    symbols[best] += symbols[best + 1];
    symbols.erase(symbols.begin() + static_cast<ptrdiff_t>(best) + 1);
  }
  Ids ids;
  for (const std::string &symbol : symbols)
    ids.push_back(model["vocab"][symbol].get<int32_t>());
  return ids;
}

/// A byte-level tokenizer that takes a text as one piece and knows some merges
/// of a, b and c.
static Json abcTokenizer() {
  Json json = readJson("models/tiny-llama3/tokenizer.json");
  json["pre_tokenizer"] = {
      {"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", false}};
  json["post_processor"] = nullptr;
  json["added_tokens"] = Json::array();
  Json vocab = Json::object();
  for (const auto &[token, id] : json["model"]["vocab"].items())
    if (id >= 5 && id < 261)
      vocab[token] = id;
  Json merges = Json::array();
  const char *pairs[][2] = {{"b", "c"},  {"a", "a"},   {"a", "bc"},
                            {"aa", "a"}, {"a", "aa"},  {"bc", "bc"},
                            {"c", "a"},  {"aaa", "b"}, {"abc", "abc"}};
  int next = 261;
  for (auto &[left, right] : pairs) {
    merges.push_back({left, right});
    std::string merged = std::string(left) + right;
    if (!vocab.contains(merged))
      vocab[merged] = next++;
  }
  json["model"]["vocab"] = vocab;
  json["model"]["merges"] = merges;
  json["model"]["ignore_merges"] = false;
  return json;
}

TEST(TokenizerTest, ShortAndLongPiecesMergeAsTheDefinitionSays) {
  Json json = abcTokenizer();
  auto tokenizer = loadJson(json);
  std::mt19937 random(1);
  for (int i = 0; i < 300; ++i) {
    // Both sides of the length from which on the heap is used.
    std::string word(1 + random() % 120, 'a');
    for (char &c : word)
      c = "abc"[random() % 3];
    EXPECT_EQ(encode(*tokenizer, word, kRaw), mergeNaively(json["model"], word))
        << word;
  }
}

TEST(TokenizerTest, RunsWithoutABreakTakeLinearithmicTime) {
  auto tokenizer = loadJson(abcTokenizer());
  std::string text;
  while (text.size() < (1u << 20))
    text += "aabcabcaa";
  EXPECT_EQ(tokenizer->decode(encode(*tokenizer, text, kRaw)), text);
}

TEST(TokenizerTest, RepeatedWordsAreTheSameInAndOutOfTheCache) {
  auto tokenizer = loadTiny();
  std::string part = readText(dataPath("models/tiny-llama3/heldout.txt"));
  Ids whole = encode(*tokenizer, part, kRaw);
  Ids pieces;
  // A line break ends a piece of LLAMA3's pattern, except before another one.
  for (size_t at = 0; at < part.size();) {
    size_t end = part.find('\n', at);
    while (end != std::string::npos && end + 1 < part.size() &&
           std::isspace(static_cast<unsigned char>(part[end + 1])))
      ++end;
    end = end == std::string::npos ? part.size() : end + 1;
    Ids ids = encode(*tokenizer, part.substr(at, end - at), kRaw);
    pieces.insert(pieces.end(), ids.begin(), ids.end());
    at = end;
  }
  EXPECT_EQ(whole, pieces);
  EXPECT_EQ(tokenizer->decode(whole), part);
}

TEST(TokenizerTest, SpecialTokensAreAddedAndParsedAsAsked) {
  auto tokenizer = loadTiny();
  EXPECT_EQ(tokenizer->bosToken(), 0);
  EXPECT_EQ(tokenizer->eosToken(), 1);
  EXPECT_EQ(tokenizer->vocabSize(), 4096);
  EXPECT_EQ(tokenizer->findToken("<|eot_id|>"), 4);
  EXPECT_EQ(tokenizer->findToken("no such token"), -1);
  EXPECT_TRUE(tokenizer->isSpecial(4));
  EXPECT_FALSE(tokenizer->isSpecial(5));
  EXPECT_FALSE(tokenizer->isSpecial(-1));
  EXPECT_FALSE(tokenizer->isSpecial(4096));

  EXPECT_EQ(encode(*tokenizer, ""), Ids({0}));
  EXPECT_EQ(encode(*tokenizer, "<|eot_id|>"), Ids({0, 4}));
  EXPECT_EQ(encode(*tokenizer, "<|eot_id|>", kPlain), Ids({4}));
  Ids raw = encode(*tokenizer, "<|eot_id|>", kRaw);
  EXPECT_GT(raw.size(), 1u);
  EXPECT_EQ(tokenizer->decode(raw), "<|eot_id|>");
  EncodeOptions withBos{true, SpecialTokens::WithBos};
  EXPECT_EQ(encode(*tokenizer, "", withBos), Ids({0}));

  EXPECT_EQ(tokenizer->decode(Ids({0, 4})), "<|begin_of_text|><|eot_id|>");
  EXPECT_EQ(tokenizer->decode(Ids({0, 4}), true), "");
  auto stop = tokenizer->stopTokens();
  EXPECT_EQ(Ids(stop.begin(), stop.end()), Ids({1}));
  auto chatStop = tokenizer->chatStopTokens();
  EXPECT_EQ(Ids(chatStop.begin(), chatStop.end()), Ids({1, 4}));
}

TEST(TokenizerTest, BosIsAddedWhereTheTemplateAddsNone) {
  Json json = readJson("models/tiny-llama3/tokenizer.json");
  json["post_processor"] = nullptr;
  auto tokenizer =
      loadJson(json, R"({"bos_token": {"content": "<|begin_of_text|>"}})");
  EXPECT_EQ(encode(*tokenizer, ""), Ids());
  EXPECT_EQ(encode(*tokenizer, "", {true, SpecialTokens::WithBos}), Ids({0}));

  std::string error;
  Ids ids = {1};
  EXPECT_FALSE(
      loadJson(json)->encode("", {true, SpecialTokens::WithBos}, ids, error));
  EXPECT_EQ(error, "the tokenizer has no BOS token");
  EXPECT_TRUE(ids.empty());
}

TEST(TokenizerTest, StopTokensComeFromAllFiles) {
  TemporaryFolder folder;
  folder.write("tokenizer.json",
               readText(dataPath("models/tiny-llama3/tokenizer.json")));
  folder.write("tokenizer_config.json", R"({"eos_token": "<|eot_id|>"})");
  folder.write("generation_config.json",
               R"({"bos_token_id": 0, "eos_token_id": [1, 3, 99999]})");
  folder.write("config.json", R"({"eos_token_id": 2})");
  std::string error;
  auto tokenizer = Tokenizer::load(folder.path(), error);
  ASSERT_TRUE(tokenizer) << error;
  EXPECT_EQ(tokenizer->eosToken(), 4);
  auto stop = tokenizer->stopTokens();
  EXPECT_EQ(Ids(stop.begin(), stop.end()), Ids({1, 3, 4}));
}

TEST(TokenizerTest, InvalidTextIsAnError) {
  auto tokenizer = loadTiny();
  std::string error;
  Ids ids;
  EXPECT_FALSE(tokenizer->encode("ab\xff", {}, ids, error));
  EXPECT_EQ(error, "text is not UTF-8 at byte 2");
  EXPECT_FALSE(tokenizer->encode("12345678\xe2\x82", {}, ids, error));
  EXPECT_EQ(error, "text is not UTF-8 at byte 8");
  // A surrogate, an overlong form, a code point beyond the last.
  for (const char *text : {"\xed\xa0\x80", "\xc0\x80", "\xf4\x90\x80\x80"})
    EXPECT_FALSE(tokenizer->encode(text, {}, ids, error));
}

TEST(TokenizerTest, StreamsGiveWholeCharacters) {
  auto tokenizer = loadTiny();
  std::string text = "na\u00efve \u65e5\u672c\u8a9e \U0001f999 text";
  Ids ids = encode(*tokenizer, text, kRaw);
  TextStream stream(*tokenizer);
  std::string joined;
  for (int32_t id : ids) {
    std::string part = stream.push(id);
    EXPECT_EQ(part.find("\ufffd"), std::string::npos);
    // No part begins inside a character.
    EXPECT_TRUE(part.empty() || (part[0] & 0xc0) != 0x80);
    joined += part;
  }
  EXPECT_EQ(joined, text);
  EXPECT_EQ(stream.finish(), "");
}

TEST(TokenizerTest, BytesThatAreNoTextBecomeReplacements) {
  auto tokenizer = loadTiny();
  int32_t lead = tokenizer->findToken("\u00e2"); // stands for byte 0xe2
  ASSERT_GE(lead, 0);
  int32_t letter = tokenizer->findToken("a");
  EXPECT_EQ(tokenizer->decode(Ids({lead, letter, -1, 4096, lead})), "\ufffd"
                                                                    "a\ufffd");
  TextStream stream(*tokenizer);
  EXPECT_EQ(stream.push(lead), "");
  EXPECT_EQ(stream.push(letter), "\ufffd"
                                 "a");
  EXPECT_EQ(stream.push(lead), "");
  EXPECT_EQ(stream.finish(), "\ufffd");
}

TEST(TokenizerTest, ChatTemplateOfTheConfiguration) {
  Json json = readJson("models/tiny-llama3/tokenizer.json");
  auto plain = loadJson(json);
  std::string prompt, error;
  std::vector<ChatMessage> messages = {{"user", "Hi"}};
  EXPECT_FALSE(plain->applyChatTemplate(messages, {}, prompt, error));
  EXPECT_EQ(error, "the model has no chat template; give a plain prompt");

  Json config;
  config["bos_token"] = "<|begin_of_text|>";
  config["chat_template"] = Json::array(
      {{{"name", "tools"}, {"template", "no"}},
       {{"name", "default"},
        {"template",
         "{{ bos_token }}{% for m in messages %}{{ m.role }}: {{ m.content }}"
         "<|eot_id|>{% endfor %}{{ strftime_now('%Y') }}"
         "{% if add_generation_prompt %}!{% endif %}"}}});
  auto tokenizer = storeAndLoad(*loadJson(json, config.dump()));
  ASSERT_TRUE(tokenizer->applyChatTemplate(messages, {true, 0}, prompt, error))
      << error;
  EXPECT_EQ(prompt, "<|begin_of_text|>user: Hi<|eot_id|>1970!");
  Ids ids = encode(*tokenizer, prompt, kPlain);
  EXPECT_EQ(ids.front(), 0);
  EXPECT_EQ(std::count(ids.begin(), ids.end(), 4), 1);
}

//===----------------------------------------------------------------------===//
// The tiktoken form
//===----------------------------------------------------------------------===//

static std::string base64(std::string_view bytes) {
  constexpr char digits[] =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  for (size_t i = 0; i < bytes.size(); i += 3) {
    uint32_t word = 0;
    for (size_t k = 0; k < 3; ++k)
      word = word << 8 |
             (i + k < bytes.size() ? static_cast<uint8_t>(bytes[i + k]) : 0u);
    for (size_t k = 0; k < 4; ++k)
      text += i + k > bytes.size() ? '=' : digits[word >> (18 - 6 * k) & 63];
  }
  return text;
}

/// 128000 ranks: all bytes, all pairs of bytes, and some longer tokens.
static std::string syntheticRanks() {
  std::string file;
  size_t rank = 0;
  auto add = [&](const std::string &bytes) {
    file += base64(bytes) + " " + std::to_string(rank++) + "\n";
  };
  for (int a = 0; a < 256; ++a)
    add({static_cast<char>(a)});
  for (int a = 0; a < 256; ++a)
    for (int b = 0; b < 256; ++b)
      add({static_cast<char>(a), static_cast<char>(b)});
  while (rank < 128000)
    add("x" + std::to_string(rank));
  return file;
}

TEST(TokenizerTest, TiktokenRanks) {
  TemporaryFolder folder;
  folder.write("tokenizer.model", syntheticRanks());
  std::string error;
  auto loaded = Tokenizer::load(folder.path(), error);
  ASSERT_TRUE(loaded) << error;
  auto tokenizer = storeAndLoad(*loaded);
  EXPECT_EQ(tokenizer->vocabSize(), 128256);
  EXPECT_EQ(tokenizer->bosToken(), 128000);
  EXPECT_EQ(tokenizer->findToken("<|reserved_special_token_250|>"), 128255);
  // Pairs merge by rank, leftmost first; "abc" has no token of its own.
  int32_t ab = 256 + 'a' * 256 + 'b';
  EXPECT_EQ(encode(*tokenizer, "abc"), Ids({128000, ab, 'c'}));
  EXPECT_EQ(encode(*tokenizer, "b a", kRaw), Ids({'b', 256 + ' ' * 256 + 'a'}));
  EXPECT_EQ(encode(*tokenizer, "<|eot_id|>", kPlain), Ids({128009}));
  EXPECT_EQ(tokenizer->findToken("<|python_tag|>"), -1);

  folder.write("config.json", R"({"rope_scaling": {"rope_type": "llama3"}})");
  auto later = Tokenizer::load(folder.path(), error);
  ASSERT_TRUE(later) << error;
  EXPECT_EQ(later->findToken("<|python_tag|>"), 128010);
  EXPECT_EQ(later->findToken("<|eom_id|>"), 128008);
  EXPECT_EQ(later->findToken("<|reserved_special_token_247|>"), 128255);
}

TEST(TokenizerTest, DamagedTiktokenFilesAreErrors) {
  std::string ranks = syntheticRanks();
  auto messageOf = [](const std::string &text) {
    TemporaryFolder folder;
    folder.write("tokenizer.model", text);
    std::string error;
    EXPECT_FALSE(Tokenizer::load(folder.path(), error));
    return error.substr(error.find("tokenizer.model") + 17);
  };
  EXPECT_EQ(messageOf("IQ== 0\nIg= 1\n"),
            "line 2: not a token in base64 and its rank");
  EXPECT_EQ(messageOf("IQ== 0\nIg== one\n"),
            "line 2: the rank 'one' is no number");
  EXPECT_EQ(messageOf("IQ== 0\nIg== 2\n"),
            "line 2: rank 2 where 1 is expected");
  EXPECT_EQ(messageOf(ranks.substr(0, ranks.size() / 2)).substr(0, 5), "line ");
  EXPECT_NE(messageOf("IQ== 0\n").find("LLAMA3 has 128000"), std::string::npos);
  EXPECT_NE(messageOf(ranks + "eA== 128000\n").find("tokenizer.json"),
            std::string::npos);
  EXPECT_NE(messageOf("\n\x0e\n\x05<unk>\x15").find("SentencePiece"),
            std::string::npos);
}

/// Needs LLAMA3's vocabulary, which may not be part of this project.
TEST(TokenizerTest, Llama3AgreesWithTheReference) {
  const char *path = std::getenv("LLQ_LLAMA3_TOKENIZER");
  if (!path)
    GTEST_SKIP() << "set LLQ_LLAMA3_TOKENIZER to LLAMA3's tokenizer.model";
  std::string error;
  auto tokenizer = Tokenizer::load(path, error);
  ASSERT_TRUE(tokenizer) << error;

  Json vectors = readJson("data/tokenizer/llama3-vectors.json");
  for (const Json &vector : vectors)
    EXPECT_EQ(encode(*tokenizer, vector["text"].get<std::string>(), kPlain),
              vector["ids"].get<Ids>());

  std::string inputs =
      readText(dataPath("data/tokenizer/llama.cpp/llama-bpe.inp"));
  std::istringstream outputs(
      readText(dataPath("data/tokenizer/llama.cpp/llama-bpe.out")));
  const std::string separator = "\n__ggml_vocab_test__\n";
  size_t cases = 0;
  std::string line;
  for (size_t at = 0; at < inputs.size() && std::getline(outputs, line);
       ++cases) {
    size_t end = inputs.find(separator, at);
    ASSERT_NE(end, std::string::npos);
    std::istringstream numbers(line);
    Ids ids(std::istream_iterator<int32_t>(numbers), {});
    std::string text = inputs.substr(at, end - at);
    EXPECT_EQ(encode(*tokenizer, text, kPlain), ids) << text;
    at = end + separator.size();
  }
  EXPECT_EQ(cases, 46u);
}
