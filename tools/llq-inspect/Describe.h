//===- Describe.h - A model's contents for people and machines --*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_TOOLS_INSPECT_DESCRIBE_H
#define LLQ_TOOLS_INSPECT_DESCRIBE_H

#include "llqrt/ModelInfo.h"
#include "support/Json.h"

namespace llq::tools {

/// The object that `llq-inspect --json` prints; with the dispatch lists if
/// `program`.
Json describe(const llqrt::ModelInfo &model, bool program);

/// Prints the same for people.
void printSummary(const std::string &path, const llqrt::ModelInfo &model);

/// Prints the buffers and dispatches of every target.
void printPrograms(const llqrt::ModelInfo &model);

} // namespace llq::tools

#endif // LLQ_TOOLS_INSPECT_DESCRIBE_H
