//===- Calibrator.cpp - Runs a model layer by layer over samples ----------===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llq/Calibration/Calibrator.h"

#include "ProgramRunner.h"
#include "Segment.h"

#include "llq/Calibration/ActivationStore.h"
#include "llq/Codegen/CPU.h"

#include "mlir/IR/AsmState.h"
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
  if (forward.getNumResults() == 0)
    return forward.emitOpError("returns nothing, a model has a result");
  return forward;
}

LogicalResult llq::verifyIsIn(func::FuncOp forward, LinearOp layer) {
  if (layer->getBlock() == &forward.getBody().front())
    return success();
  return layer.emitLayerError()
         << "is not in @" << kForwardName
         << ", only layers that a model runs through can be calibrated";
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
  return getBlockName(site.layers.front());
}

StringRef llq::getBlockName(LinearOp layer) {
  StringRef name = layer.getName();
  if (!name.starts_with("layers."))
    return {};
  return name.take_front(name.find('.', StringRef("layers.").size()) + 1);
}

static int64_t getColumns(Value activation) {
  return cast<ShapedType>(activation.getType()).getDimSize(1);
}

/// The activations that a model which stands at `site` goes on from. It stands
/// right behind what makes the input of the site, in front of whatever reads
/// that: layers that read its channels in another order are a site of their
/// own, and may come first.
static llvm::SetVector<Value> getActivationsAt(const Site &site) {
  Operation *input = site.input.getDefiningOp();
  return getLiveActivations(
      input ? input->getNextNode()
            : &LinearOp(site.layers.front())->getBlock()->front());
}

using Stores = llvm::MapVector<Value, std::shared_ptr<ActivationStore>>;

/// A place of the model, and how samples get there. Which activations continue
/// from a place is known before they are computed.
struct Calibrator::Place {
  /// Emits errors.
  LinearOp layer;
  /// The inputs that the site at this place looks at; they may be none of those
  /// that continue.
  Value siteInput;
  llvm::SetVector<Value> live;
  std::string key;

  /// The way from another place, until it has been gone.
  State from;
  Segment segment;
  /// Results of the segment: live values that are new, then the site's input
  /// if it is no live value.
  SmallVector<Value> results;

  /// The live activations, once samples have come here.
  std::optional<Stores> stores;
};

namespace {
/// A segment and what its runner's inputs stand for.
struct CompiledSegment {
  std::unique_ptr<ProgramRunner> runner;
  SmallVector<Value> inputs;
};
} // namespace

struct Calibrator::Impl {
  Impl(func::FuncOp forward, const Samples &samples, ThreadPool &pool,
       const CalibratorOptions &options)
      : forward(forward), samples(samples), pool(pool), options(options) {
    place->stores.emplace();
  }

  func::FuncOp forward;
  Samples samples;
  ThreadPool &pool;
  CalibratorOptions options;
  std::optional<ContentStore> statistics;
  WeightReader reader;
  KernelCache kernels;
  /// The place where the model stands.
  State place = std::make_shared<Place>();

  std::string getFirstKey() const;
  llvm::Error computeKey(Place &next);

  LogicalResult reach(Place &to, Visit visit);
  llvm::Error createStores(Place &to);
  llvm::Expected<CompiledSegment> compile(Segment segment);
  /// Runs `segment` over every `step`-th sample and calls `visit` for its
  /// results.
  using VisitResult = function_ref<llvm::Error(Value result, int64_t token,
                                               const ActivationRows &)>;
  llvm::Error run(CompiledSegment &segment, const Stores &from,
                  ArrayRef<Value> results, VisitResult visit, int64_t step = 1);
  llvm::Error visitStored(Place &at, Visit visit);
};

Calibrator::Calibrator(func::FuncOp forward, const Samples &samples,
                       ThreadPool &pool, const CalibratorOptions &options)
    : impl(new Impl(forward, samples, pool, options)) {
  impl->options.maxTokens = std::min(options.maxTokens, samples.longest);
  if (impl->samples.kept)
    impl->place->key = impl->getFirstKey();
}

FailureOr<std::unique_ptr<Calibrator>> Calibrator::create(func::FuncOp forward,
                                                          ThreadPool &pool) {
  auto module = forward->getParentOfType<ModuleOp>();
  FailureOr<Samples> samples = getSamples(module);
  if (failed(samples))
    return failure();
  auto calibrator = std::make_unique<Calibrator>(forward, *samples, pool);
  if (samples->statistics.empty())
    return calibrator;
  auto store = ContentStore::open(samples->statistics);
  if (!store)
    return emitError(module.getLoc(), llvm::toString(store.takeError()));
  calibrator->impl->statistics = std::move(*store);
  return calibrator;
}

