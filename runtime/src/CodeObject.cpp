//===- CodeObject.cpp - Native code out of a model file -------------------===//
//
// The object goes to a sealed memory file, so that the dynamic loader can map
// it without a file on disk that somebody else could change.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "CodeObject.h"

#include "Text.h"
#include "llqrt/Machine.h"

#include <algorithm>
#include <cerrno>
#include <dlfcn.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

using namespace llqrt;

namespace {
struct FileDescriptor {
  int number;
  ~FileDescriptor() {
    if (number >= 0)
      close(number);
  }
};
} // namespace

/// The last entry of `target` that this machine runs.
static Status chooseCode(const TargetInfo &target, const CodeInfo *&chosen) {
  std::vector<std::string> levels;
  LLQRT_RETURN_IF_ERROR(usableLevels(levels));
  chosen = nullptr;
  std::string present;
  for (const CodeInfo &code : target.code) {
    present += (present.empty() ? "" : ", ") + quoted(code.level);
    if (code.machine == hostMachine() &&
        std::find(levels.begin(), levels.end(), code.level) != levels.end())
      chosen = &code;
  }
  if (chosen)
    return {};
  return Status::unsupported(
      "the model has no code for this CPU (" + std::string(hostMachine()) +
      ", up to level " + (levels.empty() ? "none" : quoted(levels.back())) +
      "), only for " + present + "; compile it for this machine");
}

static Status loadObject(std::span<const std::byte> image, void *&handle) {
  FileDescriptor file{
      memfd_create("llq-kernels", MFD_CLOEXEC | MFD_ALLOW_SEALING)};
  if (file.number < 0)
    return Status::unsupported("cannot create a memory file for the kernels: " +
                               systemError(errno));
  while (!image.empty()) {
    ssize_t written = write(file.number, image.data(), image.size());
    if (written < 0 && errno == EINTR)
      continue;
    if (written <= 0)
      return Status::outOfMemory("cannot write the kernels to memory: " +
                                 systemError(errno));
    image = image.subspan(static_cast<size_t>(written));
  }
  fcntl(file.number, F_ADD_SEALS,
        F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL);
  std::string path = "/proc/self/fd/" + std::to_string(file.number);
  handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (handle)
    return {};
  const char *reason = dlerror();
  return Status::unsupported(std::string("cannot load the kernels: ") +
                             (reason ? reason : "unknown reason"));
}

CodeObject::~CodeObject() {
  if (handle)
    dlclose(handle);
}

Status CodeObject::load(std::span<const std::byte> file,
                        const TargetInfo &target) {
  const CodeInfo *code;
  LLQRT_RETURN_IF_ERROR(chooseCode(target, code));
  LLQRT_RETURN_IF_ERROR(loadObject(
      file.subspan(code->region.offset, code->region.bytes), handle));
  table.level = code->level;
  for (const std::string &name : target.kernels) {
    void *symbol = dlsym(handle, name.c_str());
    if (!symbol)
      return Status::badFile("the code lacks kernel " + quoted(name));
    table.kernels.push_back(reinterpret_cast<llqrt_kernel>(symbol));
  }
  return {};
}
