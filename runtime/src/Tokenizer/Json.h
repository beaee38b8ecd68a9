//===- Json.h - Reading JSON with named errors ------------------*- C++ -*-===//
//
// Thin helpers over nlohmann/json: parsing that reports the file and line, and
// member access that names the member when its type is wrong.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQRT_TOKENIZER_JSON_H
#define LLQRT_TOKENIZER_JSON_H

#include "TokenizerSpec.h"

#include <nlohmann/json.hpp>

namespace llqrt::tok {

using Json = nlohmann::json;

/// Parses `text`; Error names `file` and the place. The top level is an object.
Json parseJsonObject(std::string_view text, const char *file);

/// The member `key` of `object`, or null if it is absent or null.
const Json *findMember(const Json &object, const char *key);

/// Members with a fixed type. Absent and null give the default; another type is
/// an Error that names `where` and the key.
bool boolMember(const Json &object, const char *key, bool absent,
                const std::string &where);
std::string stringMember(const Json &object, const char *key,
                         const std::string &where);

/// The array `key`; an Error if it is absent.
const Json &arrayMember(const Json &object, const char *key,
                        const std::string &where);

/// `value` as a token id; Error names `where` if it is no sensible one.
uint32_t tokenId(const Json &value, const std::string &where);

/// The "type" of a normalizer, pre-tokenizer, decoder or post-processor.
std::string typeOf(const Json &object, const std::string &where);

} // namespace llqrt::tok

#endif // LLQRT_TOKENIZER_JSON_H