Calibrator::~Calibrator() = default;

int64_t Calibrator::getTokens() const { return impl->samples.tokens; }

LinearOp Calibrator::getLayer() const { return impl->place->layer; }

int64_t Calibrator::getInputColumns() const {
  return getColumns(impl->place->siteInput);
}

StringRef Calibrator::getKey() const { return impl->place->key; }

Calibrator::State Calibrator::getState() const { return impl->place; }

void Calibrator::setState(State state) { impl->place = std::move(state); }

const ContentStore *Calibrator::getStatisticsStore() const {
  return impl->statistics ? &*impl->statistics : nullptr;
}

ThreadPool &Calibrator::getPool() const { return impl->pool; }

//===----------------------------------------------------------------------===//
// Keys
//===----------------------------------------------------------------------===//

std::string Calibrator::Impl::getFirstKey() const {
  ContentKey key;
  // Levels differ in the last place of their results.
  const CPULevel *level = getHostCPULevel();
  key.add("llq " LLQ_VERSION).add(level ? level->name : "");
  for (ArrayRef<int32_t> ids : samples.sequences)
    key.addBytes({reinterpret_cast<const char *>(ids.data()),
                  ids.size() * sizeof(int32_t)});
  return key.finish();
}

/// Adds the operations of `segment`, and its weights by their values: names and
/// places of the weights do not matter.
static llvm::Error addSegment(ContentKey &key, Segment &segment,
                              WeightReader &reader) {
  auto function = segment.module->lookupSymbol<func::FuncOp>(kForwardName);
  AsmState names(function);
  for (Operation &op : function.getBody().front()) {
    if (isa<WeightOp, QuantizedWeightOp>(op)) {
      if (llvm::Error error = key.addWeight(&op, reader))
        return error;
      continue;
    }
    std::string text;
    llvm::raw_string_ostream stream(text);
    op.print(stream, names);
    key.add(text);
  }
  return llvm::Error::success();
}

llvm::Error Calibrator::Impl::computeKey(Place &next) {
  ContentKey key;
  key.add(place->key);
  if (next.segment.module)
    if (llvm::Error error = addSegment(key, next.segment, reader))
      return error;
  // Which of the values at hand are the inputs.
  auto addPosition = [&](ArrayRef<Value> values) {
    key.add(int64_t(llvm::find(values, next.siteInput) - values.begin()));
  };
  addPosition(next.results);
  addPosition(place->live.getArrayRef());
  next.key = key.finish();
  reader.release();
  return llvm::Error::success();
}

//===----------------------------------------------------------------------===//
// Moving and running
//===----------------------------------------------------------------------===//

LogicalResult Calibrator::moveTo(const Site &site) {
  auto next = std::make_shared<Place>();
  next->layer = site.layers.front();
  next->siteInput = site.input;
  next->live = getActivationsAt(site);
  const llvm::SetVector<Value> &known = impl->place->live;
  for (Value value : next->live)
    if (!known.contains(value))
      next->results.push_back(value);
  if (!known.contains(site.input) && !next->live.contains(site.input))
    next->results.push_back(site.input);
  if (!next->results.empty())
    next->segment = extractSegment(impl->forward, known, next->results);
  if (impl->samples.kept)
    if (llvm::Error error = impl->computeKey(*next))
      return next->layer.emitLayerError() << llvm::toString(std::move(error));
  next->from = impl->place;
  impl->place = std::move(next);
  return success();
}

LogicalResult Calibrator::visitInputs(Visit visit) {
  return impl->reach(*impl->place, visit);
}

struct Calibrator::Part::PartImpl {
  Calibrator::Impl &calibrator;
  State place;
  Value value;
  CompiledSegment segment;
};

Calibrator::Part::Part(std::unique_ptr<PartImpl> impl)
    : impl(std::move(impl)) {}
Calibrator::Part::Part(Part &&) = default;
Calibrator::Part::~Part() = default;

FailureOr<Calibrator::Part> Calibrator::compile(Value value) {
  Place &place = *impl->place;
  if (failed(impl->reach(place, nullptr)))
    return failure();
  auto segment =
      impl->compile(extractSegment(impl->forward, place.live, value));
  if (!segment)
    return place.layer.emitLayerError() << llvm::toString(segment.takeError());
  return Part(std::make_unique<Part::PartImpl>(
      Part::PartImpl{*impl, impl->place, value, std::move(*segment)}));
}

