//===- Calibrator.cpp - Runs a model layer by layer over samples ----------===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llq/Calibration/Calibrator.h"

#include "ActivationStore.h"
#include "ProgramRunner.h"
#include "Segment.h"

#include "llq/Codegen/CPU.h"

#include "llvm/ADT/MapVector.h"

using namespace mlir;
using namespace llq;

void llq::registerCalibrationDialects(DialectRegistry &registry) {
  registry.insert<LLQDialect>();
  registerKernelDialects(registry);
}

FailureOr<func::FuncOp> llq::getForward(ModuleOp module) {
  auto forward = module.lookupSymbol<func::FuncOp>(kForwardName);
  if (!forward || !llvm::hasSingleElement(forward.getBody()))
    return module.emitError("has no function @forward of one block");
  return forward;
}

SmallVector<Site> llq::getSites(func::FuncOp forward) {
  llvm::MapVector<Value, Site> sites;
  for (auto layer : forward.getOps<LinearOp>()) {
    Value input = layer.getInput();
    if (auto quantize = input.getDefiningOp<QuantizeActivationOp>())
      input = quantize.getInput();
    Site &site = sites[input];
    site.input = input;
    site.layers.push_back(layer);
  }
  return llvm::map_to_vector(
      sites, [](auto &entry) { return std::move(entry.second); });
}

StringRef llq::getBlockName(const Site &site) {
  LinearOp first = site.layers.front();
  StringRef name = first.getName();
  if (!name.starts_with("layers."))
    return {};
  return name.take_front(name.find('.', StringRef("layers.").size()) + 1);
}

static int64_t getColumns(Value activation) {
  return cast<ShapedType>(activation.getType()).getDimSize(1);
}

/// The activations of all samples at one place of a model.
struct Calibrator::Activations {
  llvm::MapVector<Value, std::shared_ptr<ActivationStore>> stores;

  ActivationStore &get(Value value) const {
    return *stores.find(value)->second;
  }
};

struct Calibrator::Impl {
  Impl(func::FuncOp forward, const Samples &samples, ThreadPool &pool,
       const CalibratorOptions &options)
      : forward(forward), samples(samples), pool(pool), options(options) {}

  func::FuncOp forward;
  const Samples &samples;
  ThreadPool &pool;
  CalibratorOptions options;
  KernelCache kernels;
  /// The place where the model stands.
  State known = std::make_shared<Activations>();

  /// What moving on to a site computes and keeps.
  struct Plan {
    llvm::SetVector<Value> live;
    /// Results of the segment: live values that are new, then the site's input
    /// if it is no live value.
    SmallVector<Value> results;
  };

  /// Makes room for the live values that are not there yet.
  llvm::Error createStores(const Plan &plan, Activations &next);
  llvm::Error runSample(int64_t sample, int64_t firstToken,
                        ProgramRunner &runner, ArrayRef<Value> inputs,
                        const Plan &plan, Value siteInput, Activations &next,
                        Visit visit);
  llvm::Error visitStored(Value input, Visit visit);
  int64_t getStoredBytes() const {
    int64_t bytes = 0;
    for (auto &[value, store] : known->stores)
      bytes += store->getBytes();
    return bytes;
  }
};

Calibrator::Calibrator(func::FuncOp forward, const Samples &samples,
                       ThreadPool &pool, const CalibratorOptions &options)
    : impl(new Impl(forward, samples, pool, options)) {
  impl->options.maxTokens = std::min(options.maxTokens, samples.longest);
}

Calibrator::~Calibrator() = default;

int64_t Calibrator::getTokens() const { return impl->samples.tokens; }

Calibrator::State Calibrator::getState() const { return impl->known; }

void Calibrator::setState(State state) { impl->known = std::move(state); }

llvm::Error Calibrator::Impl::createStores(const Plan &plan,
                                           Activations &next) {
  int64_t bytes = getStoredBytes();
  for (Value value : plan.results) {
    if (!plan.live.contains(value))
      continue;
    int64_t columns = getColumns(value);
    bytes += samples.tokens * columns * int64_t(sizeof(float));
    auto store = ActivationStore::create(samples.tokens, columns,
                                         bytes > options.memoryBudget);
    if (!store)
      return store.takeError();
    next.stores.insert(
        {value, std::make_shared<ActivationStore>(std::move(*store))});
  }
  return llvm::Error::success();
}

