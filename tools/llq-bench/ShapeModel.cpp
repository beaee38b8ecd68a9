//===- ShapeModel.cpp - A model of a known shape to bench -----------------===//
//
// See ShapeModel.h.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "ShapeModel.h"

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

using namespace llq::tools;
using llqrt::Status;

extern char **environ;

ShapeModel::~ShapeModel() {
  if (!file.empty())
    unlink(file.c_str());
  if (!folder.empty())
    rmdir(folder.c_str());
}

Status ShapeModel::compile(const std::string &shape,
                           const std::vector<std::string> &arguments) {
  std::error_code error;
  std::filesystem::path self =
      std::filesystem::read_symlink("/proc/self/exe", error);
  std::string compiler = self.replace_filename("llq-compile").string();
  if (error || access(compiler.c_str(), X_OK) != 0)
    return Status::unsupported("--shape needs llq-compile beside llq-bench, "
                               "build LLQ with the compiler");

  std::filesystem::path base = std::filesystem::temp_directory_path(error);
  std::string pattern = (base / "llq-bench-XXXXXX").string();
  if (error || !mkdtemp(pattern.data()))
    return Status::fileError("cannot create a temporary folder: " +
                             std::string(std::strerror(errno)));
  folder = pattern;
  file = folder + "/model.llq";

  std::vector<std::string> words = {compiler, "--shape", shape};
  words.insert(words.end(), arguments.begin(), arguments.end());
  words.insert(words.end(), {"-o", file});
  std::vector<char *> pointers;
  for (std::string &word : words)
    pointers.push_back(word.data());
  pointers.push_back(nullptr);

  // Standard output is ours alone: --json prints one object there.
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, STDERR_FILENO, STDOUT_FILENO);
  pid_t child;
  int failed = posix_spawn(&child, compiler.c_str(), &actions, nullptr,
                           pointers.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (failed)
    return Status::unsupported("cannot start " + compiler + ": " +
                               std::strerror(failed));
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR)
    ;
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
    return {};
  return Status::unsupported("llq-compile --shape " + shape + " failed");
}
