//===- JinjaValue.cpp - Values of a chat template -------------------------===//
//
// Python's rules for truth, printing, comparing and indexing, as far as
// templates use them.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "JinjaValue.h"

#include "JinjaText.h"

#include <algorithm>
#include <cstdio>

namespace llqrt::tok::jinja {

static constexpr uint32_t kMaxDepth = 100;
static constexpr uint32_t kMaxWeight = 1u << 28;

void Budget::step(uint64_t count) {
  if (count > stepsLeft)
    throw Error("the template takes too long");
  stepsLeft -= count;
}

void Budget::allocate(uint64_t bytes) {
  if (bytes > bytesLeft)
    throw Error("the template makes too much text");
  bytesLeft -= bytes;
}

const Value *Dict::find(std::string_view key) const {
  for (const auto &[name, value] : entries)
    if (name == key)
      return &value;
  return nullptr;
}

void Dict::set(std::string_view key, Value value) {
  for (auto &[name, old] : entries)
    if (name == key) {
      old = std::move(value);
      return;
    }
  entries.emplace_back(key, std::move(value));
}

void Value::contain(const Value &inner) {
  depth = std::max(depth, inner.depth + 1);
  weight += inner.weight + 16;
  if (depth > kMaxDepth || weight > kMaxWeight)
    throw Error("a list or mapping of the template is nested too deeply or is "
                "too large");
}

Value Value::undefined(std::string name) {
  return Value(
      Data(Undefined{std::make_shared<const std::string>(std::move(name))}));
}

Value Value::string(std::string text) {
  if (text.size() >= kMaxWeight)
    throw Error("a string of the template is too long");
  auto weight = static_cast<uint32_t>(text.size() + 1);
  Value value(Data(std::make_shared<const std::string>(std::move(text))));
  value.weight = weight;
  return value;
}

Value Value::list(Values items, bool isTuple) {
  auto sequence = std::make_shared<Sequence>();
  sequence->items = std::move(items);
  sequence->isTuple = isTuple;
  const Values &stored = sequence->items;
  Value value{Data(SequencePtr(sequence))};
  for (const Value &item : stored)
    value.contain(item);
  return value;
}

Value Value::dict(Dict entries) {
  auto dict = std::make_shared<Dict>(std::move(entries));
  Value value{Data(dict)};
  if (!dict->isNamespace)
    for (const auto &[key, item] : dict->entries)
      value.contain(item);
  return value;
}

Value Value::function(std::string name,
                      std::function<Value(Arguments &)> call) {
  return Value(Data(FunctionPtr(std::make_shared<const Function>(
      Function{std::move(name), std::move(call)}))));
}

bool Value::truthy() const {
  switch (kind()) {
  case Kind::Undefined:
  case Kind::None:
    return false;
  case Kind::Bool:
  case Kind::Int:
    return asInteger() != 0;
  case Kind::Float:
    return asNumber() != 0;
  case Kind::String:
    return !asString().empty();
  case Kind::Sequence:
    return !items().empty();
  case Kind::Dict:
    return isNamespace() || !asDict().entries.empty();
  case Kind::Function:
    return true;
  }
  return false;
}

const char *Value::typeName() const {
  switch (kind()) {
  case Kind::Undefined:
    return "an undefined value";
  case Kind::None:
    return "none";
  case Kind::Bool:
    return "a boolean";
  case Kind::Int:
    return "an integer";
  case Kind::Float:
    return "a float";
  case Kind::String:
    return "a string";
  case Kind::Sequence:
    return asSequence().isTuple ? "a tuple" : "a list";
  case Kind::Dict:
    return isNamespace() ? "a namespace" : "a mapping";
  case Kind::Function:
    return "a function";
  }
  return "";
}

std::string Value::str() const {
  if (isString())
    return asString();
  return isUndefined() ? std::string() : repr();
}

std::string Value::repr() const {
  std::string out;
  appendRepr(out);
  return out;
}

void Value::appendRepr(std::string &out) const {
  switch (kind()) {
  case Kind::Undefined:
    out += "Undefined";
    return;
  case Kind::None:
    out += "None";
    return;
  case Kind::Bool:
    out += asBool() ? "True" : "False";
    return;
  case Kind::Int:
    out += std::to_string(asInteger());
    return;
  case Kind::Float:
    out += floatText(asNumber());
    return;
  case Kind::String:
    out += quoted(asString());
    return;
  case Kind::Sequence: {
    bool isTuple = asSequence().isTuple;
    out += isTuple ? '(' : '[';
    const char *separator = "";
    for (const Value &item : items()) {
      out += separator;
      item.appendRepr(out);
      separator = ", ";
    }
    if (isTuple && items().size() == 1)
      out += ',';
    out += isTuple ? ')' : ']';
    return;
  }
  case Kind::Dict: {
    if (isNamespace())
      break;
    out += '{';
    const char *separator = "";
    for (const auto &[key, value] : asDict().entries) {
      out += separator;
      out += quoted(key);
      out += ": ";
      value.appendRepr(out);
      separator = ", ";
    }
    out += '}';
    return;
  }
  case Kind::Function:
    break;
  }
  throw Error(std::string(typeName()) + " cannot be written as text");
}

size_t Value::length() const {
  switch (kind()) {
  case Kind::Undefined:
    return 0;
  case Kind::String:
    return textLength(asString());
  case Kind::Sequence:
    return items().size();
  case Kind::Dict:
    if (!isNamespace())
      return asDict().entries.size();
    [[fallthrough]];
  default:
    throw Error(std::string(typeName()) + " has no length");
  }
}

Values Value::iterate(Budget &budget) const {
  Values result;
  if (isString() || is(Kind::Sequence) || is(Kind::Dict))
    budget.allocate((isNamespace() ? 0 : length()) * sizeof(Value));
  switch (kind()) {
  case Kind::Undefined:
    return result;
  case Kind::String:
    for (std::string_view c : characters(asString()))
      result.push_back(string(std::string(c)));
    return result;
  case Kind::Sequence:
    return items();
  case Kind::Dict:
    if (!isNamespace()) {
      for (const auto &[key, value] : asDict().entries)
        result.push_back(string(key));
      return result;
    }
    [[fallthrough]];
  default:
    throw Error(std::string(typeName()) + " cannot be iterated");
  }
}

void throwUndefined(const Value &value) {
  const std::string &name = value.undefinedName();
  throw Error(name.empty() ? "a value is undefined"
                           : "'" + excerpt(name) + "' is undefined");
}

//===----------------------------------------------------------------------===//
// Comparison
//===----------------------------------------------------------------------===//

bool equal(const Value &a, const Value &b) {
  using Kind = Value::Kind;
  if (a.isInteger() && b.isInteger())
    return a.asInteger() == b.asInteger();
  if (a.isNumber() && b.isNumber())
    return a.asNumber() == b.asNumber();
  if (a.kind() != b.kind())
    return false;
  switch (a.kind()) {
  case Kind::String:
    return a.asString() == b.asString();
  case Kind::Sequence:
    return a.asSequence().isTuple == b.asSequence().isTuple &&
           std::equal(a.items().begin(), a.items().end(), b.items().begin(),
                      b.items().end(), equal);
  case Kind::Dict: {
    const Dict &left = a.asDict(), &right = b.asDict();
    if (left.isNamespace || right.isNamespace ||
        left.entries.size() != right.entries.size())
      return &left == &right;
    return std::all_of(left.entries.begin(), left.entries.end(),
                       [&](const auto &entry) {
                         const Value *other = right.find(entry.first);
                         return other && equal(entry.second, *other);
                       });
  }
  case Kind::Function:
    return &a.asFunction() == &b.asFunction();
  default:
    // None equals none, undefined equals undefined.
    return true;
  }
}

bool less(const Value &a, const Value &b) {
  if (a.isUndefined())
    throwUndefined(a);
  if (b.isUndefined())
    throwUndefined(b);
  if (a.isInteger() && b.isInteger())
    return a.asInteger() < b.asInteger();
  if (a.isNumber() && b.isNumber())
    return a.asNumber() < b.asNumber();
  // The order of UTF-8 is that of the code points.
  if (a.isString() && b.isString())
    return a.asString() < b.asString();
  if (a.is(Value::Kind::Sequence) && b.is(Value::Kind::Sequence) &&
      a.asSequence().isTuple == b.asSequence().isTuple) {
    const Values &left = a.items(), &right = b.items();
    for (size_t i = 0; i < std::min(left.size(), right.size()); ++i)
      if (!equal(left[i], right[i]))
        return less(left[i], right[i]);
    return left.size() < right.size();
  }
  throw Error(std::string(a.typeName()) + " and " + b.typeName() +
              " have no order");
}

bool contains(const Value &haystack, const Value &needle) {
  using Kind = Value::Kind;
  switch (haystack.kind()) {
  case Kind::Undefined:
    return false;
  case Kind::String:
    if (!needle.isString())
      throw Error(std::string("a string cannot contain ") + needle.typeName());
    return haystack.asString().find(needle.asString()) != std::string::npos;
  case Kind::Sequence:
    return std::any_of(haystack.items().begin(), haystack.items().end(),
                       [&](const Value &item) { return equal(item, needle); });
  case Kind::Dict:
    if (!haystack.isNamespace())
      return needle.isString() && haystack.asDict().find(needle.asString());
    [[fallthrough]];
  default:
    throw Error(std::string(haystack.typeName()) + " contains nothing");
  }
}

//===----------------------------------------------------------------------===//
// Indices and slices
//===----------------------------------------------------------------------===//

Value subscript(const Value &object, const Value &key) {
  using Kind = Value::Kind;
  if (object.isUndefined())
    throwUndefined(object);
  if (object.is(Kind::Dict) && key.isString()) {
    if (const Value *value = object.asDict().find(key.asString()))
      return *value;
    return Value::undefined(key.asString());
  }
  bool isString = object.isString();
  if ((isString || object.is(Kind::Sequence)) && key.isInteger()) {
    auto length = static_cast<int64_t>(object.length());
    int64_t index = key.asInteger();
    if (index < 0)
      index += length;
    if (index >= 0 && index < length) {
      auto i = static_cast<size_t>(index);
      return isString
                 ? Value::string(std::string(characters(object.asString())[i]))
                 : object.items()[i];
    }
  }
  return Value::undefined(key.isString() ? key.asString() : std::string());
}

Value slice(const Value &object, const Value &start, const Value &stop,
            const Value &step, Budget &budget) {
  if (object.isUndefined())
    throwUndefined(object);
  if (!object.isString() && !object.is(Value::Kind::Sequence))
    throw Error(std::string(object.typeName()) + " cannot be sliced");
  auto bound = [](const Value &value, int64_t absent) {
    if (value.is(Value::Kind::None))
      return absent;
    if (!value.isInteger())
      throw Error("a slice needs integers");
    return value.asInteger();
  };
  auto length = static_cast<int64_t>(object.length());
  int64_t stride = bound(step, 1);
  if (stride == 0)
    throw Error("the step of a slice is zero");
  // Python's rules: negative indices count from the end, all are clamped.
  int64_t low = stride < 0 ? -1 : 0;
  int64_t high = stride < 0 ? length - 1 : length;
  auto clamp = [&](const Value &value, int64_t absent) {
    int64_t index = bound(value, absent);
    if (!value.is(Value::Kind::None) && index < 0)
      index = index < -length ? low : index + length;
    return std::clamp(index, low, std::max(low, high));
  };
  int64_t from = clamp(start, stride < 0 ? high : low);
  int64_t to = clamp(stop, stride < 0 ? low : high);

  std::vector<size_t> picked;
  while (stride > 0 ? from < to : from > to) {
    picked.push_back(static_cast<size_t>(from));
    if (__builtin_add_overflow(from, stride, &from))
      break;
  }
  budget.allocate(picked.size() * sizeof(Value));
  if (object.isString()) {
    std::vector<std::string_view> all = characters(object.asString());
    std::string text;
    for (size_t i : picked)
      text += all[i];
    return Value::string(std::move(text));
  }
  Values items;
  for (size_t i : picked)
    items.push_back(object.items()[i]);
  return Value::list(std::move(items), object.asSequence().isTuple);
}

//===----------------------------------------------------------------------===//
// Arguments of built-in functions
//===----------------------------------------------------------------------===//

Parameters::Parameters(const char *callee, const Arguments &arguments,
                       std::initializer_list<const char *> names)
    : callee(callee), names(names), values(names.size()) {
  if (arguments.positional.size() > names.size())
    throw Error(std::string(callee) + " takes at most " +
                std::to_string(names.size()) + " arguments");
  std::copy(arguments.positional.begin(), arguments.positional.end(),
            values.begin());
  for (const auto &[name, value] : arguments.named) {
    auto found = std::find_if(names.begin(), names.end(),
                              [&](const char *n) { return name == n; });
    if (found == names.end())
      throw Error(std::string(callee) + " has no parameter '" + excerpt(name) +
                  "'");
    values[static_cast<size_t>(found - names.begin())] = value;
  }
}

const Value &Parameters::value(size_t i) const {
  if (!values[i])
    throw Error(std::string(callee) + " needs the argument '" + names[i] + "'");
  return *values[i];
}

const std::string &Parameters::string(size_t i) const {
  if (!value(i).isString())
    throw Error(std::string(callee) + ": '" + names[i] + "' is " +
                value(i).typeName() + ", not a string");
  return value(i).asString();
}

int64_t Parameters::integer(size_t i) const {
  if (!value(i).isInteger())
    throw Error(std::string(callee) + ": '" + names[i] + "' is " +
                value(i).typeName() + ", not an integer");
  return value(i).asInteger();
}

} // namespace llqrt::tok::jinja
