//===- Chain.cpp - Chains of methods as users write them ------------------===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llq/Pipelines/Chain.h"
#include "llq/Quantize/Passes.h"
#include "llq/Support/CapturedErrors.h"

#include "mlir/Pass/PassManager.h"
#include "mlir/Pass/PassRegistry.h"
#include "llvm/ADT/StringExtras.h"

using namespace mlir;
using namespace llq;

static llvm::Error makeError(const Twine &message) {
  return llvm::createStringError(message);
}

//===----------------------------------------------------------------------===//
// Registered passes
//===----------------------------------------------------------------------===//

static const PassRegistryEntry *lookup(const std::string &argument) {
  if (const PassInfo *pass = PassInfo::lookup(argument))
    return pass;
  return PassPipelineInfo::lookup(argument);
}

static constexpr StringLiteral kRotatePass = "llq-rotate";

/// Passes that a chain knows by the name of a method.
static constexpr std::pair<StringLiteral, StringLiteral> kRewrites[] = {
    {"rotate", kRotatePass},
    {"smoothquant", "llq-smooth"},
    {"tune", kTunePassName},
};

static const PassRegistryEntry *lookupWord(StringRef word) {
  for (auto [name, argument] : kRewrites)
    if (word == name)
      return lookup(argument.str());
  if (const PassRegistryEntry *entry = lookup(("llq-quantize-" + word).str()))
    return entry;
  return lookup(("llq-" + word).str());
}

/// What a chain may begin with, for a message.
static std::string listWords() {
  SmallVector<std::string> words = getMethodNames();
  for (auto [name, argument] : kRewrites)
    words.push_back(name.str());
  llvm::sort(words);
  return llvm::join(words, ", ");
}

/// The names of the options that a pass prints with their defaults.
static SmallVector<StringRef> getOptionNames(StringRef pipeline) {
  SmallVector<StringRef> parts, names;
  pipeline.split('{').second.rsplit('}').first.split(parts, ' ', -1, false);
  for (StringRef part : parts)
    if (part.contains('='))
      names.push_back(part.split('=').first);
  return names;
}

/// The options of `entry`, for a message.
static std::string listOptions(const PassRegistryEntry &entry) {
  auto refuse = [](const Twine &) { return failure(); };
  auto print = [&](StringRef options) {
    std::string text;
    llvm::raw_string_ostream os(text);
    OpPassManager passes(ModuleOp::getOperationName());
    if (succeeded(entry.addToPipeline(passes, options, refuse)))
      for (Pass &pass : passes.getPasses())
        pass.printAsTextualPipeline(os);
    return text;
  };
  std::string defaults = print("");
  SmallVector<StringRef> names = getOptionNames(defaults);
  // Lists without a value are not printed.
  for (StringRef list : {"only", "except"})
    if (!print((list + "=x").str()).empty())
      names.push_back(list);
  llvm::sort(names);
  return names.empty() ? "it has none" : "it has " + llvm::join(names, ", ");
}

//===----------------------------------------------------------------------===//
// The parser
//===----------------------------------------------------------------------===//

namespace {
class ChainParser {
public:
  explicit ChainParser(StringRef text) : text(text) {}

  llvm::Expected<Chain> parse();

private:
  llvm::Expected<Chain::Pass> parseWord();
  llvm::Expected<std::string> parseOptions(StringRef word);
  /// Takes text up to a comma, blank or parenthesis outside of braces.
  llvm::Expected<StringRef> parsePart(StringRef word);
  void skipBlanks() { text = text.ltrim(); }

  StringRef text; // what is left
};
} // namespace

static bool isNameChar(char c) { return llvm::isAlnum(c) || c == '-'; }

llvm::Expected<StringRef> ChainParser::parsePart(StringRef word) {
  size_t depth = 0, end = 0;
  for (; end < text.size(); ++end) {
    char c = text[end];
    if (depth == 0 && (c == ',' || c == ')' || c == '(' || llvm::isSpace(c)))
      break;
    if (c == '{')
      ++depth;
    if (c == '}' && depth-- == 0)
      return makeError(word + ": '}' without '{'");
  }
  if (depth)
    return makeError(word + ": '{' without '}'");
  StringRef part = text.take_front(end);
  text = text.drop_front(end);
  return part;
}

