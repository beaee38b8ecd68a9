//===- Tool.cpp - Command line, exit status, errors -----------------------===//
//
// See Tool.h.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "support/Tool.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <exception>
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
  // One line of bounded length, whatever a name out of a file holds.
  constexpr size_t longest = 1000;
  for (char &c : message)
    if (c == '\n' || c == '\t' || c == '\r')
      c = ' ';
    else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f)
      c = '?';
  if (message.size() > longest)
    message = message.substr(0, longest) + " ...";
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
  std::FILE *file = std::fopen(path.c_str(), "rb");
  if (!file)
    return Status::fileError(path + ": " + std::strerror(errno));
  content.clear();
  char part[1 << 16];
  errno = 0;
  while (size_t count = std::fread(part, 1, sizeof(part), file))
    content.append(part, count);
  int error = std::ferror(file) ? errno : 0;
  std::fclose(file);
  return error ? Status::fileError(path + ": " + std::strerror(error))
               : Status();
}
