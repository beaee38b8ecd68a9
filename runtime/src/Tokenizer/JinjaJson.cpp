//===- JinjaJson.cpp - The tojson filter's output -------------------------===//
//
// Writes what Python's json.dumps() writes, with its separators and line
// breaks: templates show tools and their calls to the model in this form.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "JinjaValue.h"

#include "JinjaText.h"

#include <algorithm>
#include <cmath>

namespace llqrt::tok::jinja {

namespace {
class Writer {
public:
  Writer(int64_t indent, bool sortKeys) : indent(indent), sortKeys(sortKeys) {}

  void write(const Value &value);
  std::string out;

private:
  void writeString(std::string_view text);
  void writeSequence(const Values &items);
  void writeDict(const Dict &dict);
  /// In front of an item, and of a closing bracket.
  void breakLine() {
    if (indent >= 0)
      out += '\n' + std::string(level * static_cast<size_t>(indent), ' ');
  }
  void separate(bool first) {
    if (!first)
      out += indent >= 0 ? "," : ", ";
    breakLine();
  }

  int64_t indent;
  bool sortKeys;
  size_t level = 0;
};
} // namespace

void Writer::writeString(std::string_view text) {
  out += '"';
  for (char c : text) {
    static constexpr char digits[] = "0123456789abcdef";
    static constexpr std::string_view plain = "\"\\\b\f\n\r\t";
    static constexpr std::string_view letters = "\"\\bfnrt";
    auto byte = static_cast<unsigned char>(c);
    if (size_t i = plain.find(c); i != std::string_view::npos)
      out += {'\\', letters[i]};
    else if (byte < 0x20)
      out += {'\\', 'u', '0', '0', digits[byte >> 4], digits[byte & 15]};
    else
      out += c;
  }
  out += '"';
}

void Writer::writeSequence(const Values &items) {
  out += '[';
  ++level;
  for (size_t i = 0; i < items.size(); ++i) {
    separate(i == 0);
    write(items[i]);
  }
  --level;
  if (!items.empty())
    breakLine();
  out += ']';
}

void Writer::writeDict(const Dict &dict) {
  std::vector<const std::pair<std::string, Value> *> entries;
  for (const auto &entry : dict.entries)
    entries.push_back(&entry);
  if (sortKeys)
    std::sort(entries.begin(), entries.end(),
              [](auto *a, auto *b) { return a->first < b->first; });
  out += '{';
  ++level;
  for (size_t i = 0; i < entries.size(); ++i) {
    separate(i == 0);
    writeString(entries[i]->first);
    out += ": ";
    write(entries[i]->second);
  }
  --level;
  if (!entries.empty())
    breakLine();
  out += '}';
}

void Writer::write(const Value &value) {
  using Kind = Value::Kind;
  switch (value.kind()) {
  case Kind::None:
    out += "null";
    return;
  case Kind::Bool:
    out += value.asBool() ? "true" : "false";
    return;
  case Kind::Int:
    out += std::to_string(value.asInteger());
    return;
  case Kind::Float: {
    double number = value.asNumber();
    if (std::isnan(number))
      out += "NaN";
    else if (std::isinf(number))
      out += number < 0 ? "-Infinity" : "Infinity";
    else
      out += floatText(number);
    return;
  }
  case Kind::String:
    writeString(value.asString());
    return;
  case Kind::Sequence:
    writeSequence(value.items());
    return;
  case Kind::Dict:
    if (!value.isNamespace()) {
      writeDict(value.asDict());
      return;
    }
    [[fallthrough]];
  default:
    throw Error(std::string("tojson: ") + value.typeName() +
                " cannot be written as JSON");
  }
}

std::string toJson(const Value &value, int64_t indent, bool sortKeys) {
  Writer writer(indent, sortKeys);
  writer.write(value);
  return std::move(writer.out);
}

} // namespace llqrt::tok::jinja
