//===- JinjaMethods.cpp - Methods and functions of chat templates ---------===//
//
// The methods of strings, lists and mappings, and the global functions. Methods
// of Python that are missing here are errors, not undefined values: a template
// that asks for one would otherwise take another path in silence.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "JinjaInterpreter.h"

#include "JinjaText.h"

#include <algorithm>
#include <clocale>
#include <ctime>
#include <locale.h>

namespace llqrt::tok::jinja {

using Kind = Value::Kind;

//===----------------------------------------------------------------------===//
// Strings
//===----------------------------------------------------------------------===//

using StringMethod = Value (*)(const std::string &, const Arguments &,
                               Environment &);

static bool given(const Parameters &p, size_t i) {
  return p.has(i) && !p.value(i).is(Kind::None);
}

static Value newString(std::string_view text, Environment &environment) {
  environment.budget.allocate(text.size());
  return Value::string(std::string(text));
}

static Value newList(const std::vector<std::string_view> &parts,
                     Environment &environment) {
  Values items;
  for (std::string_view part : parts) {
    environment.budget.allocate(sizeof(Value));
    items.push_back(newString(part, environment));
  }
  return Value::list(std::move(items));
}

template <bool Left, bool Right>
static Value stripMethod(const std::string &text, const Arguments &arguments,
                         Environment &environment) {
  Parameters p("strip", arguments, {"chars"});
  const std::string *chars = given(p, 0) ? &p.string(0) : nullptr;
  return newString(strip(text, chars, Left, Right), environment);
}

template <bool FromRight>
static Value splitMethod(const std::string &text, const Arguments &arguments,
                         Environment &environment) {
  Parameters p("split", arguments, {"sep", "maxsplit"});
  const std::string *separator = given(p, 0) ? &p.string(0) : nullptr;
  int64_t limit = given(p, 1) ? p.integer(1) : -1;
  return newList(split(text, separator, limit, FromRight), environment);
}

static Value splitLinesMethod(const std::string &text,
                              const Arguments &arguments,
                              Environment &environment) {
  Parameters p("splitlines", arguments, {"keepends"});
  return newList(splitLines(text, p.boolean(0, false)), environment);
}

/// startswith and endswith, with one string or a tuple of them.
template <bool AtStart>
static Value affixMethod(const std::string &text, const Arguments &arguments,
                         Environment &) {
  Parameters p(AtStart ? "startswith" : "endswith", arguments, {"affix"});
  auto matches = [&](const std::string &affix) {
    return AtStart ? text.starts_with(affix) : text.ends_with(affix);
  };
  if (!p.value(0).is(Kind::Sequence))
    return Value::boolean(matches(p.string(0)));
  for (const Value &affix : p.value(0).items())
    if (affix.isString() && matches(affix.asString()))
      return Value::boolean(true);
  return Value::boolean(false);
}

template <bool Prefix>
static Value removeAffixMethod(const std::string &text,
                               const Arguments &arguments,
                               Environment &environment) {
  Parameters p(Prefix ? "removeprefix" : "removesuffix", arguments, {"affix"});
  std::string_view rest = text;
  const std::string &affix = p.string(0);
  if (Prefix && rest.starts_with(affix))
    rest.remove_prefix(affix.size());
  else if (!Prefix && rest.ends_with(affix))
    rest.remove_suffix(affix.size());
  return newString(rest, environment);
}

template <Case To>
static Value caseMethod(const std::string &text, const Arguments &arguments,
                        Environment &environment) {
  Parameters p("the method", arguments, {});
  return newString(changeCase(text, To), environment);
}

static Value replaceMethod(const std::string &text, const Arguments &arguments,
                           Environment &environment) {
  return applyFilter("replace", Value::string(text), arguments, environment);
}

static Value joinMethod(const std::string &text, const Arguments &arguments,
                        Environment &environment) {
  Parameters p("join", arguments, {"iterable"});
  Values items = p.value(0).iterate(environment.budget);
  for (const Value &item : items)
    if (!item.isString())
      throw Error(std::string("join: an item is ") + item.typeName() +
                  ", not a string");
  Arguments separator;
  separator.positional.push_back(Value::string(text));
  return applyFilter("join", Value::list(std::move(items)), separator,
                     environment);
}

template <bool FromRight>
static Value findMethod(const std::string &text, const Arguments &arguments,
                        Environment &) {
  Parameters p("find", arguments, {"sub"});
  size_t at = FromRight ? text.rfind(p.string(0)) : text.find(p.string(0));
  if (at == std::string::npos)
    return Value::integer(-1);
  return Value::integer(
      static_cast<int64_t>(textLength(std::string_view(text).substr(0, at))));
}

static Value countMethod(const std::string &text, const Arguments &arguments,
                         Environment &) {
  Parameters p("count", arguments, {"sub"});
  const std::string &part = p.string(0);
  if (part.empty())
    return Value::integer(static_cast<int64_t>(textLength(text) + 1));
  int64_t count = 0;
  for (size_t at = text.find(part); at != std::string::npos;
       at = text.find(part, at + part.size()))
    ++count;
  return Value::integer(count);
}

static Value isDigitMethod(const std::string &text, const Arguments &arguments,
                           Environment &) {
  Parameters p("isdigit", arguments, {});
  bool digits = !text.empty();
  for (char c : text) {
    if (static_cast<unsigned char>(c) >= 0x80)
      throw Error("isdigit of text that is not ASCII is not supported");
    digits &= c >= '0' && c <= '9';
  }
  return Value::boolean(digits);
}

static constexpr std::pair<std::string_view, StringMethod> kStringMethods[] = {
    {"capitalize", caseMethod<Case::Capitalize>},
    {"count", countMethod},
    {"endswith", affixMethod<false>},
    {"find", findMethod<false>},
    {"isdigit", isDigitMethod},
    {"join", joinMethod},
    {"lower", caseMethod<Case::Lower>},
    {"lstrip", stripMethod<true, false>},
    {"removeprefix", removeAffixMethod<true>},
    {"removesuffix", removeAffixMethod<false>},
    {"replace", replaceMethod},
    {"rfind", findMethod<true>},
    {"rsplit", splitMethod<true>},
    {"rstrip", stripMethod<false, true>},
    {"split", splitMethod<false>},
    {"splitlines", splitLinesMethod},
    {"startswith", affixMethod<true>},
    {"strip", stripMethod<true, true>},
    {"title", caseMethod<Case::Title>},
    {"upper", caseMethod<Case::Upper>},
};

/// Names that Python would find, but that are not supported.
static constexpr std::string_view kOtherStringMethods[] = {
    "casefold",   "center",       "encode",  "expandtabs", "format",
    "format_map", "index",        "isalnum", "isalpha",    "isascii",
    "isdecimal",  "isidentifier", "islower", "isnumeric",  "isprintable",
    "isspace",    "istitle",      "isupper", "ljust",      "maketrans",
    "partition",  "rindex",       "rjust",   "rpartition", "swapcase",
    "translate",  "zfill"};
constexpr std::string_view kOtherListMethods[] = {
    "append", "clear", "copy",   "count",   "extend", "index",
    "insert", "pop",   "remove", "reverse", "sort"};
constexpr std::string_view kOtherDictMethods[] = {
    "clear", "copy", "fromkeys", "pop", "popitem", "setdefault", "update"};

[[noreturn]] void unsupportedMethod(const Value &object,
                                    const std::string &name) {
  throw Error("the method '" + excerpt(name) + "' of " + object.typeName() +
              " is not supported");
}

template <size_t N>
static bool isAmong(const std::string &name,
                    const std::string_view (&names)[N]) {
  return std::find(names, names + N, name) != names + N;
}

static Value stringAttribute(const Value &object, const std::string &name,
                             Environment &environment) {
  for (const auto &[known, method] : kStringMethods)
    if (known == name)
      return Value::function(
          name, [object, method = method, &environment](Arguments &arguments) {
            return method(object.asString(), arguments, environment);
          });
  if (isAmong(name, kOtherStringMethods))
    unsupportedMethod(object, name);
  return Value::undefined(name);
}

//===----------------------------------------------------------------------===//
// Mappings
//===----------------------------------------------------------------------===//

static Value dictAttribute(const Value &object, const std::string &name,
                           Environment &environment) {
  auto method = [&](auto body) {
    return Value::function(name,
                           [object, body, &environment](Arguments &arguments) {
                             return body(object, arguments, environment);
                           });
  };
  if (!object.isNamespace()) {
    if (name == "items")
      return method(
          [](const Value &dict, Arguments &arguments, Environment &env) {
            return applyFilter("items", dict, arguments, env);
          });
    if (name == "keys")
      return method(
          [](const Value &dict, Arguments &arguments, Environment &env) {
            Parameters p("keys", arguments, {});
            return Value::list(dict.iterate(env.budget));
          });
    if (name == "values")
      return method(
          [](const Value &dict, Arguments &arguments, Environment &env) {
            Parameters p("values", arguments, {});
            Values values;
            for (const auto &[key, value] : dict.asDict().entries)
              values.push_back(value);
            env.budget.allocate(values.size() * sizeof(Value));
            return Value::list(std::move(values));
          });
    if (name == "get")
      return method([](const Value &dict, Arguments &arguments, Environment &) {
        Parameters p("get", arguments, {"key", "default"});
        const Value *found =
            p.value(0).isString() ? dict.asDict().find(p.string(0)) : nullptr;
        if (found)
          return *found;
        return p.has(1) ? p.value(1) : Value::none();
      });
    if (isAmong(name, kOtherDictMethods))
      unsupportedMethod(object, name);
  }
  const Value *found = object.asDict().find(name);
  return found ? *found : Value::undefined(name);
}

//===----------------------------------------------------------------------===//
// Global functions
//===----------------------------------------------------------------------===//

static Value range(const Arguments &arguments, Environment &environment) {
  Parameters p("range", arguments, {"start", "stop", "step"});
  int64_t start = p.has(1) ? p.integer(0) : 0;
  int64_t stop = p.has(1) ? p.integer(1) : p.integer(0);
  int64_t step = p.has(2) ? p.integer(2) : 1;
  constexpr size_t kLongest = 100000;
  if (step == 0)
    throw Error("range: the step is zero");
  Values items;
  while (step > 0 ? start < stop : start > stop) {
    if (items.size() == kLongest)
      throw Error("range: more than 100000 numbers");
    items.push_back(Value::integer(start));
    if (__builtin_add_overflow(start, step, &start))
      break;
  }
  environment.budget.allocate(items.size() * sizeof(Value));
  return Value::list(std::move(items));
}

/// The entries of mappings and named arguments, for dict() and namespace().
static Dict entriesOf(const Arguments &arguments) {
  Dict dict;
  for (const Value &value : arguments.positional) {
    if (!value.is(Kind::Dict) || value.isNamespace())
      throw Error(std::string("a mapping cannot be made of ") +
                  value.typeName());
    for (const auto &[key, item] : value.asDict().entries)
      dict.set(key, item);
  }
  for (const auto &[key, item] : arguments.named)
    dict.set(key, item);
  return dict;
}

static Value makeNamespace(const Arguments &arguments,
                           Environment &environment) {
  Dict dict = entriesOf(arguments);
  dict.isNamespace = true;
  environment.budget.allocate(sizeof(Dict));
  Value value = Value::dict(std::move(dict));
  environment.namespaces.push_back(value.namespacePtr());
  return value;
}

static Value strftimeNow(const Arguments &arguments, Environment &environment) {
  Parameters p("strftime_now", arguments, {"format"});
  // Names of months and days are English wherever the program runs.
  static const locale_t plain = newlocale(LC_ALL_MASK, "C", locale_t{});
  auto seconds = static_cast<time_t>(environment.now);
  std::tm time{};
  if (!plain || !gmtime_r(&seconds, &time))
    throw Error("strftime_now: the time cannot be written as a date");
  // An empty result is a failure to strftime, so that it gets a character.
  std::string format = p.string(0) + "x";
  if (format.size() > 1000 || format.find('\0') != std::string::npos)
    throw Error("strftime_now: the format is too long");
  std::string text(64 * 1024, '\0');
  size_t length =
      strftime_l(text.data(), text.size(), format.c_str(), &time, plain);
  if (length == 0)
    throw Error("strftime_now: the date is too long");
  text.resize(length - 1);
  return newString(text, environment);
}

Value attribute(const Value &object, const std::string &name,
                Environment &environment) {
  switch (object.kind()) {
  case Kind::Undefined:
    throwUndefined(object);
  case Kind::String:
    return stringAttribute(object, name, environment);
  case Kind::Dict:
    return dictAttribute(object, name, environment);
  case Kind::Sequence:
    if (isAmong(name, kOtherListMethods))
      unsupportedMethod(object, name);
    [[fallthrough]];
  default:
    return Value::undefined(name);
  }
}

Dict globalFunctions(Environment &environment) {
  Dict functions;
  auto add = [&](const char *name, auto function) {
    functions.set(
        name,
        Value::function(
            name, [function, &environment](Arguments &arguments) -> Value {
              return function(arguments, environment);
            }));
  };
  add("range", range);
  add("namespace", makeNamespace);
  add("strftime_now", strftimeNow);
  add("dict", [](const Arguments &arguments, Environment &env) {
    Dict dict = entriesOf(arguments);
    env.budget.allocate(dict.entries.size() * sizeof(Value));
    return Value::dict(std::move(dict));
  });
  add("raise_exception",
      [](const Arguments &arguments, Environment &) -> Value {
        Parameters p("raise_exception", arguments, {"message"});
        throw Error(oneLine(p.value(0).str()));
      });
  return functions;
}

} // namespace llqrt::tok::jinja
