//===- Tool.cpp - What the compiler's tools have in common ----------------===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llq/Driver/Tool.h"
#include "llq/InitAll.h"

#include "llvm/Support/Error.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/raw_ostream.h"

#include <sys/resource.h>

using namespace mlir;
using namespace llq;

Tool::Tool(StringRef name, StringRef overview,
           llvm::cl::OptionCategory &category)
    : name(name), overview(overview), category(category) {
  setVersionPrinter(this->name.c_str());
}

void Tool::freeOptionName(StringRef option) {
  auto &options = llvm::cl::getRegisteredOptions();
  if (auto it = options.find(option); it != options.end())
    it->second->removeArgument();
}

std::optional<int> Tool::parse(int argc, const char *const *argv) {
  llvm::cl::HideUnrelatedOptions(category);
  std::string text;
  llvm::raw_string_ostream os(text);
  if (llvm::cl::ParseCommandLineOptions(argc, argv, overview, &os))
    return std::nullopt;
  // LLVM's message, one line of it, in the form of every other error.
  StringRef line = StringRef(text).split('\n').first;
  line.consume_front(llvm::sys::path::filename(argv[0]).str() + ": ");
  return fail(line, kUsage);
}

int Tool::fail(const llvm::Twine &message, int status) {
  std::string text = message.str();
  // One line, whatever was put into the message.
  std::replace(text.begin(), text.end(), '\n', ' ');
  llvm::errs() << name << ": error: " << text << '\n';
  return status;
}

int Tool::fail(llvm::Error error) {
  std::string text = llvm::toString(std::move(error));
  return text.empty() ? int(kFailure) : fail(text);
}

std::unique_ptr<ScopedDiagnosticHandler>
Tool::handleDiagnostics(MLIRContext *context, StringRef file) {
  // One line: never the text of an operation behind the message.
  context->printOpOnDiagnostic(false);
  return std::make_unique<ScopedDiagnosticHandler>(
      context, [this, file = file.str()](Diagnostic &diagnostic) {
        std::string text = diagnostic.str();
        for (Diagnostic &note : diagnostic.getNotes())
          text += " (" + note.str() + ")";
        std::replace(text.begin(), text.end(), '\n', ' ');
        StringRef kind =
            diagnostic.getSeverity() == DiagnosticSeverity::Error ? "error"
            : diagnostic.getSeverity() == DiagnosticSeverity::Warning
                ? "warning"
                : "note";
        llvm::errs() << name << ": " << kind << ": ";
        if (!file.empty())
          llvm::errs() << file << ": ";
        llvm::errs() << text << '\n';
        return success();
      });
}

uint64_t llq::getPeakMemory() {
  rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  return uint64_t(usage.ru_maxrss) * 1024;
}
