//===- IdsFile.cpp - Sequences of token ids as text -----------------------===//
//
// See IdsFile.h.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "support/IdsFile.h"

#include "support/Tool.h"

#include <charconv>

using namespace llq::tools;
using llqrt::Status;

Status llq::tools::parseIds(std::string_view text, uint32_t limit,
                            std::vector<int32_t> &ids) {
  const char *at = text.data(), *end = at + text.size();
  constexpr std::string_view separators = " \t\r,";
  while (true) {
    while (at != end && separators.find(*at) != std::string_view::npos)
      ++at;
    if (at == end)
      return {};
    int64_t id = 0;
    auto [next, error] = std::from_chars(at, end, id);
    if (error != std::errc() ||
        (next != end && separators.find(*next) == std::string_view::npos))
      return Status::badFile("expected a token id at byte " +
                             std::to_string(at - text.data() + 1));
    if (id < 0 || id >= limit)
      return Status::badFile("token id " + std::to_string(id) +
                             " is outside the vocabulary of " +
                             std::to_string(limit));
    ids.push_back(static_cast<int32_t>(id));
    at = next;
  }
}

Status llq::tools::readIdsFile(const std::string &path, uint32_t limit,
                               std::vector<std::vector<int32_t>> &sequences) {
  std::string content;
  LLQRT_RETURN_IF_ERROR(readFile(path, content));
  std::string_view rest = content;
  for (size_t line = 1; !rest.empty(); ++line) {
    size_t length = rest.find('\n');
    std::vector<int32_t> ids;
    LLQRT_RETURN_IF_ERROR(parseIds(rest.substr(0, length), limit, ids)
                              .within(path + ":" + std::to_string(line)));
    if (!ids.empty())
      sequences.push_back(std::move(ids));
    rest.remove_prefix(length == std::string_view::npos ? rest.size()
                                                        : length + 1);
  }
  if (sequences.empty())
    return Status::badFile(path + ": there are no token ids in this file");
  return {};
}
