//===- Json.cpp - Output for machines -------------------------------------===//
//
// See Json.h.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "support/Json.h"

#include <algorithm>
#include <cstdio>

using namespace llq::tools;
using llqrt::Status;

Status llq::tools::printJson(const Json &value) {
  std::string text =
      value.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size())
    return Status::fileError("cannot write to standard output");
  return {};
}

Json llq::tools::parseOrQuote(const std::string &text) {
  if (text.empty())
    return nullptr;
  Json value = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  return value.is_discarded() ? Json(text) : value;
}

double Rate::median() const {
  if (values.empty())
    return 0;
  std::vector<double> sorted = values;
  std::sort(sorted.begin(), sorted.end());
  size_t middle = sorted.size() / 2;
  return sorted.size() % 2 ? sorted[middle]
                           : (sorted[middle - 1] + sorted[middle]) / 2;
}

Json Rate::json() const {
  if (values.empty())
    return nullptr;
  auto [min, max] = std::minmax_element(values.begin(), values.end());
  return {{"median", median()},
          {"min", *min},
          {"max", *max},
          {"runs", values.size()}};
}
