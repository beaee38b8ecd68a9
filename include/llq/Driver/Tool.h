//===- Tool.h - What the compiler's tools have in common --------*- C++ -*-===//
//
// Command lines, one-line errors and exit statuses as the documentation
// promises them: 0 complete, 1 input or model at fault, 2 wrong usage.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_DRIVER_TOOL_H
#define LLQ_DRIVER_TOOL_H

#include "mlir/IR/Diagnostics.h"
#include "llvm/Support/CommandLine.h"
#include "llvm/Support/Error.h"

#include <functional>
#include <initializer_list>
#include <optional>
#include <string>

namespace llq {

enum ExitStatus { kSuccess = 0, kFailure = 1, kUsage = 2 };

class Tool {
public:
  /// `overview` is the text of --help above the options: what the tool does and
  /// examples.
  Tool(llvm::StringRef name, llvm::StringRef overview,
       llvm::cl::OptionCategory &category);

  /// Takes the name of an option away from LLVM, whose library registers
  /// options of its own, so that the tool can have one of that name.
  void freeOptionName(llvm::StringRef option);

  /// Parses the command line. An exit status if the tool should stop at once
  /// (wrong usage, reported on standard error).
  std::optional<int> parse(int argc, const char *const *argv);

  /// Refuses options that were given as empty text, which would silently mean
  /// their defaults.
  std::optional<int> refuseEmpty(
      std::initializer_list<const llvm::cl::opt<std::string> *> options);

  /// Refuses an output that is one of the files to read: it would be gone.
  std::optional<int> checkOutput(llvm::StringRef output,
                                 llvm::ArrayRef<std::string> inputs);

  /// Prints `<tool>: error: <message>`, on one line of bounded length, and
  /// returns `status`.
  int fail(const llvm::Twine &message, int status = kFailure);

  /// Prints an error unless it is empty text (already reported) and returns
  /// kFailure.
  int fail(llvm::Error error);

  /// What LoadOptions::onCrash needs: reports that `file` is damaged and leaves
  /// the process at once.
  std::function<void()> getCrashReport(llvm::StringRef file);

  /// The exit status of a tool that has done its work: standard output may have
  /// been full or closed.
  int finish();

  /// Prints warnings of `context` and its first error on one line each, as
  /// `<tool>: error: <file>: <message>`, notes in parentheses.
  std::unique_ptr<mlir::ScopedDiagnosticHandler>
  handleDiagnostics(mlir::MLIRContext *context, llvm::StringRef file);

private:
  std::string name, overview;
  llvm::cl::OptionCategory &category;
};

/// Largest resident memory of this process so far, in bytes.
uint64_t getPeakMemory();

} // namespace llq

#endif // LLQ_DRIVER_TOOL_H
