//===- TokenizerFixture.h - Tokenizers for the tests ------------*- C++ -*-===//
//
// Reads test data and writes small tokenizers into a temporary folder, from
// where they are loaded like a user's.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_TEST_TOKENIZERFIXTURE_H
#define LLQ_TEST_TOKENIZERFIXTURE_H

#include "llqrt/Tokenizer.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <filesystem>
#include <fstream>

namespace llqrt::test {

using Json = nlohmann::ordered_json;

inline std::string readText(const std::filesystem::path &path) {
  std::ifstream file(path, std::ios::binary);
  EXPECT_TRUE(file) << path;
  return {std::istreambuf_iterator<char>(file), {}};
}

inline std::filesystem::path dataPath(const std::string &name) {
  return std::filesystem::path(LLQ_TEST_DATA_DIR) / name;
}

inline Json readJson(const std::string &name) {
  return Json::parse(readText(dataPath(name)));
}

/// A folder that is gone with the object.
class TemporaryFolder {
public:
  TemporaryFolder() {
    std::string pattern = ::testing::TempDir() + "llq-tokenizer-XXXXXX";
    EXPECT_NE(mkdtemp(pattern.data()), nullptr);
    folder = pattern;
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(folder, ignored);
  }
  void write(const std::string &name, std::string_view text) const {
    std::ofstream(folder / name, std::ios::binary) << text;
  }
  std::string path() const { return folder.string(); }

private:
  std::filesystem::path folder;
};

/// The tokenizer in `text`, with an optional tokenizer_config.json; null and
/// `error` if it is refused.
inline std::unique_ptr<Tokenizer> loadText(std::string_view text,
                                           std::string &error,
                                           std::string_view config = {}) {
  TemporaryFolder folder;
  folder.write("tokenizer.json", text);
  if (!config.empty())
    folder.write("tokenizer_config.json", config);
  return Tokenizer::load(folder.path(), error);
}

inline std::unique_ptr<Tokenizer> loadJson(const Json &json,
                                           std::string_view config = {}) {
  std::string error;
  auto tokenizer = loadText(json.dump(), error, config);
  EXPECT_TRUE(tokenizer) << error;
  return tokenizer;
}

inline std::unique_ptr<Tokenizer> loadTiny() {
  std::string error;
  auto tokenizer =
      Tokenizer::load(dataPath("models/tiny-llama3").string(), error);
  EXPECT_TRUE(tokenizer) << error;
  return tokenizer;
}

/// A tokenizer as it comes back from its stored form.
inline std::unique_ptr<Tokenizer> storeAndLoad(const Tokenizer &tokenizer) {
  std::string error;
  std::vector<uint8_t> bytes;
  EXPECT_TRUE(tokenizer.serialize(bytes, error)) << error;
  auto result = Tokenizer::fromFlatBuffer(bytes, error);
  EXPECT_TRUE(result) << error;
  return result;
}

inline std::vector<int32_t> encode(const Tokenizer &tokenizer,
                                   std::string_view text,
                                   const EncodeOptions &options = {}) {
  std::string error;
  std::vector<int32_t> ids;
  EXPECT_TRUE(tokenizer.encode(text, options, ids, error)) << error;
  return ids;
}

/// Special tokens parsed, none added.
inline constexpr EncodeOptions kPlain = {true, SpecialTokens::None};
/// Special tokens read as text, none added.
inline constexpr EncodeOptions kRaw = {false, SpecialTokens::None};

} // namespace llqrt::test

#endif // LLQ_TEST_TOKENIZERFIXTURE_H
