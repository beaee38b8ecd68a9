//===- Model.h - An open model file -----------------------------*- C++ -*-===//
//
// Maps a .llq file, verifies it, and hands out its weights, kernels and
// tokenizer. Immutable once open; any number of sessions share one model.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQRT_MODEL_H
#define LLQRT_MODEL_H

#include "llqrt/FileFormat.h"
#include "llqrt/ModelInfo.h"
#include "llqrt/Status.h"

#include <memory>
#include <span>
#include <string>
#include <vector>

namespace llqrt {

class Tokenizer;

struct OpenOptions {
  llqrt_verify verify = LLQRT_VERIFY_HEADER;
  llqrt_weights weights = LLQRT_WEIGHTS_MAP;
};

/// The kernels of one target that this machine runs.
struct KernelTable {
  /// The level of the code that was taken, e.g. "x86-64-v3".
  std::string level;
  /// In the order of TargetInfo::kernels.
  std::vector<llqrt_kernel> kernels;
};

/// All const functions may be called from several threads at once.
class Model {
public:
  /// Opens and verifies the file at `path`. Runs no code of it.
  static Status open(const std::string &path, const OpenOptions &options,
                     std::shared_ptr<const Model> &model);
  ~Model();
  Model(const Model &) = delete;
  Model &operator=(const Model &) = delete;

  const ModelInfo &info() const;
  /// The bytes of weights[index]; their start is aligned to 4 KiB.
  std::span<const std::byte> weight(size_t index) const;
  /// The stored tokenizer; none: empty.
  std::span<const uint8_t> tokenizerBytes() const;

  /// The kernels of the target named cpu. The first call loads the code.
  Status kernels(const KernelTable *&table) const;
  /// The tokenizer. The first call builds it. Fails if the file has none.
  Status tokenizer(const Tokenizer *&result) const;

private:
  struct Impl;
  explicit Model(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl;
};

} // namespace llqrt

#endif // LLQRT_MODEL_H
