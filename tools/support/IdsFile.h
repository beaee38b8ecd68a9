//===- IdsFile.h - Sequences of token ids as text ---------------*- C++ -*-===//
//
// Numbers separated by blanks or commas, one sequence per line; empty lines are
// skipped.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_TOOLS_SUPPORT_IDSFILE_H
#define LLQ_TOOLS_SUPPORT_IDSFILE_H

#include "llqrt/Status.h"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace llq::tools {

/// Appends the ids of `text` (one sequence), each in [0, limit).
llqrt::Status parseIds(std::string_view text, uint32_t limit,
                       std::vector<int32_t> &ids);

/// The sequences of the file at `path`, ids in [0, limit). At least one.
llqrt::Status readIdsFile(const std::string &path, uint32_t limit,
                          std::vector<std::vector<int32_t>> &sequences);

} // namespace llq::tools

#endif // LLQ_TOOLS_SUPPORT_IDSFILE_H
