//===- JSON.cpp - JSON out of files of any origin -------------------------===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llq/Support/JSON.h"

#include <cstdint>

using namespace llq;

/// Far beyond what configurations and samples need.
static constexpr int64_t kDeepest = 1000;

static bool isNestedTooDeeply(llvm::StringRef text) {
  int64_t depth = 0;
  bool inString = false;
  for (size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (inString && c == '\\')
      ++i;
    else if (c == '"')
      inString = !inString;
    else if (inString)
      continue;
    else if (c == '[' || c == '{')
      ++depth;
    else if (c == ']' || c == '}')
      --depth;
    if (depth > kDeepest)
      return true;
  }
  return false;
}

llvm::Expected<llvm::json::Value> llq::parseJSON(llvm::StringRef text) {
  if (isNestedTooDeeply(text))
    return llvm::createStringError("nested too deeply");
  return llvm::json::parse(text);
}
