//===- JinjaFilters.cpp - Filters of chat templates -----------------------===//
//
// Jinja's built-in filters as far as chat templates use them, with the tojson
// of the transformers library. A filter that is not here is an error.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "JinjaInterpreter.h"

#include "JinjaText.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>

namespace llqrt::tok::jinja {

using Kind = Value::Kind;

using Filter = Value (*)(const Value &, const Arguments &, Environment &);

/// A filter without parameters.
static void takesNothing(const char *name, const Arguments &arguments) {
  Parameters(name, arguments, {});
}

static Value newString(std::string text, Environment &environment) {
  environment.budget.allocate(text.size());
  return Value::string(std::move(text));
}

//===----------------------------------------------------------------------===//
// Text
//===----------------------------------------------------------------------===//

static Value trim(const Value &value, const Arguments &arguments,
                  Environment &environment) {
  Parameters p("trim", arguments, {"chars"});
  bool hasChars = p.has(0) && !p.value(0).is(Kind::None);
  std::string text = value.str();
  return newString(
      std::string(strip(text, hasChars ? &p.string(0) : nullptr, true, true)),
      environment);
}

template <Case To>
static Value changedCase(const Value &value, const Arguments &arguments,
                         Environment &environment) {
  takesNothing("the filter", arguments);
  return newString(changeCase(value.str(), To), environment);
}

/// Unlike str.title(), a word begins only behind blanks, dashes and brackets.
static Value title(const Value &value, const Arguments &arguments,
                   Environment &environment) {
  takesNothing("title", arguments);
  std::string text = value.str(), result;
  bool startsWord = true;
  for (std::string_view c : characters(text)) {
    result += changeCase(c, startsWord ? Case::Upper : Case::Lower);
    startsWord = strip(c, nullptr, true, false).empty() ||
                 std::string_view("-({[<").find(c) != std::string_view::npos;
  }
  return newString(std::move(result), environment);
}

static Value replaced(const Value &value, const Arguments &arguments,
                      Environment &environment) {
  Parameters p("replace", arguments, {"old", "new", "count"});
  int64_t limit = p.has(2) && !p.value(2).is(Kind::None) ? p.integer(2) : -1;
  // The result can be longer than the text by any factor.
  std::string text = value.str();
  environment.budget.allocate((text.size() + 1) * (p.string(1).size() + 1));
  return Value::string(replace(text, p.string(0), p.string(1), limit));
}

static Value indent(const Value &value, const Arguments &arguments,
                    Environment &environment) {
  Parameters p("indent", arguments, {"width", "first", "blank"});
  std::string blanks = "    ";
  if (p.has(0) && p.value(0).isString())
    blanks = p.string(0);
  else if (p.has(0))
    blanks = std::string(
        static_cast<size_t>(std::clamp<int64_t>(p.integer(0), 0, 1000)), ' ');
  bool first = p.boolean(1, false), blank = p.boolean(2, false);
  if (!value.isString())
    throw Error(std::string("indent of ") + value.typeName());
  std::string source = value.asString() + "\n";
  std::string text = first ? blanks : std::string();
  bool isFirst = true;
  for (std::string_view line : splitLines(source, false)) {
    if (!isFirst) {
      text += '\n';
      if (blank || !line.empty())
        text += blanks;
    }
    text += line;
    isFirst = false;
  }
  return newString(std::move(text), environment);
}

static Value toText(const Value &value, const Arguments &arguments,
                    Environment &environment) {
  takesNothing("string", arguments);
  return value.isString() ? value : newString(value.str(), environment);
}

/// Without automatic escaping there is nothing to mark.
static Value safe(const Value &value, const Arguments &arguments,
                  Environment &) {
  takesNothing("safe", arguments);
  return value;
}

static Value json(const Value &value, const Arguments &arguments,
                  Environment &environment) {
  Parameters p("tojson", arguments,
               {"ensure_ascii", "indent", "separators", "sort_keys"});
  if (p.boolean(0, false) || (p.has(2) && !p.value(2).is(Kind::None)))
    throw Error("tojson: 'ensure_ascii' and 'separators' are not supported");
  bool hasIndent = p.has(1) && !p.value(1).is(Kind::None);
  int64_t width = hasIndent ? std::clamp<int64_t>(p.integer(1), 0, 100) : -1;
  return newString(toJson(value, width, p.boolean(3, false)), environment);
}

//===----------------------------------------------------------------------===//
// Numbers and defaults
//===----------------------------------------------------------------------===//

static Value toInteger(const Value &value, const Arguments &arguments,
                       Environment &) {
  Parameters p("int", arguments, {"default"});
  Value absent = p.has(0) ? p.value(0) : Value::integer(0);
  if (value.isUndefined())
    throwUndefined(value);
  if (value.isInteger())
    return Value::integer(value.asInteger());
  double number = std::numeric_limits<double>::quiet_NaN();
  if (value.is(Kind::Float))
    number = value.asNumber();
  if (value.isString()) {
    std::string_view text = strip(value.asString(), nullptr, true, true);
    if (text.starts_with('+'))
      text.remove_prefix(1);
    const char *end = text.data() + text.size();
    int64_t integer = 0;
    auto parsed = std::from_chars(text.data(), end, integer);
    if (parsed.ec == std::errc() && parsed.ptr == end)
      return Value::integer(integer);
    auto fraction = std::from_chars(text.data(), end, number);
    if (fraction.ec != std::errc() || fraction.ptr != end)
      return absent;
  }
  if (std::isnan(number))
    return absent;
  if (std::fabs(number) > 9.2e18)
    throw Error("int: the number is too large");
  return Value::integer(static_cast<int64_t>(number));
}

static Value toFloat(const Value &value, const Arguments &arguments,
                     Environment &) {
  Parameters p("float", arguments, {"default"});
  if (value.isUndefined())
    throwUndefined(value);
  if (value.isNumber())
    return Value::number(value.asNumber());
  if (value.isString()) {
    std::string_view text = strip(value.asString(), nullptr, true, true);
    if (text.starts_with('+'))
      text.remove_prefix(1);
    const char *end = text.data() + text.size();
    double number = 0;
    auto parsed = std::from_chars(text.data(), end, number);
    if (parsed.ec == std::errc() && parsed.ptr == end)
      return Value::number(number);
  }
  return p.has(0) ? p.value(0) : Value::number(0);
}

static Value absolute(const Value &value, const Arguments &arguments,
                      Environment &environment) {
  takesNothing("abs", arguments);
  if (value.is(Kind::Float))
    return Value::number(std::fabs(value.asNumber()));
  if (!value.isInteger())
    throw Error(std::string("abs of ") + value.typeName());
  return value.asInteger() < 0
             ? arithmetic(BinaryOp::Subtract, Value::integer(0), value,
                          environment.budget)
             : Value::integer(value.asInteger());
}

static Value defaulted(const Value &value, const Arguments &arguments,
                       Environment &) {
  Parameters p("default", arguments, {"default_value", "boolean"});
  bool replaces =
      value.isUndefined() || (p.boolean(1, false) && !value.truthy());
  if (!replaces)
    return value;
  return p.has(0) ? p.value(0) : Value::string("");
}

//===----------------------------------------------------------------------===//
// Lists and mappings
//===----------------------------------------------------------------------===//

static Value length(const Value &value, const Arguments &arguments,
                    Environment &) {
  takesNothing("length", arguments);
  return Value::integer(static_cast<int64_t>(value.length()));
}

static Value first(const Value &value, const Arguments &arguments,
                   Environment &environment) {
  takesNothing("first", arguments);
  Values items = value.iterate(environment.budget);
  return items.empty() ? Value::undefined("first") : items.front();
}

static Value last(const Value &value, const Arguments &arguments,
                  Environment &environment) {
  takesNothing("last", arguments);
  Values items = value.iterate(environment.budget);
  return items.empty() ? Value::undefined("last") : items.back();
}

static Value toList(const Value &value, const Arguments &arguments,
                    Environment &environment) {
  takesNothing("list", arguments);
  return Value::list(value.iterate(environment.budget));
}

static Value reversed(const Value &value, const Arguments &arguments,
                      Environment &environment) {
  takesNothing("reverse", arguments);
  Values items = value.iterate(environment.budget);
  std::reverse(items.begin(), items.end());
  if (!value.isString())
    return Value::list(std::move(items));
  std::string text;
  for (const Value &c : items)
    text += c.asString();
  return newString(std::move(text), environment);
}

/// The value at `path`, names and indices with dots between them.
static Value atPath(const Value &value, const Value &path,
                    Environment &environment) {
  if (path.isInteger())
    return subscript(value, path);
  if (!path.isString())
    throw Error("an attribute is named by a string");
  Value current = value;
  std::string dot = ".";
  for (std::string_view part : split(path.asString(), &dot, -1, false)) {
    int64_t index = 0;
    const char *end = part.data() + part.size();
    auto parsed = std::from_chars(part.data(), end, index);
    if (!part.empty() && parsed.ec == std::errc() && parsed.ptr == end) {
      current = subscript(current, Value::integer(index));
      continue;
    }
    std::string name(part);
    Value item = subscript(current, Value::string(name));
    current = item.isUndefined() ? attribute(current, name, environment) : item;
  }
  return current;
}

static Value joined(const Value &value, const Arguments &arguments,
                    Environment &environment) {
  Parameters p("join", arguments, {"d", "attribute"});
  std::string separator = p.has(0) ? p.value(0).str() : std::string();
  std::string text;
  bool isFirst = true;
  for (const Value &item : value.iterate(environment.budget)) {
    std::string part = (p.has(1) && !p.value(1).is(Kind::None)
                            ? atPath(item, p.value(1), environment)
                            : item)
                           .str();
    environment.budget.allocate(separator.size() + part.size());
    if (!isFirst)
      text += separator;
    text += part;
    isFirst = false;
  }
  return Value::string(std::move(text));
}

static Value items(const Value &value, const Arguments &arguments,
                   Environment &environment) {
  takesNothing("items", arguments);
  if (value.isUndefined())
    return Value::list({});
  if (!value.is(Kind::Dict) || value.isNamespace())
    throw Error(std::string(value.typeName()) + " has no items");
  Values result;
  for (const auto &[key, item] : value.asDict().entries)
    result.push_back(Value::list({Value::string(key), item}, true));
  environment.budget.allocate(result.size() * 4 * sizeof(Value));
  return Value::list(std::move(result));
}

/// What values are ordered and compared by: text in lower case unless
/// `caseSensitive`.
static Value sortKey(const Value &value, bool caseSensitive) {
  if (!value.isString() || caseSensitive)
    return value;
  return Value::string(changeCase(value.asString(), Case::Lower));
}

/// Sorts (key, item) pairs stably. Keys may have no consistent order (NaN),
/// which the standard algorithms do not allow; a binary search does.
static void sortByKey(std::vector<std::pair<Value, Value>> &pairs,
                      bool descending) {
  constexpr size_t kLongest = 10000;
  if (pairs.size() > kLongest)
    throw Error("a list is too long to be sorted");
  std::vector<std::pair<Value, Value>> result;
  for (auto &pair : pairs) {
    auto place = std::upper_bound(
        result.begin(), result.end(), pair, [&](const auto &a, const auto &b) {
          return descending ? less(b.first, a.first) : less(a.first, b.first);
        });
    result.insert(place, std::move(pair));
  }
  pairs = std::move(result);
}

static Value sorted(const Value &value, const Arguments &arguments,
                    Environment &environment) {
  Parameters p("sort", arguments, {"reverse", "case_sensitive", "attribute"});
  bool hasAttribute = p.has(2) && !p.value(2).is(Kind::None);
  std::vector<std::pair<Value, Value>> keyed;
  for (const Value &item : value.iterate(environment.budget)) {
    Value key = hasAttribute ? atPath(item, p.value(2), environment) : item;
    keyed.emplace_back(sortKey(key, p.boolean(1, false)), item);
  }
  sortByKey(keyed, p.boolean(0, false));
  Values result;
  for (auto &[key, item] : keyed)
    result.push_back(std::move(item));
  return Value::list(std::move(result));
}

static Value dictSorted(const Value &value, const Arguments &arguments,
                        Environment &environment) {
  takesNothing("dictsort", arguments);
  std::vector<std::pair<Value, Value>> keyed;
  Value pairs = items(value, {}, environment);
  for (const Value &pair : pairs.items())
    keyed.emplace_back(sortKey(pair.items()[0], false), pair);
  sortByKey(keyed, false);
  Values result;
  for (auto &[key, pair] : keyed)
    result.push_back(std::move(pair));
  return Value::list(std::move(result));
}

static Value unique(const Value &value, const Arguments &arguments,
                    Environment &environment) {
  Parameters p("unique", arguments, {"case_sensitive", "attribute"});
  bool hasAttribute = p.has(1) && !p.value(1).is(Kind::None);
  Values seen, result;
  for (const Value &item : value.iterate(environment.budget)) {
    Value key =
        sortKey(hasAttribute ? atPath(item, p.value(1), environment) : item,
                p.boolean(0, false));
    bool isNew = std::none_of(seen.begin(), seen.end(), [&](const Value &old) {
      environment.budget.step();
      return equal(old, key);
    });
    if (!isNew)
      continue;
    seen.push_back(key);
    result.push_back(item);
  }
  return Value::list(std::move(result));
}

/// map, select and their like go through any value, and find nothing in one
/// that counts as false.
static Values itemsOf(const Value &value, Environment &environment) {
  return value.truthy() ? value.iterate(environment.budget) : Values();
}

/// map(attribute="name", default=...) or map("filter", ...).
static Value mapped(const Value &value, const Arguments &arguments,
                    Environment &environment) {
  Values result;
  bool byAttribute = arguments.positional.empty();
  Arguments rest = arguments;
  std::string name;
  if (!byAttribute) {
    if (!rest.positional[0].isString())
      throw Error("map needs the name of a filter");
    name = rest.positional[0].asString();
    rest.positional.erase(rest.positional.begin());
  }
  for (const Value &item : itemsOf(value, environment)) {
    if (!byAttribute) {
      result.push_back(applyFilter(name, item, rest, environment));
      continue;
    }
    Parameters p("map", arguments, {"attribute", "default"});
    Value found = atPath(item, p.value(0), environment);
    result.push_back(found.isUndefined() && p.has(1) ? p.value(1) : found);
  }
  return Value::list(std::move(result));
}

/// select, reject, selectattr and rejectattr.
template <bool Keep, bool ByAttribute>
static Value selected(const Value &value, const Arguments &arguments,
                      Environment &environment) {
  Arguments rest = arguments;
  Value path;
  auto takeFirst = [&] {
    Value taken = rest.positional[0];
    rest.positional.erase(rest.positional.begin());
    return taken;
  };
  if (ByAttribute) {
    if (rest.positional.empty())
      throw Error("selectattr and rejectattr need the name of an attribute");
    path = takeFirst();
  }
  std::optional<std::string> test;
  if (!rest.positional.empty()) {
    Value name = takeFirst();
    if (!name.isString())
      throw Error("select and reject need the name of a test");
    test = name.asString();
  }
  Values result;
  for (const Value &item : itemsOf(value, environment)) {
    environment.budget.step();
    Value tested = ByAttribute ? atPath(item, path, environment) : item;
    bool holds = test ? applyTest(*test, tested, rest) : tested.truthy();
    if (holds == Keep)
      result.push_back(item);
  }
  return Value::list(std::move(result));
}

static Value attributeOf(const Value &value, const Arguments &arguments,
                         Environment &environment) {
  Parameters p("attr", arguments, {"name"});
  return attribute(value, p.string(0), environment);
}

Value applyFilter(const std::string &name, const Value &operand,
                  const Arguments &arguments, Environment &environment) {
  static constexpr std::pair<std::string_view, Filter> filters[] = {
      {"abs", absolute},
      {"attr", attributeOf},
      {"capitalize", changedCase<Case::Capitalize>},
      {"count", length},
      {"d", defaulted},
      {"default", defaulted},
      {"dictsort", dictSorted},
      {"first", first},
      {"float", toFloat},
      {"indent", indent},
      {"int", toInteger},
      {"items", items},
      {"join", joined},
      {"last", last},
      {"length", length},
      {"list", toList},
      {"lower", changedCase<Case::Lower>},
      {"map", mapped},
      {"reject", selected<false, false>},
      {"rejectattr", selected<false, true>},
      {"replace", replaced},
      {"reverse", reversed},
      {"safe", safe},
      {"select", selected<true, false>},
      {"selectattr", selected<true, true>},
      {"sort", sorted},
      {"string", toText},
      {"title", title},
      {"tojson", json},
      {"trim", trim},
      {"unique", unique},
      {"upper", changedCase<Case::Upper>},
  };
  environment.budget.step();
  for (const auto &[known, filter] : filters)
    if (known == name)
      return filter(operand, arguments, environment);
  throw Error("the filter '" + excerpt(name) + "' is not supported");
}

} // namespace llqrt::tok::jinja