/// `option, option, ...)` as the text of pass options.
llvm::Expected<std::string> ChainParser::parseOptions(StringRef word) {
  SmallVector<std::string> options;
  while (true) {
    text = text.ltrim(", \t\r\n");
    if (text.consume_front(")"))
      return llvm::join(options, " ");
    llvm::Expected<StringRef> part = parsePart(word);
    if (!part)
      return part.takeError();
    if (part->empty())
      return makeError(word + (text.empty()
                                   ? ": expected ')' after its options"
                                   : ": unexpected '(' in its options"));
    if (part->contains('='))
      options.push_back(part->str());
    else if (!options.empty())
      options.back() += "," + part->str();
    else
      return makeError(word + ": option '" + *part +
                       "' needs a value, as in '" + *part + "=...'");
  }
}

llvm::Expected<Chain::Pass> ChainParser::parseWord() {
  StringRef word = text.take_while(isNameChar);
  text = text.drop_front(word.size());
  if (word.empty())
    return makeError("expected the name of a method in front of '" +
                     text.take_front(16) + "'");
  const PassRegistryEntry *entry = lookupWord(word);
  if (!entry)
    return makeError("unknown method '" + word + "', known: " + listWords());

  std::string options;
  skipBlanks();
  if (text.consume_front("(")) {
    llvm::Expected<std::string> parsed = parseOptions(word);
    if (!parsed)
      return parsed.takeError();
    options = std::move(*parsed);
  }

  std::string message;
  OpPassManager passes(ModuleOp::getOperationName());
  auto keepMessage = [&](const Twine &text) {
    message = text.str();
    return failure();
  };
  CapturedErrors printed;
  bool refused = failed(entry->addToPipeline(passes, options, keepMessage));
  std::string text = printed.take();
  if (refused) {
    StringRef reason = StringRef(message).trim();
    reason.consume_front("<Pass-Options-Parser>: ");
    if (!reason.empty())
      return makeError(word + ": " + reason + ", " + listOptions(*entry));
    // What is wrong with a value, LLVM prints itself.
    std::string fault = getOptionError(text);
    return makeError(word + ": " + StringRef(fault).ltrim('-'));
  }
  return Chain::Pass{entry->getPassArgument().str(), options};
}

static bool isRotation(const Chain::Pass &pass) {
  return pass.name == kRotatePass;
}

llvm::Expected<Chain> ChainParser::parse() {
  std::vector<Chain::Pass> passes;
  bool tunes = false;
  for (skipBlanks(); !text.empty(); skipBlanks()) {
    llvm::Expected<Chain::Pass> pass = parseWord();
    if (!pass)
      return pass.takeError();
    tunes |= pass->name == kTunePassName;
    passes.push_back(std::move(*pass));
  }
  if (passes.empty())
    return makeError("expected a chain of methods, known: " + listWords());
  // What is compared with the model as it was has to keep that. Rotations come
  // before: they change the model's numbers but not what it computes.
  if (tunes)
    passes.insert(llvm::find_if_not(passes, isRotation),
                  {"llq-keep-originals", ""});
  return Chain(std::move(passes));
}

llvm::Expected<Chain> llq::parseChain(StringRef chain) {
  return ChainParser(chain).parse();
}

//===----------------------------------------------------------------------===//
// Chains
//===----------------------------------------------------------------------===//

bool Chain::contains(StringRef name) const {
  return llvm::any_of(passes,
                      [&](const Pass &pass) { return pass.name == name; });
}

std::optional<StringRef> Chain::getOption(StringRef name) const {
  for (const Pass &pass : llvm::reverse(passes)) {
    SmallVector<StringRef> options;
    StringRef(pass.options).split(options, ' ', -1, false);
    for (StringRef option : llvm::reverse(options))
      if (option.consume_front(name) && option.consume_front("="))
        return option;
  }
  return std::nullopt;
}

std::pair<Chain, Chain> Chain::splitRotations() const {
  auto rest = llvm::find_if_not(passes, isRotation);
  return {Chain({passes.begin(), rest}), Chain({rest, passes.end()})};
}

std::string Chain::getPipeline() const {
  return llvm::join(llvm::map_range(passes,
                                    [](const Pass &pass) {
                                      return pass.options.empty()
                                                 ? pass.name
                                                 : pass.name + "{" +
                                                       pass.options + "}";
                                    }),
                    ",");
}
