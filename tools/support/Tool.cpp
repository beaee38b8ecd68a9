//===- Tool.cpp - Command line, exit status, errors -----------------------===//
//
// See Tool.h.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "support/Tool.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <exception>
#include <fstream>
#include <new>

using namespace llq::tools;
using llqrt::Status;

Tool::Tool(const std::string &name, const std::string &description,
           const std::string &examples)
    : app(description, name), name(name) {
  app.set_version_flag("--version", name + " " LLQ_VERSION);
  app.get_formatter()->column_width(34);
  app.footer("Examples:\n" + examples);
}

static int report(const std::string &name, std::string message, int status) {
  // One line whatever a library put into its message.
  std::replace(message.begin(), message.end(), '\n', ' ');
  std::fprintf(stderr, "%s: error: %s\n", name.c_str(), message.c_str());
  return status;
}

int Tool::run(int argc, char **argv, const std::function<Status()> &body) {
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success &success) {
    return app.exit(success);
  } catch (const CLI::ParseError &error) {
    return report(name, error.what() + std::string("; see --help"), 2);
  }
  Status status;
  try {
    status = body();
  } catch (const std::bad_alloc &) {
    status = Status::outOfMemory("not enough memory");
  } catch (const std::exception &error) {
    status = {LLQRT_INTERNAL_ERROR, error.what()};
  }
  if (status.ok() && std::fflush(stdout) != 0)
    status = Status::fileError(std::string("standard output: ") +
                               std::strerror(errno));
  if (status.ok())
    return 0;
  return report(name, status.message(),
                status.code() == LLQRT_INVALID_ARGUMENT ? 2 : 1);
}

Status llq::tools::usageError(std::string message) {
  return Status::invalidArgument(std::move(message));
}

Status llq::tools::readFile(const std::string &path, std::string &content) {
  std::ifstream file(path, std::ios::binary);
  content.assign(std::istreambuf_iterator<char>(file), {});
  if (file.bad() || !file.is_open())
    return Status::fileError(path + ": " + std::strerror(errno ? errno : EIO));
  return {};
}
