//===- Json.h - Output for machines -----------------------------*- C++ -*-===//
//
// `--json` prints one object on standard output, keys in the order in which
// they were set.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_TOOLS_SUPPORT_JSON_H
#define LLQ_TOOLS_SUPPORT_JSON_H

#include "llqrt/Status.h"

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace llq::tools {

using Json = nlohmann::ordered_json;

/// Prints `value` and a line end. Text that is not UTF-8 gets U+FFFD.
llqrt::Status printJson(const Json &value);

/// `text` parsed, or as a plain string if it is no JSON; null if it is empty.
Json parseOrQuote(const std::string &text);

/// What several runs measured.
struct Rate {
  std::vector<double> values;

  void add(double value) { values.push_back(value); }
  double median() const;
  /// {median, min, max, runs}
  Json json() const;
};

} // namespace llq::tools

#endif // LLQ_TOOLS_SUPPORT_JSON_H