llvm::Error Calibrator::Impl::visitStored(Value input, Visit visit) {
  ActivationStore &store = known->get(input);
  int64_t columns = store.getColumns(), first = 0;
  for (auto [sample, ids] : llvm::enumerate(samples.sequences)) {
    int64_t tokens = ids.size();
    if (llvm::Error error = visit({store.getRow(first), tokens, columns,
                                   columns, int64_t(sample), 0}))
      return error;
    first += tokens;
  }
  return llvm::Error::success();
}

llvm::Error Calibrator::Impl::runSample(int64_t sample, int64_t firstToken,
                                        ProgramRunner &runner,
                                        ArrayRef<Value> inputs,
                                        const Plan &plan, Value siteInput,
                                        Activations &next, Visit visit) {
  ArrayRef<int32_t> ids = samples.sequences[sample];
  int64_t length = ids.size();
  for (int64_t position = 0; position < length; position += options.maxTokens) {
    int64_t tokens = std::min(options.maxTokens, length - position);
    int64_t token = firstToken + position;
    if (int32_t *to = runner.getIds())
      llvm::copy(ids.slice(position, tokens), to);
    for (auto [input, rows] : llvm::zip_equal(inputs, runner.getInputs()))
      known->get(input).read(token, tokens, rows.data, rows.stride);
    runner.run(tokens, position);
    for (auto [result, rows] :
         llvm::zip_equal(plan.results, runner.getOutputs())) {
      if (plan.live.contains(result))
        next.get(result).write(token, tokens, rows.data, rows.stride);
      if (result != siteInput)
        continue;
      if (llvm::Error error = visit(
              {rows.data, tokens, rows.columns, rows.stride, sample, position}))
        return error;
    }
  }
  return llvm::Error::success();
}

LogicalResult Calibrator::advance(const Site &site, Visit visit) {
  LinearOp layer = site.layers.front();
  auto emitError = [&](llvm::Error error) {
    return layer.emitOpError("\"")
           << layer.getName() << "\" " << llvm::toString(std::move(error));
  };
  Impl::Plan plan;
  plan.live = getLiveActivations(layer);
  llvm::SetVector<Value> available;
  for (auto &[value, store] : impl->known->stores)
    available.insert(value);
  for (Value value : plan.live)
    if (!available.contains(value))
      plan.results.push_back(value);
  bool stored = available.contains(site.input);
  if (!stored && !plan.live.contains(site.input))
    plan.results.push_back(site.input);

  auto next = std::make_shared<Activations>();
  if (!plan.results.empty()) {
    if (llvm::Error error = impl->createStores(plan, *next))
      return emitError(std::move(error));
    Segment segment = extractSegment(impl->forward, available, plan.results);
    auto runner = ProgramRunner::create(
        std::move(segment.module), impl->kernels, impl->pool,
        impl->options.maxTokens, impl->samples.longest);
    if (failed(runner))
      return failure();
    int64_t firstToken = 0;
    for (auto [sample, ids] : llvm::enumerate(impl->samples.sequences)) {
      if (llvm::Error error =
              impl->runSample(sample, firstToken, **runner, segment.inputs,
                              plan, site.input, *next, visit))
        return emitError(std::move(error));
      firstToken += ids.size();
    }
  }
  // What is still needed stays, everything else makes room.
  for (auto &[value, store] : impl->known->stores)
    if (plan.live.contains(value))
      next->stores.insert({value, store});
  impl->known = std::move(next);
  if (stored)
    if (llvm::Error error = impl->visitStored(site.input, visit))
      return emitError(std::move(error));
  return success();
}

int64_t Calibrator::getActivationBytes(ArrayRef<Site> sites,
                                       const Samples &samples) {
  int64_t most = 0, before = 0;
  for (const Site &site : sites) {
    int64_t columns = 0;
    for (Value value : getLiveActivations(site.layers[0]))
      columns += getColumns(value);
    int64_t bytes = samples.tokens * columns * int64_t(sizeof(float));
    // Both are there while the model moves from one to the other.
    most = std::max(most, before + bytes);
    before = bytes;
  }
  return most;
}
