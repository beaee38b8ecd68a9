//===- Method.cpp - The driver of quantization methods --------------------===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llq/Quantize/Method.h"
#include "LayerRewriter.h"
#include "llq/Support/WeightBlob.h"

#include "mlir/IR/Builders.h"
#include "mlir/IR/Threading.h"
#include "llvm/Support/MathExtras.h"

#include <atomic>
#include <bit>
#include <cmath>

using namespace mlir;
using namespace llq;

/// Weights of a row block: large enough to amortise a task, small enough for a
/// core's cache. Independent of the number of threads, as is every sum over
/// blocks.
static constexpr int64_t kBlockWeights = int64_t(1) << 18;

//===----------------------------------------------------------------------===//
// LinearLayer, QuantizedWeight
//===----------------------------------------------------------------------===//

LinearLayer::LinearLayer(Operation *op, StringRef name, TypedAttr weight,
                         numerics::UniformGridOptions grid,
                         WeightReader &reader,
                         std::shared_ptr<const InputStatistics> statistics)
    : op(op), name(name), weight(weight),
      type(cast<RankedTensorType>(weight.getType())), grid(grid),
      reader(reader), statistics(std::move(statistics)) {}

bool LinearLayer::hasBias() const {
  auto layer = dyn_cast<LinearOp>(op);
  return layer && layer.getBias();
}

int64_t LinearLayer::getModelRows() const {
  auto rows = op->getAttrOfType<IntegerAttr>(kSketchAttr);
  return rows ? rows.getInt() : getRows();
}

bool LinearLayer::isSketch() const {
  return isa<LinearOp>(op) &&
         op->getParentOfType<ModuleOp>()->hasAttr(kSketchAttr);
}

llvm::Error LinearLayer::readRows(int64_t begin, int64_t end,
                                  MutableArrayRef<float> out) const {
  if (llvm::Error error = reader.readRows(weight, begin, end, out))
    return error;
  return verifyFinite(out, begin, getColumns());
}

InFlightDiagnostic LinearLayer::emitError() const {
  return op->emitOpError("\"") << name << "\" ";
}

FailureOr<QuantizedWeight>
QuantizedWeight::create(const LinearLayer &layer,
                        WeightFormatInterface format) {
  int64_t n = layer.getRows(), k = layer.getColumns();
  auto emitError = [&] { return layer.emitError(); };
  if (n <= 0 || k <= 0)
    return emitError() << "has no weights";
  if (failed(format.verifyShape(emitError, n, k)))
    return failure();
  QuantizedWeight result;
  result.rows = n;
  result.columns = k;
  result.format = format;
  for (WeightComponent &component : format.getComponents(n, k)) {
    llvm::Expected<AsmResourceBlob> blob =
        allocateBlob(*getTensorBytes(component.type));
    if (!blob)
      return layer.emitError() << llvm::toString(blob.takeError());
    result.components.push_back(component);
    result.blobs.push_back(std::move(*blob));
  }
  return result;
}

MutableArrayRef<char> QuantizedWeight::getData(size_t index) {
  return blobs[index].getMutableData();
}

/// Puts `value` in place of `target` while it is the better one.
template <typename Better>
static void improve(float &target, float value, Better better) {
  std::atomic_ref<float> shared(target);
  float present = shared.load();
  while (better(value, present) &&
         !shared.compare_exchange_weak(present, value))
    ;
}

void QuantizedWeight::addRange(float least, float most, int64_t count) {
  improve(scaleMin, least, std::less<float>());
  improve(scaleMax, most, std::greater<float>());
  std::atomic_ref<int64_t>(clipped).fetch_add(count);
}

void QuantizedWeight::permuteColumns(MutableArrayRef<float> values) const {
  if (inputOrder.empty())
    return;
  std::vector<float> row(columns);
  for (; !values.empty(); values = values.drop_front(columns)) {
    llvm::copy(values.take_front(columns), row.begin());
    for (auto [value, channel] :
         llvm::zip_equal(values.take_front(columns), inputOrder))
      value = row[channel];
  }
}

