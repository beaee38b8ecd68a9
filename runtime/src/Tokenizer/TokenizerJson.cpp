//===- TokenizerJson.cpp - Reading tokenizer.json: the BPE model ----------===//
//
// Reads the vocabulary, merges and added tokens of a Hugging Face
// tokenizer.json. How the text is prepared and put together again is read in
// TokenizerJsonSteps.cpp.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "TokenizerJson.h"

#include "Utf8.h"

#include <charconv>
#include <limits>
#include <unordered_map>

namespace llqrt::tok {

static constexpr const char *kFile = "tokenizer.json";

static std::string hexadecimal(uint32_t value) {
  char digits[8];
  auto [end, status] =
      std::to_chars(digits, digits + sizeof(digits), value, 16);
  return {digits, end};
}

namespace {
class Reader {
public:
  explicit Reader(std::string_view text) : root(parseJsonObject(text, kFile)) {}

  TokenizerSpec run();

private:
  [[noreturn]] static void fail(const std::string &what) {
    throw Error(std::string(kFile) + ": " + what);
  }
  void readModelOptions(const Json &model);
  void readVocabulary(const Json &model);
  void readMerges(const Json &model);
  void readAddedTokens();
  void addToken(uint32_t id, const std::string &content, const char *what);
  void storeTokens();
  void splitWords();
  uint32_t modelToken(const std::string &content, size_t merge) const;

