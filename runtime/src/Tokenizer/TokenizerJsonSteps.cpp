//===- TokenizerJsonSteps.cpp - tokenizer.json: around the model ----------===//
//
// Reads how a text is prepared for the model (normalizer, pre-tokenizer), what
// is put around its tokens (post-processor) and how tokens become text again
// (decoder). Each of the many kinds is brought down to the primitive steps of
// TokenizerSpec; a kind that has no such form is an error, because leaving it
// out would give other tokens in silence.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "TokenizerJson.h"

namespace llqrt::tok {

/// What messages call the parts of the file.
static constexpr const char *kNormalizer = "tokenizer.json: normalizer";

static constexpr const char *kPreTokenizer = "tokenizer.json: pre_tokenizer";

static constexpr const char *kDecoder = "tokenizer.json: decoder";

static constexpr const char *kPostProcessor = "tokenizer.json: post_processor";

[[noreturn]] static void fail(const char *part, const std::string &what) {
  throw Error(std::string(part) + what);
}

[[noreturn]] static void unsupported(const char *part,
                                     const std::string &type) {
  fail(part, " '" + excerpt(type) + "' is not supported");
}

/// The members of a "Sequence", or `item` alone. Sequences inside a sequence
/// are flattened; they end with the JSON's own nesting.
static void flatten(const Json &item, const char *part, const char *listKey,
                    std::vector<const Json *> &items, size_t depth = 0) {
  if (typeOf(item, part) != "Sequence") {
    items.push_back(&item);
    return;
  }
  if (depth == kMaxSteps)
    fail(part, " is nested too deeply");
  for (const Json &inner : arrayMember(item, listKey, part))
    flatten(inner, part, listKey, items, depth + 1);
}

static std::vector<const Json *> flattened(const Json &root, const char *part,
                                           const char *key,
                                           const char *listKey) {
  std::vector<const Json *> items;
  if (const Json *item = findMember(root, key))
    flatten(*item, part, listKey, items);
  return items;
}

/// {"String": ...} or {"Regex": ...}.
static std::string patternMember(const Json &object, const char *part,
                                 bool &literal) {
  if (const Json *pattern = findMember(object, "pattern"))
    for (const char *key : {"String", "Regex"})
      if (findMember(*pattern, key)) {
        literal = key[0] == 'S';
        return stringMember(*pattern, key, part);
      }
  fail(part, ": 'pattern' is neither a String nor a Regex");
}

static TextStep splitStep(std::string pattern, SplitBehavior behavior) {
  TextStep step;
  step.pattern = std::move(pattern);
  step.behavior = behavior;
  return step;
}

static TextStep prefixStep(std::string prefix) {
  TextStep step;
  step.kind = TextStep::Kind::Prefix;
  step.replacement = std::move(prefix);
  return step;
}

static TextStep replaceStep(std::string pattern, std::string replacement) {
  TextStep step;
  step.kind = TextStep::Kind::Replace;
  step.literal = true;
  step.pattern = std::move(pattern);
  step.replacement = std::move(replacement);
  return step;
}

static TextStep readReplace(const Json &item, const char *part) {
  bool literal = false;
  std::string pattern = patternMember(item, part, literal);
  if (!literal)
    unsupported(part, "Replace with a Regex");
  return replaceStep(std::move(pattern), stringMember(item, "content", part));
}

static void readNormalizer(const Json &root, TokenizerSpec &spec) {
  for (const Json *item :
       flattened(root, kNormalizer, "normalizer", "normalizers")) {
    std::string type = typeOf(*item, kNormalizer);
    if (type == "Prepend")
      spec.normalizer.push_back(
          prefixStep(stringMember(*item, "prepend", kNormalizer)));
    else if (type == "Replace")
      spec.normalizer.push_back(readReplace(*item, kNormalizer));
    else
      unsupported(kNormalizer, type);
  }
}

static SplitBehavior readBehavior(const std::string &name) {
  static constexpr std::string_view names[] = {"Removed", "Isolated",
                                               "MergedWithPrevious",
                                               "MergedWithNext", "Contiguous"};
  for (size_t i = 0; i < std::size(names); ++i)
    if (names[i] == name)
      return static_cast<SplitBehavior>(i);
  fail(kPreTokenizer, ": split behavior '" + excerpt(name) + "' is unknown");
}

namespace {
struct Metaspace {
  std::string replacement;
  /// "always", "first" or "never".
  std::string scheme;
};
} // namespace

static Metaspace readMetaspace(const Json &item, const char *part) {
  Metaspace result;
  result.replacement = stringMember(item, "replacement", part);
  if (result.replacement.empty())
    fail(part, ": Metaspace has no 'replacement'");
  result.scheme = stringMember(item, "prepend_scheme", part);
  if (!boolMember(item, "add_prefix_space", true, part))
    result.scheme = "never";
  else if (result.scheme.empty())
    result.scheme = "always";
  if (result.scheme != "always" && result.scheme != "first" &&
      result.scheme != "never")
    fail(part, ": prepend_scheme '" + excerpt(result.scheme) + "' is unknown");
  return result;
}

static void readPreTokenizer(const Json &root, TokenizerSpec &spec) {
  constexpr const char *part = kPreTokenizer;
  std::vector<TextStep> &steps = spec.preTokenizer;
  bool isByteLevel = false;
  for (const Json *item :
       flattened(root, part, "pre_tokenizer", "pretokenizers")) {
    std::string type = typeOf(*item, part);
    if (isByteLevel)
      fail(kPreTokenizer,
           " '" + excerpt(type) + "' behind ByteLevel is not supported");
    if (type == "Split") {
      bool literal = false;
      std::string pattern = patternMember(*item, part, literal);
      TextStep step =
          splitStep(std::move(pattern),
                    readBehavior(stringMember(*item, "behavior", part)));
      step.literal = literal;
      step.invert = boolMember(*item, "invert", false, part);
      steps.push_back(std::move(step));
    } else if (type == "Digits") {
      bool individual = boolMember(*item, "individual_digits", false, part);
      steps.push_back(splitStep(individual ? "\\p{N}" : "\\p{N}+",
                                SplitBehavior::Isolated));
    } else if (type == "ByteLevel") {
      isByteLevel = true;
      if (boolMember(*item, "add_prefix_space", true, part)) {
        TextStep step = prefixStep(" ");
        step.unlessPresent = true;
        steps.push_back(std::move(step));
      }
      if (boolMember(*item, "use_regex", true, part))
        steps.push_back(
            splitStep(std::string(kGPT2Pattern), SplitBehavior::Isolated));
    } else if (type == "Metaspace") {
      Metaspace metaspace = readMetaspace(*item, part);
      steps.push_back(replaceStep(" ", metaspace.replacement));
      if (metaspace.scheme != "never") {
        TextStep step = prefixStep(metaspace.replacement);
        step.unlessPresent = true;
        step.onlyFirst = metaspace.scheme == "first";
        steps.push_back(std::move(step));
      }
      if (boolMember(*item, "split", true, part)) {
        TextStep step =
            splitStep(metaspace.replacement, SplitBehavior::MergedWithNext);
        step.literal = true;
        steps.push_back(std::move(step));
      }
    } else {
      unsupported(part, type);
    }
  }
  spec.alphabet = isByteLevel ? Alphabet::Bytes : Alphabet::Characters;
}

static void readDecoder(const Json &root, TokenizerSpec &spec) {
  using LeadingSpace = DecoderSpec::LeadingSpace;
  constexpr const char *part = kDecoder;
  std::vector<const Json *> items =
      flattened(root, part, "decoder", "decoders");
  if (items.empty())
    fail(kDecoder, " is missing");
  if (spec.alphabet == Alphabet::Bytes) {
    std::string type = typeOf(*items[0], part);
    if (items.size() != 1 || type != "ByteLevel")
      fail(kDecoder,
           " '" + excerpt(type) +
               "' does not fit the pre-tokenizer, only ByteLevel does");
    return;
  }
  // The order that is meant by the fields of DecoderSpec: separators and bytes
  // token by token, the leading space of the joined text last.
  bool joined = false;
  for (const Json *item : items) {
    std::string type = typeOf(*item, part);
    DecoderSpec &decoder = spec.decoder;
    if (type == "Replace" && !joined && decoder.separator.empty()) {
      TextStep step = readReplace(*item, part);
      if (step.replacement != " ")
        unsupported(part, "Replace by anything but a space");
      decoder.separator = step.pattern;
    } else if (type == "Metaspace" && !joined && decoder.separator.empty()) {
      Metaspace metaspace = readMetaspace(*item, part);
      decoder.separator = metaspace.replacement;
      if (metaspace.scheme != "never")
        decoder.leadingSpace = LeadingSpace::DropSeparators;
    } else if (type == "ByteFallback" && !joined) {
      decoder.byteTokens = true;
    } else if (type == "Fuse") {
      joined = true;
    } else if (type == "Strip" && joined &&
               decoder.leadingSpace == LeadingSpace::Keep) {
      const Json *start = findMember(*item, "start");
      const Json *stop = findMember(*item, "stop");
      if (stringMember(*item, "content", part) != " " || !start ||
          *start != 1 || (stop && *stop != 0))
        unsupported(part, "Strip of anything but one leading space");
      decoder.leadingSpace = LeadingSpace::StripOne;
    } else {
      unsupported(part, type);
    }
  }
}

/// Ids that a template's special token stands for.
static void appendTemplateToken(const Json &processor, const std::string &name,
                                std::vector<int32_t> &ids) {
  const Json *tokens = findMember(processor, "special_tokens");
  const Json *token = tokens ? findMember(*tokens, name.c_str()) : nullptr;
  if (!token)
    fail(kPostProcessor,
         ": '" + excerpt(name) + "' is not among its special_tokens");
  for (const Json &id : arrayMember(*token, "ids", kPostProcessor))
    ids.push_back(static_cast<int32_t>(tokenId(id, kPostProcessor)));
}

static void readTemplate(const Json &processor, TokenizerSpec &spec) {
  std::vector<int32_t> before, after;
  bool seenText = false;
  for (const Json &item : arrayMember(processor, "single", kPostProcessor)) {
    if (findMember(item, "Sequence")) {
      if (seenText)
        fail(kPostProcessor, ": the template contains the text twice");
      seenText = true;
    } else if (const Json *token = findMember(item, "SpecialToken")) {
      appendTemplateToken(processor, stringMember(*token, "id", kPostProcessor),
                          seenText ? after : before);
    } else {
      fail(kPostProcessor, ": the template contains something that is neither "
                           "text nor a special token");
    }
  }
  if (!seenText)
    fail(kPostProcessor, ": the template does not contain the text");
  // A later processor goes around what earlier ones made.
  spec.prefix.insert(spec.prefix.begin(), before.begin(), before.end());
  spec.suffix.insert(spec.suffix.end(), after.begin(), after.end());
}

static void readPostProcessor(const Json &root, TokenizerSpec &spec) {
  for (const Json *item :
       flattened(root, kPostProcessor, "post_processor", "processors")) {
    std::string type = typeOf(*item, kPostProcessor);
    if (type == "TemplateProcessing")
      readTemplate(*item, spec);
    else if (type != "ByteLevel") // ByteLevel changes offsets, never tokens.
      unsupported(kPostProcessor, type);
  }
}

void readTextSteps(const Json &root, TokenizerSpec &spec) {
  readNormalizer(root, spec);
  readPreTokenizer(root, spec);
  readDecoder(root, spec);
  readPostProcessor(root, spec);
}

} // namespace llqrt::tok
