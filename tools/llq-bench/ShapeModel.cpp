//===- ShapeModel.cpp - A model of a known shape to bench -----------------===//
//
// See ShapeModel.h.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "ShapeModel.h"

#include <algorithm>
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

/// Runs a command to its end; `messages` gets what it prints. (Standard output
/// is ours alone: --json prints one object there.)
static Status run(std::vector<std::string> words, std::string &messages,
                  int &status) {
  std::vector<char *> pointers;
  for (std::string &word : words)
    pointers.push_back(word.data());
  pointers.push_back(nullptr);
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0)
    return Status::unsupported("cannot start " + words[0] + ": " +
                               std::strerror(errno));
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, ends[1], STDERR_FILENO);
  pid_t child;
  int failed = posix_spawn(&child, words[0].c_str(), &actions, nullptr,
                           pointers.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  close(ends[1]);
  if (failed) {
    close(ends[0]);
    return Status::unsupported("cannot start " + words[0] + ": " +
                               std::strerror(failed));
  }
  StoppedOnSignal stop(child);
  char part[4096];
  ssize_t count;
  while ((count = read(ends[0], part, sizeof(part))) > 0 ||
         (count < 0 && errno == EINTR))
    messages.append(part, static_cast<size_t>(std::max<ssize_t>(count, 0)));
  close(ends[0]);
  while (waitpid(child, &status, 0) < 0 && errno == EINTR)
    ;
  return {};
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
  folderRemoval.emplace(folder);
  file = folder + "/model.llq";
  fileRemoval.emplace(file);

  std::vector<std::string> words = {compiler, "--shape", shape};
  words.insert(words.end(), arguments.begin(), arguments.end());
  words.insert(words.end(), {"-o", file});
  std::string messages;
  int status = 0;
  LLQRT_RETURN_IF_ERROR(run(words, messages, status));
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
    return {};
  // Whether the shape, the chain and the levels exist, llq-compile knows.
  const std::string mark = "llq-compile: error: ";
  size_t begin = messages.find(mark);
  if (begin == std::string::npos)
    return Status::unsupported("llq-compile --shape " + shape + " failed");
  begin += mark.size();
  std::string message =
      "llq-compile: " +
      messages.substr(begin, messages.find('\n', begin) - begin);
  return WIFEXITED(status) && WEXITSTATUS(status) == 2
             ? Status::invalidArgument(message)
             : Status::unsupported(message);
}
