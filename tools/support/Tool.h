//===- Tool.h - Command line, exit status, errors ---------------*- C++ -*-===//
//
// What every tool's main() has in common: --help, --version, an exit status of
// 0 (complete), 1 (input, file or model at fault) or 2 (the command line), and
// errors as one line `llq-run: error: ...` on standard error.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_TOOLS_SUPPORT_TOOL_H
#define LLQ_TOOLS_SUPPORT_TOOL_H

#include "llqrt/Status.h"

#include <CLI/CLI.hpp>
#include <functional>
#include <string>

namespace llq::tools {

class Tool {
public:
  /// `examples`: one command per line.
  Tool(const std::string &name, const std::string &description,
       const std::string &examples);

  /// Options go here before run().
  CLI::App app;

  /// Parses the command line, calls `body` and returns the exit status. A
  /// status of LLQRT_INVALID_ARGUMENT means that the command line is at fault.
  int run(int argc, char **argv, const std::function<llqrt::Status()> &body);

private:
  std::string name;
};

/// A fault of the command line that only shows after parsing.
llqrt::Status usageError(std::string message);

/// The whole file at `path`.
llqrt::Status readFile(const std::string &path, std::string &content);

} // namespace llq::tools

#endif // LLQ_TOOLS_SUPPORT_TOOL_H
