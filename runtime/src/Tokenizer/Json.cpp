//===- Json.cpp - Reading JSON with named errors --------------------------===//
//
// The JSON library's own messages speak of its types and byte counts; these
// speak of the file.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "Json.h"

#include <algorithm>

namespace llqrt::tok {

Json parseJsonObject(std::string_view text, const char *file) {
  // Files written on some systems begin with a byte order mark.
  if (text.starts_with("\xef\xbb\xbf"))
    text.remove_prefix(3);
  Json json;
  try {
    json = Json::parse(text);
  } catch (const Json::parse_error &e) {
    size_t at = std::min<size_t>(e.byte, text.size());
    auto line = 1 + std::count(text.begin(), text.begin() + at, '\n');
    throw Error(std::string(file) + ": not valid JSON at line " +
                std::to_string(line) + ", byte " + std::to_string(e.byte));
  } catch (const Json::exception &) {
    // A number that no double holds.
    throw Error(std::string(file) + ": not valid JSON, a number in it is out "
                                    "of range");
  }
  if (!json.is_object())
    throw Error(std::string(file) + ": the top level is no JSON object");
  return json;
}

const Json *findMember(const Json &object, const char *key) {
  if (!object.is_object())
    return nullptr;
  auto member = object.find(key);
  return member == object.end() || member->is_null() ? nullptr : &*member;
}

[[noreturn]] static void wrongType(const char *key, const std::string &where,
                                   const char *wanted) {
  throw Error(where + ": '" + key + "' is no " + wanted);
}

bool boolMember(const Json &object, const char *key, bool absent,
                const std::string &where) {
  const Json *member = findMember(object, key);
  if (!member)
    return absent;
  if (!member->is_boolean())
    wrongType(key, where, "boolean");
  return member->get<bool>();
}

std::string stringMember(const Json &object, const char *key,
                         const std::string &where) {
  const Json *member = findMember(object, key);
  if (!member)
    return {};
  if (!member->is_string())
    wrongType(key, where, "string");
  return member->get<std::string>();
}

const Json &arrayMember(const Json &object, const char *key,
                        const std::string &where) {
  const Json *member = findMember(object, key);
  if (!member)
    throw Error(where + ": '" + key + "' is missing");
  if (!member->is_array())
    wrongType(key, where, "array");
  return *member;
}

uint32_t tokenId(const Json &value, const std::string &where) {
  if (!value.is_number_integer())
    throw Error(where + ": the token id is no integer");
  // A negative number is a huge one once it is unsigned.
  uint64_t id = value.is_number_unsigned()
                    ? value.get<uint64_t>()
                    : static_cast<uint64_t>(value.get<int64_t>());
  if (id >= kMaxTokens)
    throw Error(where + ": token id " + value.dump() +
                " is out of range, 0 to " + std::to_string(kMaxTokens - 1) +
                " are supported");
  return static_cast<uint32_t>(id);
}

std::string typeOf(const Json &object, const std::string &where) {
  if (!object.is_object())
    throw Error(where + " is no JSON object");
  std::string type = stringMember(object, "type", where);
  if (type.empty())
    throw Error(where + ": 'type' is missing");
  return type;
}

} // namespace llqrt::tok