  Json root;
  TokenizerSpec spec;
  /// Spelling of each id as in the file; null where an id is not used.
  std::vector<const std::string *> spellings;
  std::unordered_map<std::string_view, uint32_t> modelIds;
};
} // namespace

void Reader::readModelOptions(const Json &model) {
  std::string where = std::string(kFile) + ": model";
  // Old files leave out the type; only BPE has merges.
  std::string type = findMember(model, "type") || !findMember(model, "merges")
                         ? typeOf(model, where)
                         : "BPE";
  if (type != "BPE")
    fail("model type '" + excerpt(type) + "' is not supported, only BPE is");
  const Json *dropout = findMember(model, "dropout");
  if (dropout && !(dropout->is_number() && dropout->get<double>() == 0))
    fail("model: 'dropout' is not supported, remove it to tokenize");
  for (const char *key : {"continuing_subword_prefix", "end_of_word_suffix"})
    if (!stringMember(model, key, where).empty())
      fail(std::string("model: '") + key + "' is not supported");
  spec.ignoreMerges = boolMember(model, "ignore_merges", false, where);
  spec.byteFallback = boolMember(model, "byte_fallback", false, where);
  spec.fuseUnknown = boolMember(model, "fuse_unk", false, where);
}

void Reader::addToken(uint32_t id, const std::string &content,
                      const char *what) {
  if (id >= spellings.size())
    spellings.resize(id + 1, nullptr);
  if (spellings[id] && *spellings[id] != content)
    fail(std::string(what) + " '" + excerpt(content) + "' has id " +
         std::to_string(id) + ", which is the id of '" +
         excerpt(*spellings[id]) + "'");
  spellings[id] = &content;
}

void Reader::readVocabulary(const Json &model) {
  const Json *vocab = findMember(model, "vocab");
  if (!vocab || !vocab->is_object())
    fail("model: 'vocab' is missing or no object of tokens and ids");
  modelIds.reserve(vocab->size());
  for (const auto &[content, value] :
       vocab->get_ref<const Json::object_t &>()) {
    uint32_t id = tokenId(value, std::string(kFile) + ": token '" +
                                     excerpt(content) + "'");
    addToken(id, content, "token");
    modelIds.emplace(content, id);
  }
  std::string unknown =
      stringMember(model, "unk_token", std::string(kFile) + ": model");
  if (unknown.empty())
    return;
  auto found = modelIds.find(unknown);
  if (found == modelIds.end())
    fail("model: unk_token '" + excerpt(unknown) +
         "' is not in the vocabulary");
  spec.unknownToken = static_cast<int32_t>(found->second);
}

uint32_t Reader::modelToken(const std::string &content, size_t merge) const {
  auto found = modelIds.find(content);
  if (found == modelIds.end())
    fail("merge " + std::to_string(merge) + " needs the token '" +
         excerpt(content) + "', which the vocabulary lacks");
  return found->second;
}

void Reader::readMerges(const Json &model) {
  const Json &merges =
      arrayMember(model, "merges", std::string(kFile) + ": model");
  spec.merges.reserve(merges.size());
  for (size_t i = 0; i < merges.size(); ++i) {
    const Json &merge = merges[i];
    std::string left, right;
    if (merge.is_string()) {
      // Old form: both halves in one string.
      const auto &text = merge.get_ref<const std::string &>();
      if (text.starts_with("#version"))
        continue;
      size_t space = text.find(' ');
      if (space == std::string::npos ||
          text.find(' ', space + 1) != std::string::npos)
        fail("merge " + std::to_string(i) + " '" + excerpt(text) +
             "' is not two tokens with a space between them");
      left = text.substr(0, space);
      right = text.substr(space + 1);
    } else if (merge.is_array() && merge.size() == 2 && merge[0].is_string() &&
               merge[1].is_string()) {
      left = merge[0].get<std::string>();
      right = merge[1].get<std::string>();
    } else {
      fail("merge " + std::to_string(i) + " is not a pair of tokens");
    }
    spec.merges.push_back({modelToken(left, i), modelToken(right, i),
                           modelToken(left + right, i)});
  }
}

void Reader::readAddedTokens() {
  const Json *list = findMember(root, "added_tokens");
  if (!list)
    return;
  if (!list->is_array())
    fail("'added_tokens' is no array");
  std::unordered_map<std::string_view, uint32_t> seen;
  for (const Json &item : *list) {
    std::string where = std::string(kFile) + ": an added token";
    const Json *content = findMember(item, "content");
    if (!content || !content->is_string())
      fail("an added token has no 'content'");
    const auto &text = content->get_ref<const std::string &>();
    where += " '" + excerpt(text) + "'";
    // Reference behaviour: an empty token can never be found, and is left out.
    if (text.empty())
      continue;
    const Json *id = findMember(item, "id");
    if (!id)
      fail("added token '" + excerpt(text) + "' has no 'id'");

    AddedToken token;
    token.id = tokenId(*id, where);
    token.content = text;
    token.special = boolMember(item, "special", false, where);
    token.normalized = boolMember(item, "normalized", !token.special, where);
    token.singleWord = boolMember(item, "single_word", false, where);
    token.lstrip = boolMember(item, "lstrip", false, where);
    token.rstrip = boolMember(item, "rstrip", false, where);

    addToken(token.id, text, "added token");
    auto inModel = modelIds.find(text);
    auto [earlier, first] = seen.emplace(text, token.id);
    if ((inModel != modelIds.end() && inModel->second != token.id) ||
        earlier->second != token.id)
      fail("added token '" + excerpt(text) + "' has two different ids");
    if (first)
      spec.addedTokens.push_back(std::move(token));
  }
}

/// Lays the tokens out one behind the other.
void Reader::storeTokens() {
  if (modelIds.empty())
    fail("model: 'vocab' is empty");
  uint64_t used = 0;
  for (const std::string *spelling : spellings)
    used += spelling != nullptr;
  // Unused ids are legal, but a vocabulary that is mostly holes is damaged.
  if (spellings.size() > 2 * used + 65536)
    fail("the largest token id is " + std::to_string(spellings.size() - 1) +
         " but there are only " + std::to_string(used) + " tokens");

  spec.tokenFlags.resize(spellings.size());
  for (const AddedToken &added : spec.addedTokens)
    if (added.special)
      spec.tokenFlags[added.id] |= Special;
  for (uint32_t id = 0; id < spellings.size(); ++id) {
    if (spellings[id]) {
      const std::string &spelling = *spellings[id];
      bool reachable = true;
      spec.tokenBytes += spec.alphabet == Alphabet::Bytes
                             ? fromByteLevel(spelling, &reachable)
                             : spelling;
      // The model's own token of this spelling, not an added one.
      auto found = modelIds.find(spelling);
      if (reachable && found != modelIds.end() && found->second == id)
        spec.tokenFlags[id] |= InModel;
    }
    if (spec.tokenBytes.size() > std::numeric_limits<uint32_t>::max())
      fail("the vocabulary has more than 4 GiB of text");
    spec.tokenEnds.push_back(static_cast<uint32_t>(spec.tokenBytes.size()));
  }
}

/// A SentencePiece-style model merges a whole text at once. Where no merge
/// joins the end of a word with the separator behind it, the text can be cut
/// there: the tokens are the same, but short pieces are merged faster and words
/// that come again are remembered.
void Reader::splitWords() {
  const std::string &separator = spec.decoder.separator;
  bool applies = spec.alphabet == Alphabet::Characters && !spec.ignoreMerges &&
                 modelIds.contains(separator) &&
                 decodeUtf8(separator).length == separator.size();
  if (!applies)
    return;
  for (const Merge &merge : spec.merges) {
    std::string_view token = spec.token(merge.result);
    while (token.starts_with(separator))
      token.remove_prefix(separator.size());
    if (token.find(separator) != std::string_view::npos)
      return;
  }
  TextStep step;
  step.pattern = "\\x{" + hexadecimal(decodeUtf8(separator).codepoint) + "}";
  step.pattern = step.pattern + "*[^" + step.pattern + "]+";
  spec.preTokenizer.push_back(std::move(step));
}

TokenizerSpec Reader::run() {
  const Json *model = findMember(root, "model");
  if (!model || !model->is_object())
    fail("'model' is missing or no object");
  readModelOptions(*model);
  readVocabulary(*model);
  readMerges(*model);
  readAddedTokens();
  readTextSteps(root, spec);
  storeTokens();
  splitWords();
  return std::move(spec);
}

TokenizerSpec readTokenizerJson(std::string_view text) {
  return Reader(text).run();
}

} // namespace llqrt::tok
