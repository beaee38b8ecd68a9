//===- JSON.h - JSON out of files of any origin -----------------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_SUPPORT_JSON_H
#define LLQ_SUPPORT_JSON_H

#include "llvm/Support/JSON.h"

namespace llq {

/// llvm::json::parse, but an error where brackets are nested so deeply that its
/// recursion could exhaust the stack.
llvm::Expected<llvm::json::Value> parseJSON(llvm::StringRef text);

} // namespace llq

#endif // LLQ_SUPPORT_JSON_H