LogicalResult Calibrator::Part::reloadWeights() {
  return impl->segment.runner->reloadWeights();
}

LogicalResult Calibrator::Part::run(Visit visit, int64_t tokens) {
  Calibrator::Impl &calibrator = impl->calibrator;
  if (llvm::Error error = calibrator.run(
          impl->segment, *impl->place->stores, impl->value,
          [&](Value, int64_t, const ActivationRows &rows) {
            return visit(rows);
          },
          std::max<int64_t>(1, calibrator.samples.tokens / tokens)))
    return impl->place->layer.emitLayerError()
           << llvm::toString(std::move(error));
  return success();
}

llvm::Error Calibrator::Impl::createStores(Place &to) {
  int64_t bytes = 0;
  for (auto &[value, store] : *to.from->stores)
    bytes += store->getBytes();
  for (Value value : to.results) {
    if (!to.live.contains(value))
      continue;
    int64_t columns = getColumns(value);
    bytes += samples.tokens * columns * int64_t(sizeof(float));
    auto store = ActivationStore::create(samples.tokens, columns,
                                         bytes > options.memoryBudget);
    if (!store)
      return store.takeError();
    to.stores->insert(
        {value, std::make_shared<ActivationStore>(std::move(*store))});
  }
  return llvm::Error::success();
}

llvm::Error Calibrator::Impl::visitStored(Place &at, Visit visit) {
  auto found = at.stores->find(at.siteInput);
  if (found == at.stores->end())
    return llvm::createStringError("has inputs that samples have left behind");
  ActivationStore &store = *found->second;
  int64_t columns = store.getColumns(), first = 0;
  for (auto [sample, ids] : llvm::enumerate(samples.sequences)) {
    int64_t tokens = ids.size();
    llvm::Error error = visit(
        {store.getRow(first), tokens, columns, columns, int64_t(sample), 0});
    store.release(first, tokens);
    if (error)
      return error;
    first += tokens;
  }
  return llvm::Error::success();
}

llvm::Expected<CompiledSegment> Calibrator::Impl::compile(Segment segment) {
  auto runner = ProgramRunner::create(std::move(segment.module), kernels, pool,
                                      options.maxTokens, samples.longest);
  if (failed(runner))
    return llvm::createStringError("cannot be run");
  if ((*runner)->getInputs().size() != segment.inputs.size())
    return llvm::createStringError(
        "needs activations that are arguments of @forward, samples are token "
        "ids only");
  return CompiledSegment{std::move(*runner), std::move(segment.inputs)};
}

llvm::Error Calibrator::Impl::run(CompiledSegment &segment, const Stores &from,
                                  ArrayRef<Value> results, VisitResult visit,
                                  int64_t step) {
  ProgramRunner &runner = *segment.runner;
  int64_t firstToken = 0;
  for (auto [sample, ids] : llvm::enumerate(samples.sequences)) {
    int64_t length = sample % step == 0 ? ids.size() : 0;
    for (int64_t position = 0; position < length;
         position += options.maxTokens) {
      int64_t tokens = std::min(options.maxTokens, length - position);
      int64_t token = firstToken + position;
      if (int32_t *to = runner.getIds())
        llvm::copy(ids.slice(position, tokens), to);
      for (auto [input, rows] :
           llvm::zip_equal(segment.inputs, runner.getInputs()))
        from.find(input)->second->read(token, tokens, rows.data, rows.stride);
      runner.run(tokens, position);
      for (auto [result, rows] : llvm::zip_equal(results, runner.getOutputs()))
        if (llvm::Error error = visit(result, token,
                                      {rows.data, tokens, rows.columns,
                                       rows.stride, int64_t(sample), position}))
          return error;
    }
    firstToken += ids.size();
  }
  return llvm::Error::success();
}

