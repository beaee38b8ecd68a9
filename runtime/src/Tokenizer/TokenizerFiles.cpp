//===- TokenizerFiles.cpp - Finding and reading a tokenizer's files -------===//
//
// A tokenizer is spread over several files: tokenizer.json or tokenizer.model
// holds the tokens, the files beside it name the special ones and hold the chat
// template.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "Json.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>

namespace llqrt::tok {

namespace fs = std::filesystem;

/// No tokenizer's file comes near this size.
static constexpr uintmax_t kMaxFileBytes = uintmax_t(1) << 30;

static std::string readFile(const fs::path &path) {
  std::error_code status;
  uintmax_t size = fs::file_size(path, status);
  if (status)
    throw Error(path.string() + ": " + status.message());
  if (size > kMaxFileBytes)
    throw Error(path.string() + ": larger than 1 GiB, this is no tokenizer");
  std::ifstream file(path, std::ios::binary);
  std::string text(static_cast<size_t>(size), '\0');
  if (!file.read(text.data(), static_cast<std::streamsize>(text.size())))
    throw Error(path.string() + ": cannot be read: " + std::strerror(errno));
  return text;
}

static std::string readIfPresent(const fs::path &path) {
  std::error_code status;
  if (!fs::exists(path, status))
    return {};
  std::string text = readFile(path);
  if (text.empty())
    throw Error(path.string() + ": the file is empty");
  return text;
}

static void addId(std::vector<int32_t> &ids, int32_t id) {
  if (std::find(ids.begin(), ids.end(), id) == ids.end())
    ids.push_back(id);
}

/// A special token of tokenizer_config.json: a string, or an object with the
/// string as its content.
static std::string specialText(const Json &config, const char *key) {
  constexpr const char *file = "tokenizer_config.json";
  const Json *value = findMember(config, key);
  if (value && value->is_object())
    return stringMember(*value, "content", std::string(file) + ": " + key);
  return stringMember(config, key, file);
}

/// One template, or a list of named ones of which "default" is meant.
static std::string templateText(const Json &config) {
  constexpr const char *file = "tokenizer_config.json";
  const Json *value = findMember(config, "chat_template");
  if (!value || !value->is_array())
    return stringMember(config, "chat_template", file);
  for (const Json &entry : *value)
    if (stringMember(entry, "name", file) == "default")
      return stringMember(entry, "template", file);
  throw Error(std::string(file) + ": no chat_template is named 'default'");
}

/// Classes whose BOS and EOS come from tokenizer_config.json.
static void applyLlamaClass(const Json &config, TokenizerSpec &spec) {
  constexpr const char *file = "tokenizer_config.json";
  std::string name = stringMember(config, "tokenizer_class", file);
  if (name != "LlamaTokenizer" && name != "LlamaTokenizerFast")
    return;
  if (findMember(config, "add_bos_token")) {
    spec.prefix.clear();
    if (boolMember(config, "add_bos_token", true, file) && spec.bosToken >= 0)
      spec.prefix = {spec.bosToken};
  }
  if (findMember(config, "add_eos_token")) {
    spec.suffix.clear();
    if (boolMember(config, "add_eos_token", false, file) && spec.eosToken >= 0)
      spec.suffix = {spec.eosToken};
  }
}

static int32_t knownToken(const TokenizerSpec &spec, const std::string &text,
                          const char *key) {
  int32_t id = spec.findToken(text);
  if (id < 0)
    throw Error(std::string("tokenizer_config.json: ") + key + " '" +
                excerpt(text) + "' is not in the vocabulary");
  return id;
}

static void applyTokenizerConfig(TokenizerSpec &spec, std::string_view text) {
  Json config = parseJsonObject(text, "tokenizer_config.json");
  spec.bosText = specialText(config, "bos_token");
  spec.eosText = specialText(config, "eos_token");
  spec.unknownText = specialText(config, "unk_token");
  spec.paddingText = specialText(config, "pad_token");
  if (!spec.bosText.empty())
    spec.bosToken = knownToken(spec, spec.bosText, "bos_token");
  if (!spec.eosText.empty())
    spec.eosToken = knownToken(spec, spec.eosText, "eos_token");
  spec.chatTemplate = templateText(config);
  applyLlamaClass(config, spec);
}

/// Ids in generation_config.json or config.json: one number or a list. Models
/// have more ids than their tokenizer at times; those beyond it cannot occur in
/// a text and are left out.
static void applyModelIds(TokenizerSpec &spec, std::string_view text,
                          const char *file) {
  Json config = parseJsonObject(text, file);
  auto idsOf = [&](const char *key) {
    std::vector<int32_t> ids;
    auto add = [&](const Json &value) {
      auto id = tokenId(value, std::string(file) + ": " + key);
      if (id < spec.size())
        addId(ids, static_cast<int32_t>(id));
    };
    if (const Json *value = findMember(config, key)) {
      if (value->is_array())
        for (const Json &item : *value)
          add(item);
      else
        add(*value);
    }
    return ids;
  };
  std::vector<int32_t> bos = idsOf("bos_token_id");
  std::vector<int32_t> eos = idsOf("eos_token_id");
  if (spec.bosToken < 0 && !bos.empty())
    spec.bosToken = bos[0];
  if (spec.eosToken < 0 && !eos.empty())
    spec.eosToken = eos[0];
  for (int32_t id : eos)
    addId(spec.stopTokens, id);
}

void applySideFiles(TokenizerSpec &spec, const SideFiles &files) {
  if (!files.tokenizerConfig.empty())
    applyTokenizerConfig(spec, files.tokenizerConfig);
  // A template in a file of its own is the newer form and comes first.
  if (!files.chatTemplate.empty())
    spec.chatTemplate = files.chatTemplate;
  if (!files.generationConfig.empty())
    applyModelIds(spec, files.generationConfig, "generation_config.json");
  else if (!files.modelConfig.empty())
    applyModelIds(spec, files.modelConfig, "config.json");
  if (spec.bosToken < 0 && !spec.prefix.empty())
    spec.bosToken = spec.prefix[0];
  if (spec.eosToken >= 0)
    addId(spec.stopTokens, spec.eosToken);

  auto spelling = [&](int32_t id) {
    for (const AddedToken &added : spec.addedTokens)
      if (id >= 0 && added.id == static_cast<uint32_t>(id))
        return added.content;
    return std::string();
  };
  if (spec.bosText.empty())
    spec.bosText = spelling(spec.bosToken);
  if (spec.eosText.empty())
    spec.eosText = spelling(spec.eosToken);

  spec.chatStopTokens = spec.stopTokens;
  for (const AddedToken &added : spec.addedTokens)
    for (std::string_view name :
         {"<|eot_id|>", "<|eom_id|>", "<|im_end|>", "<|end|>", "<end_of_turn>"})
      if (added.special && added.content == name)
        addId(spec.chatStopTokens, static_cast<int32_t>(added.id));
}

TokenizerSpec readTokenizerFiles(const std::string &path) {
  fs::path file = path;
  std::error_code status;
  if (fs::is_directory(file, status)) {
    fs::path directory = file;
    file.clear();
    for (const char *name :
         {"tokenizer.json", "tokenizer.model", "original/tokenizer.model"})
      if (file.empty() && fs::exists(directory / name, status))
        file = directory / name;
    if (file.empty())
      throw Error(path + ": neither tokenizer.json nor tokenizer.model in this "
                         "directory");
  }
  std::string text = readFile(file);
  fs::path directory = file.parent_path();
  SideFiles side;
  side.tokenizerConfig = readIfPresent(directory / "tokenizer_config.json");
  side.generationConfig = readIfPresent(directory / "generation_config.json");
  side.modelConfig = readIfPresent(directory / "config.json");
  side.chatTemplate = readIfPresent(directory / "chat_template.jinja");

  // The content decides where the name does not.
  size_t first = text.find_first_not_of(" \t\r\n\xef\xbb\xbf");
  bool isJson = file.extension() == ".json" ||
                (first != std::string::npos && text[first] == '{');
  if (!isJson && text.substr(0, 64).find("<unk>") != std::string::npos)
    throw Error(file.string() + ": a SentencePiece model is not supported, "
                                "give the tokenizer.json of this model");
  try {
    TokenizerSpec spec =
        isJson
            ? readTokenizerJson(text)
            : readTiktoken(text, usesLlama31Names(
                                     side.modelConfig,
                                     readIfPresent(directory / "params.json")));
    applySideFiles(spec, side);
    return spec;
  } catch (const Error &e) {
    // The readers call a file by its usual name and know no directories.
    std::string_view what = e.what();
    for (std::string_view name : {"tokenizer.json", "tokenizer.model"})
      if (what.starts_with(name))
        throw Error(file.string() + std::string(what.substr(name.size())));
    throw Error((directory / what).string());
  }
}

} // namespace llqrt::tok
