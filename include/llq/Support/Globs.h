//===- Globs.h - Layers chosen by their names -------------------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_SUPPORT_GLOBS_H
#define LLQ_SUPPORT_GLOBS_H

#include "mlir/IR/Diagnostics.h"
#include "llvm/Support/Allocator.h"
#include "llvm/Support/GlobPattern.h"
#include "llvm/Support/StringSaver.h"

#include <string>

namespace llq {

/// The globs of one option, which have to match something.
class Globs {
public:
  Globs(llvm::StringRef option) : option(option) {}

  mlir::LogicalResult
  compile(llvm::ArrayRef<std::string> texts,
          llvm::function_ref<mlir::InFlightDiagnostic()> emitError) {
    for (llvm::StringRef given : texts) {
      // The pattern refers to its text.
      llvm::StringRef text = saver.save(given);
      llvm::Expected<llvm::GlobPattern> pattern =
          llvm::GlobPattern::create(text, /*MaxSubPatterns=*/1024);
      if (!pattern)
        return emitError() << option << "=" << text << ": "
                           << llvm::toString(pattern.takeError());
      entries.push_back({text, std::move(*pattern)});
    }
    return mlir::success();
  }

  bool empty() const { return entries.empty(); }

  bool match(llvm::StringRef name) {
    bool any = false;
    for (Entry &entry : entries)
      if (entry.pattern.match(name))
        any = entry.matched = true;
    return any;
  }

  mlir::LogicalResult checkAllMatched(
      llvm::function_ref<mlir::InFlightDiagnostic()> emitError) const {
    for (const Entry &entry : entries)
      if (!entry.matched)
        return emitError() << option << "=" << entry.text
                           << " matches no layer";
    return mlir::success();
  }

private:
  struct Entry {
    llvm::StringRef text;
    llvm::GlobPattern pattern;
    bool matched = false;
  };
  llvm::StringRef option;
  llvm::BumpPtrAllocator allocator;
  llvm::StringSaver saver{allocator};
  llvm::SmallVector<Entry> entries;
};
} // namespace llq

#endif // LLQ_SUPPORT_GLOBS_H