/// Brings the samples to `to`; those of the site there go past `visit`, if
/// there is one.
LogicalResult Calibrator::Impl::reach(Place &to, Visit visit) {
  bool visited = false;
  if (!to.stores) {
    if (failed(reach(*to.from, nullptr)))
      return failure();
    to.stores.emplace();
    if (llvm::Error error = createStores(to))
      return to.layer.emitLayerError() << llvm::toString(std::move(error));
    if (to.segment.module) {
      auto keep = [&](Value result, int64_t token, const ActivationRows &rows) {
        if (to.live.contains(result))
          to.stores->find(result)->second->write(token, rows.tokens, rows.data,
                                                 rows.stride);
        return result == to.siteInput && visit ? visit(rows)
                                               : llvm::Error::success();
      };
      auto segment = compile(std::move(to.segment));
      if (!segment)
        return to.layer.emitLayerError() << llvm::toString(segment.takeError());
      if (llvm::Error error = run(*segment, *to.from->stores, to.results, keep))
        return to.layer.emitLayerError() << llvm::toString(std::move(error));
      visited = llvm::is_contained(to.results, to.siteInput);
    }
    // What is still needed stays, everything else makes room.
    for (auto &[value, store] : *to.from->stores)
      if (to.live.contains(value) || (visit && value == to.siteInput))
        to.stores->insert({value, store});
    to.from.reset();
  }
  if (!visit || visited)
    return success();
  llvm::Error error = visitStored(to, visit);
  if (!to.live.contains(to.siteInput))
    to.stores->erase(to.siteInput);
  if (error)
    return to.layer.emitLayerError() << llvm::toString(std::move(error));
  return success();
}

//===----------------------------------------------------------------------===//
// Memory
//===----------------------------------------------------------------------===//

/// Most bytes of activations that are kept at a time.
static int64_t getActivationBytes(ArrayRef<Site> sites, int64_t tokens) {
  int64_t most = 0, before = 0, blockStart = 0;
  std::optional<StringRef> block;
  for (const Site &site : sites) {
    int64_t columns = 0;
    for (Value value : getActivationsAt(site))
      columns += getColumns(value);
    int64_t bytes = tokens * columns * int64_t(sizeof(float));
    // Those in front of the block, to run it once more, and both of where the
    // samples are and where they go.
    most = std::max(most, blockStart + before + bytes);
    before = bytes;
    if (block != getBlockName(site))
      blockStart = bytes;
    block = getBlockName(site);
  }
  return most;
}

/// Of a second moment: a sum in f64 and a product in f32, then the mean and two
/// factors of it.
static int64_t getMomentBytes(int64_t columns) {
  return 12 * columns * columns;
}

/// A layer in f32, before and after.
static int64_t getWeightBytes(LinearOp layer) {
  return getColumns(layer.getResult()) * getColumns(layer.getInput()) * 2 *
         int64_t(sizeof(float));
}

int64_t llq::getLayerBytes(LinearOp layer) {
  return getMomentBytes(getColumns(layer.getInput())) + getWeightBytes(layer);
}

/// The largest of what statistics of a site in a decoder block, a factor of its
/// second moment, and its layers in f32 take.
static int64_t getSiteBytes(ArrayRef<Site> sites) {
  int64_t most = 0;
  for (const Site &site : sites) {
    if (getBlockName(site).empty())
      continue;
    int64_t bytes = getMomentBytes(getColumns(site.input));
    for (LinearOp layer : site.layers)
      bytes += getWeightBytes(layer);
    most = std::max(most, bytes);
  }
  return most;
}

/// Packed weights and buffers of the largest part that runs at once, a decoder
/// block.
static int64_t getProgramBytes(ArrayRef<Site> sites, int64_t tokens,
                               int64_t longest) {
  llvm::StringMap<int64_t> blocks;
  int64_t most = 0, widest = 0;
  for (const Site &site : sites) {
    if (getBlockName(site).empty())
      continue;
    int64_t &bytes = blocks[getBlockName(site)];
    for (LinearOp layer : site.layers) {
      auto type = dyn_cast<ShapedType>(layer.getWeight().getType());
      bytes += type ? getTensorBytes(type).value_or(0) : 0;
      widest = std::max(widest, getColumns(layer.getResult()));
    }
    most = std::max(most, bytes);
  }
  // Inputs, outputs and temporaries of a pass, keys and values of a sample.
  constexpr int64_t buffers = 6;
  return most +
         (buffers * tokens + 2 * longest) * widest * int64_t(sizeof(float));
}

CalibrationBytes llq::getCalibrationBytes(func::FuncOp forward, int64_t tokens,
                                          int64_t longest,
                                          const CalibratorOptions &options) {
  SmallVector<Site> sites = getSites(forward);
  int64_t activations = getActivationBytes(sites, tokens);
  int64_t inMemory = std::min(activations, options.memoryBudget);
  return {
      inMemory + getSiteBytes(sites) +
          getProgramBytes(sites, std::min(options.maxTokens, longest), longest),
      activations - inMemory};
}
