//===- Model.cpp - An open model file -------------------------------------===//
//
// See Model.h.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llqrt/Model.h"

#include "CodeObject.h"
#include "ElfImage.h"
#include "Memory.h"
#include "ModelReader.h"
#include "Text.h"
#include "llqrt/Tokenizer.h"

#include <mutex>

using namespace llqrt;

struct Model::Impl {
  std::string path;
  MappedFile file;
  ModelInfo info;
  /// The weights one after another, each aligned like a segment, if they were
  /// copied; and where each begins.
  Memory copies;
  std::vector<const std::byte *> weights;

  // What the first use makes.
  std::mutex mutex;
  std::unique_ptr<CodeObject> code;
  std::unique_ptr<Tokenizer> tokenizer;

  Status open(const OpenOptions &options);
  Status verifyRegions(const OpenOptions &options) const;
  Status placeWeights(llqrt_weights storage);
};

Status Model::Impl::verifyRegions(const OpenOptions &options) const {
  std::span<const std::byte> bytes = file.bytes();
  if (info.tokenizer.bytes)
    LLQRT_RETURN_IF_ERROR(checkRegion(bytes, info.tokenizer, "the tokenizer"));
  for (const TargetInfo &target : info.targets) {
    for (const CodeInfo &code : target.code) {
      std::string what = "the code for " + quoted(code.level);
      LLQRT_RETURN_IF_ERROR(checkRegion(bytes, code.region, what));
      auto image = bytes.subspan(code.region.offset, code.region.bytes);
      LLQRT_RETURN_IF_ERROR(
          checkElfImage(image, code.machine, target.kernels).within(what));
    }
  }
  if (options.verify == LLQRT_VERIFY_FULL)
    for (const WeightInfo &weight : info.weights)
      LLQRT_RETURN_IF_ERROR(
          checkRegion(bytes, weight.region, "weight " + quoted(weight.name)));
  return {};
}

static uint64_t roundUp(uint64_t value, uint64_t step) {
  return (value + step - 1) / step * step;
}

Status Model::Impl::placeWeights(llqrt_weights storage) {
  weights.resize(info.weights.size());
  if (storage == LLQRT_WEIGHTS_MAP) {
    for (size_t i = 0; i < weights.size(); ++i) {
      const FileRegion &region = info.weights[i].region;
      weights[i] = file.bytes().data() + region.offset;
      file.expectReads(region.offset, region.bytes);
    }
    return {};
  }
  uint64_t total = 0;
  for (const WeightInfo &weight : info.weights)
    total += roundUp(weight.region.bytes, LLQRT_SEGMENT_ALIGNMENT);
  // Rounded up so that the alignment of huge pages holds for small models too.
  LLQRT_RETURN_IF_ERROR(
      Memory::allocate(roundUp(total, hugePageBytes), true, "weights", copies));
  std::byte *target = copies.data();
  for (size_t i = 0; i < weights.size(); ++i) {
    const FileRegion &region = info.weights[i].region;
    LLQRT_RETURN_IF_ERROR(file.read(region.offset, {target, region.bytes}));
    weights[i] = target;
    target += roundUp(region.bytes, LLQRT_SEGMENT_ALIGNMENT);
  }
  return {};
}

Status Model::Impl::open(const OpenOptions &options) {
  LLQRT_RETURN_IF_ERROR(file.open(path));
  LLQRT_RETURN_IF_ERROR(readModel(file.bytes(), info).within(path));
  LLQRT_RETURN_IF_ERROR(verifyRegions(options).within(path));
  return placeWeights(options.weights);
}

Model::Model(std::unique_ptr<Impl> impl) : impl(std::move(impl)) {}
Model::~Model() = default;

Status Model::open(const std::string &path, const OpenOptions &options,
                   std::shared_ptr<const Model> &model) {
  auto impl = std::make_unique<Impl>();
  impl->path = path;
  LLQRT_RETURN_IF_ERROR(impl->open(options));
  model.reset(new Model(std::move(impl)));
  return {};
}

const ModelInfo &Model::info() const { return impl->info; }

std::span<const std::byte> Model::weight(size_t index) const {
  return {impl->weights[index], impl->info.weights[index].region.bytes};
}

std::span<const uint8_t> Model::tokenizerBytes() const {
  const FileRegion &region = impl->info.tokenizer;
  if (region.bytes == 0)
    return {};
  auto *bytes = reinterpret_cast<const uint8_t *>(impl->file.bytes().data());
  return {bytes + region.offset, region.bytes};
}

Status Model::kernels(const KernelTable *&table) const {
  std::lock_guard lock(impl->mutex);
  if (!impl->code) {
    const TargetInfo *target = impl->info.findTarget("cpu");
    if (!target)
      return Status::unsupported(impl->path + ": the model has no code for "
                                              "CPUs; compile it with "
                                              "--target=cpu");
    auto code = std::make_unique<CodeObject>();
    LLQRT_RETURN_IF_ERROR(
        code->load(impl->file.bytes(), *target).within(impl->path));
    impl->code = std::move(code);
  }
  table = &impl->code->kernels();
  return {};
}

Status Model::tokenizer(const Tokenizer *&result) const {
  std::lock_guard lock(impl->mutex);
  if (!impl->tokenizer) {
    if (impl->info.tokenizer.bytes == 0)
      return Status::unsupported(impl->path + ": the model has no tokenizer, "
                                              "give token ids");
    std::string error;
    impl->tokenizer = Tokenizer::fromFlatBuffer(tokenizerBytes(), error);
    if (!impl->tokenizer)
      return Status::badFile(impl->path + ": tokenizer: " + error);
  }
  result = impl->tokenizer.get();
  return {};
}