DictionaryAttr QuantizedWeight::takeComponents(StringRef name) {
  Builder b(format.getContext());
  NamedAttrList attributes;
  for (auto [component, blob] : llvm::zip_equal(components, blobs))
    attributes.append(component.name,
                      DenseResourceElementsAttr::get(
                          component.type, (name + "." + component.name).str(),
                          std::move(blob)));
  blobs.clear();
  return attributes.getDictionary(b.getContext());
}

//===----------------------------------------------------------------------===//
// Row blocks
//===----------------------------------------------------------------------===//

static int64_t getBlockRows(const LinearLayer &layer) {
  // Weights of ONNX graphs lie by column: so many rows are a whole cache line
  // of each.
  constexpr int64_t line = 32;
  return std::max(line, kBlockWeights / layer.getColumns() / line * line);
}

static int64_t getNumBlocks(const LinearLayer &layer) {
  return llvm::divideCeil(layer.getRows(), getBlockRows(layer));
}

/// Calls `visit` for the row blocks of `layer` in parallel, with their numbers.
/// Emits the error of the first block that fails.
static LogicalResult
forEachRowBlock(const LinearLayer &layer,
                function_ref<llvm::Error(int64_t, const RowBlock &)> visit) {
  int64_t columns = layer.getColumns(), blockRows = getBlockRows(layer);
  auto run = [&](int64_t index) -> llvm::Error {
    int64_t begin = index * blockRows;
    int64_t end = std::min(layer.getRows(), begin + blockRows);
    std::vector<float> weights((end - begin) * columns);
    if (llvm::Error error = layer.readRows(begin, end, weights))
      return error;
    return visit(index, {begin, end, columns, weights});
  };
  // Blocks start in order, so all those before a failing one are finished.
  std::vector<std::string> errors(getNumBlocks(layer));
  LogicalResult result = failableParallelForEachN(
      layer.getContext(), 0, errors.size(), [&](size_t index) {
        llvm::Error error = run(index);
        if (!error)
          return success();
        errors[index] = llvm::toString(std::move(error));
        return failure();
      });
  if (succeeded(result))
    return success();
  auto isError = [](const std::string &text) { return !text.empty(); };
  return layer.emitError() << *llvm::find_if(errors, isError);
}

/// Error of the rows of `block` in `weight`.
static numerics::ErrorStatistics measure(const RowBlock &block,
                                         QuantizedWeight &weight) {
  SmallVector<ArrayRef<char>> data;
  for (size_t i = 0, e = weight.getComponents().size(); i < e; ++i)
    data.push_back(weight.getData(i));
  std::vector<float> decoded(block.weights.size());
  weight.getFormat().dequantizeRows(data, weight.getRows(), block.columns,
                                    block.begin, block.end, decoded.data());
  std::vector<float> source = block.weights.vec();
  weight.permuteColumns(source);
  numerics::ErrorStatistics error;
  error.add(source, decoded);
  return error;
}

LogicalResult
llq::quantizeRowBlocks(const LinearLayer &layer, QuantizedWeight &result,
                       function_ref<llvm::Error(const RowBlock &)> quantize) {
  std::vector<numerics::ErrorStatistics> errors(getNumBlocks(layer));
  auto visit = [&](int64_t index, const RowBlock &block) -> llvm::Error {
    if (llvm::Error error = quantize(block))
      return error;
    errors[index] = measure(block, result);
    return llvm::Error::success();
  };
  if (failed(forEachRowBlock(layer, visit)))
    return failure();
  result.error.emplace();
  for (const numerics::ErrorStatistics &error : errors)
    result.error->merge(error);
  return success();
}

//===----------------------------------------------------------------------===//
// quantizeLayers
//===----------------------------------------------------------------------===//

LogicalResult llq::quantizeLayers(ModuleOp module, const WeightOptions &options,
                                  QuantizeLayerFn quantize) {
  FailureOr<SmallVector<SelectedWeight>> selection =
      selectWeights(module, options);
  if (failed(selection))
    return failure();
  LayerRewriter rewriter(module, options);
  for (const SelectedWeight &selected : *selection) {
    FailureOr<FinishedLayer> finished =
        rewriter.quantize(selected, rewriter.getLayer(selected), quantize);
    if (failed(finished))
      return failure();
    rewriter.replace(selected, *finished);
  }
  return success();
}
