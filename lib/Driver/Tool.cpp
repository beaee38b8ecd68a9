//===- Tool.cpp - What the compiler's tools have in common ----------------===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llq/Driver/Tool.h"
#include "llq/InitAll.h"
#include "llq/Support/CapturedErrors.h"

#include "llvm/Support/Error.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/raw_ostream.h"

#include <cstdlib>
#include <sys/resource.h>
#include <utility>

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

/// `text` as one line of a message: names out of files can hold anything, of
/// any length.
static std::string formatLine(std::string text) {
  constexpr size_t longest = 1000;
  for (char &c : text)
    if (c == '\n' || c == '\t' || c == '\r')
      c = ' ';
    else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f)
      c = '?';
  if (text.size() > longest)
    text = text.substr(0, longest) + " ...";
  return text;
}

std::optional<int> Tool::parse(int argc, const char *const *argv) {
  llvm::cl::HideUnrelatedOptions(category);
  std::string text;
  llvm::raw_string_ostream os(text);
  CapturedErrors printed;
  bool parsed = llvm::cl::ParseCommandLineOptions(argc, argv, overview, &os);
  text += printed.take();
  if (!parsed)
    return fail(getOptionError(text) + "; see --help", kUsage);
  return std::nullopt;
}

std::optional<int> Tool::refuseEmpty(
    std::initializer_list<const llvm::cl::opt<std::string> *> options) {
  for (const llvm::cl::opt<std::string> *option : options)
    if (option->getNumOccurrences() && option->getValue().empty())
      return fail((option->ArgStr.size() > 1 ? "--" : "-") + option->ArgStr +
                      " needs a value; see --help",
                  kUsage);
  return std::nullopt;
}

int Tool::fail(const llvm::Twine &message, int status) {
  llvm::errs() << name << ": error: " << formatLine(message.str()) << '\n';
  return status;
}

std::optional<int> Tool::checkOutput(StringRef output,
                                     ArrayRef<std::string> inputs) {
  for (const std::string &input : inputs)
    if (llvm::sys::fs::equivalent(output, input))
      return fail("-o " + output + " is read as well" +
                      (output == input ? "" : " (as " + input + ")") +
                      ", give another file",
                  kUsage);
  return std::nullopt;
}

std::function<void()> Tool::getCrashReport(StringRef file) {
  return [this, file = file.str()] {
    fail(file + ": MLIR cannot read it: the file is damaged");
    std::_Exit(kFailure);
  };
}

int Tool::finish() {
  llvm::outs().flush();
  if (!llvm::outs().has_error())
    return kSuccess;
  std::string reason = llvm::outs().error().message();
  llvm::outs().clear_error();
  return fail("standard output: " + reason);
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
      context, [this, file = file.str(),
                failed = false](Diagnostic &diagnostic) mutable {
        bool isError = diagnostic.getSeverity() == DiagnosticSeverity::Error;
        // What follows an error repeats it or comes of it.
        if (isError && std::exchange(failed, true))
          return success();
        std::string text = file.empty() ? "" : file + ": ";
        text += diagnostic.str();
        for (Diagnostic &note : diagnostic.getNotes())
          text += " (" + note.str() + ")";
        StringRef kind =
            isError ? "error"
            : diagnostic.getSeverity() == DiagnosticSeverity::Warning
                ? "warning"
                : "note";
        llvm::errs() << name << ": " << kind << ": "
                     << formatLine(std::move(text)) << '\n';
        return success();
      });
}

uint64_t llq::getPeakMemory() {
  rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  return uint64_t(usage.ru_maxrss) * 1024;
}
