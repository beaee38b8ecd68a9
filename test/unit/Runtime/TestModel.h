//===- TestModel.h - A hand-made model file for tests -----------*- C++ -*-===//
//
// Builds the bytes of a small valid .llq file around TestKernels.c, lets a test
// spoil any part of it with all checksums right, and computes what it must
// answer.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQRT_UNITTEST_TESTMODEL_H
#define LLQRT_UNITTEST_TESTMODEL_H

#include "llqrt/Model.h"

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace llqrt::test {

inline constexpr uint32_t hidden = 16, vocab = 40, context = 100;
inline constexpr uint32_t maxTokens = 8;

/// A model file in parts.
struct TestModel {
  /// Where the first segment begins: the header is far shorter.
  static constexpr size_t firstSegment = 65536;

  ModelInfo info;
  std::vector<std::vector<std::byte>> weights;
  /// For each entry of info.targets[0].code.
  std::vector<std::vector<std::byte>> code;
  std::vector<uint8_t> tokenizer;

  TestModel();

  /// The file. `spoil` may change the header after regions and checksums have
  /// been filled in.
  std::vector<std::byte>
  build(const std::function<void(ModelInfo &)> &spoil = nullptr) const;
};

/// Makes the checksums of header and prelude right again.
void repairChecksums(std::vector<std::byte> &file);

/// Logits [ids.size(), vocab] of a whole sequence.
std::vector<float> referenceLogits(const std::vector<int32_t> &ids);

/// A file of the test's own that is gone when the object goes.
class TemporaryFile {
public:
  explicit TemporaryFile(const std::string &suffix = ".llq");
  ~TemporaryFile();
  const std::string &path() const { return name; }
  void write(const void *data, size_t bytes) const;
  void write(const std::vector<std::byte> &bytes) const {
    write(bytes.data(), bytes.size());
  }
  std::string read() const;

private:
  std::string name;
};

/// Opens `bytes` as a model file.
Status openBytes(const std::vector<std::byte> &bytes,
                 std::shared_ptr<const Model> &model, OpenOptions options = {});

/// The valid model, opened.
std::shared_ptr<const Model> openTestModel();

} // namespace llqrt::test

#endif // LLQRT_UNITTEST_TESTMODEL_H
