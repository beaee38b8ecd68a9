//===- LowerToCPU.cpp - Dispatch regions to a program and kernels ---------===//
//
// Walks the regions in order, gives every value a place in a buffer, and turns
// each region into the dispatch of one of the kernels of Kernels.h.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "Decoder.h"
#include "Kernels.h"

#include "dialects/LLQ/LLQ.h"
#include "llq/Codegen/CPU.h"
#include "llq/Codegen/Passes.h"
#include "llq/Packing/CPULayout.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/Builders.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/Support/CheckedArithmetic.h"

using namespace mlir;
using namespace llq;

namespace llq {
#define GEN_PASS_DEF_LOWERTOCPUPASS
#include "llq/Codegen/Passes.h.inc"
} // namespace llq

namespace {

/// Where a value lies: columns [offset, offset + columns) of the rows of a
/// buffer. Offsets and strides are in f32 elements; quantized activations and
/// rotary tables always have a buffer of their own.
struct Place {
  Value buffer;
  int64_t offset = 0;
  int64_t stride = 0;
};

class Lowering {
public:
  Lowering(ModuleOp module, func::FuncOp forward, ArrayRef<ModuleOp> kernels,
           ArrayRef<const CPULevel *> levels, int64_t maxTokens)
      : module(module), forward(forward), kernels(kernels), levels(levels),
        maxTokens(maxTokens), b(module.getContext()) {}

  LogicalResult run();

private:
  LogicalResult lower(RegionOp region);
  LogicalResult lowerProduct(RegionOp region, ArrayRef<LinearOp> linears,
                             SwiGLUOp gated, AddOp residual);
  LogicalResult lowerRow(RegionOp region, RMSNormOp norm,
                         PermuteChannelsOp permute,
                         QuantizeActivationOp quantize);
  LogicalResult lowerRotate(RotateOp op);
  LogicalResult lowerAttention(RegionOp region, AttentionOp op);
  LogicalResult lowerEmbedding(EmbeddingOp op);
  LogicalResult lowerRotary(RotaryTableOp op);
  LogicalResult lowerRotary(RotaryLookupOp op);
  LogicalResult lowerElementwise(Operation *op);
  LogicalResult lowerArguments();
  LogicalResult lowerResult(func::ReturnOp op, unsigned index);
  LogicalResult lowerReturn(func::ReturnOp op);

  /// A new buffer of the program.
  Value createBuffer(BufferKind kind, StringRef name, int64_t bytes,
                     Attribute content = {});
  Value createRows(StringRef name, int64_t columns);
  /// The buffer of a product's weights, shared by equal ones.
  FailureOr<Value> getWeights(Operation *op, ArrayRef<Value> weights,
                              ArrayRef<StringAttr> names,
                              ArrayRef<DictionaryAttr> methods,
                              bool interleaved);
  Value getVectors(const Twine &name, ArrayRef<Attribute> values);
  template <typename Kernel>
  void dispatch(const Kernel &kernel, int64_t items, int64_t itemsPerToken,
                ValueRange buffers, int64_t writes = 1);
  void place(Value value, Place at);
  FailureOr<Place> find(Operation *user, Value value);
  /// The same for a value that must have a buffer of its own.
  FailureOr<Place> findRows(Operation *user, Value value);

  ModuleOp module;
  func::FuncOp forward;
  ArrayRef<ModuleOp> kernels;
  ArrayRef<const CPULevel *> levels;
  int64_t maxTokens;
  OpBuilder b;
  ProgramOp program;
  DenseMap<Value, Place> places;
  llvm::StringSet<> emitted;
  DenseMap<Value, Value> weightBuffers;
  /// Tables of rotations, by whether they are transposed.
  DenseMap<std::pair<Attribute, unsigned>, Value> rotationTables;
  int64_t scratchBytes = 64;
  int64_t temporaries = 0;
};

} // namespace

static int64_t getColumns(Value value) {
  if (auto quantized = dyn_cast<QuantizedType>(value.getType()))
    return quantized.getColumns();
  return cast<ShapedType>(value.getType()).getDimSize(1);
}

static int64_t getRows(Type type) {
  if (auto quantized = dyn_cast<QuantizedType>(type))
    return quantized.getRows();
  return cast<ShapedType>(type).getDimSize(0);
}

//===----------------------------------------------------------------------===//
// Buffers
//===----------------------------------------------------------------------===//

Value Lowering::createBuffer(BufferKind kind, StringRef name, int64_t bytes,
                             Attribute content) {
  bool weight = kind == BufferKind::Weight, state = kind == BufferKind::State;
  return BufferOp::create(b, forward.getLoc(), BufferType::get(b.getContext()),
                          kind, name, weight ? bytes : 0,
                          !weight && !state ? bytes : 0, state ? bytes : 0,
                          IntegerAttr(), content);
}

Value Lowering::createRows(StringRef name, int64_t columns) {
  std::string unique = (name + "." + Twine(temporaries++)).str();
  return createBuffer(BufferKind::Temporary, unique,
                      4 * getPaddedColumns(columns));
}

FailureOr<Value> Lowering::getWeights(Operation *op, ArrayRef<Value> weights,
                                      ArrayRef<StringAttr> names,
                                      ArrayRef<DictionaryAttr> methods,
                                      bool interleaved) {
  // A weight used alone twice (a tied embedding and head) is stored once.
  if (weights.size() == 1)
    if (Value known = weightBuffers.lookup(weights[0]))
      return known;
  SmallVector<WeightPartAttr> parts;
  int64_t bytes = 0;
  for (auto [weight, name, method] : llvm::zip(weights, names, methods)) {
    Type type = weight.getType();
    DictionaryAttr components;
    if (auto source = weight.getDefiningOp<WeightOp>())
      components =
          b.getDictionaryAttr(b.getNamedAttr("values", source.getValue()));
    else if (auto quantized = weight.getDefiningOp<QuantizedWeightOp>())
      components = quantized.getComponents();
    else
      return op->emitOpError() << "needs a constant weight for " << name;
    if (failed(getTileBytes(
            type, [&] { return op->emitError() << "layer " << name << ": "; })))
      return failure();
    bytes += getPackedBytes(type);
    parts.push_back(
        WeightPartAttr::get(b.getContext(), name, type, components, method));
  }
  auto content = PackedAttr::get(b.getContext(), b.getStringAttr("cpu"), parts,
                                 interleaved);
  Value buffer = createBuffer(BufferKind::Weight, names[0], bytes, content);
  if (weights.size() == 1)
    weightBuffers[weights[0]] = buffer;
  return buffer;
}

/// Bytes of one vector of #llq.padded_vector, `padding` elements at a time.
static int64_t getVectorBytes(Attribute vector, int64_t padding) {
  if (auto floats = dyn_cast<DenseF32ArrayAttr>(vector))
    return 4 * int64_t(llvm::alignTo(floats.size(), padding));
  auto type = cast<ShapedType>(cast<TypedAttr>(vector).getType());
  bool isOrder = type.getElementType().isInteger(16);
  return (isOrder ? kOrderBytes : 4) *
         int64_t(llvm::alignTo(type.getNumElements(), padding));
}

Value Lowering::getVectors(const Twine &name, ArrayRef<Attribute> values) {
  int64_t bytes = 0;
  for (Attribute value : values)
    bytes += getVectorBytes(value, kBlockColumns);
  return createBuffer(
      BufferKind::Weight, name.str(), bytes,
      PaddedVectorAttr::get(b.getContext(), values, kBlockColumns));
}

void Lowering::place(Value value, Place at) {
  places[value] = at;
  // The same place seen from outside the region.
  for (OpOperand &use : value.getUses())
    if (auto yield = dyn_cast<YieldOp>(use.getOwner()))
      places[yield->getParentOp()->getResult(use.getOperandNumber())] = at;
}

FailureOr<Place> Lowering::find(Operation *user, Value value) {
  auto it = places.find(value);
  if (it == places.end())
    return user->emitOpError("has an operand that the cpu target cannot place");
  return it->second;
}

FailureOr<Place> Lowering::findRows(Operation *user, Value value) {
  FailureOr<Place> at = find(user, value);
  if (succeeded(at) &&
      (at->offset != 0 || at->stride != getPaddedColumns(getColumns(value))))
    return user->emitOpError("needs an operand with a buffer of its own");
  return at;
}

template <typename Kernel>
void Lowering::dispatch(const Kernel &kernel, int64_t items,
                        int64_t itemsPerToken, ValueRange buffers,
                        int64_t writes) {
  std::string name = kernel.getName();
  if (emitted.insert(name).second)
    for (auto [target, level] : llvm::zip(kernels, levels))
      kernel.emit(target, *level);
  DispatchOp::create(b, forward.getLoc(), name, items, itemsPerToken, writes,
                     /*outputs_only=*/false, buffers);
}

//===----------------------------------------------------------------------===//
// Regions
//===----------------------------------------------------------------------===//

/// Whether a region of linear layers is one that the product kernel computes.
static bool isProduct(ArrayRef<LinearOp> linears, SwiGLUOp gated,
                      AddOp residual) {
  LinearOp first = linears.front(), last = linears.back();
  if (gated)
    return !residual && linears.size() == 2 && !first.getBias() &&
           !last.getBias() && gated.getGate() == first.getResult() &&
           gated.getUp() == last.getResult();
  if (residual)
    return linears.size() == 1 &&
           llvm::count(residual->getOperands(), first.getResult()) == 1;
  return true;
}

/// Whether exact sums over the groups of the layer's weight fit 32 bits.
static LogicalResult checkUnits(LinearOp op) {
  int64_t columns = getWeightColumns(op.getWeight().getType());
  std::unique_ptr<CPUDecoder> decoder =
      createCPUDecoder(op.getWeight().getType());
  if (!decoder || std::min(columns, decoder->unitColumns) <= kMostUnitColumns)
    return success();
  return op.emitLayerError()
         << "has groups of " << columns
         << " weights; integer sums of 32 bits hold the products of "
         << kMostUnitColumns;
}

LogicalResult Lowering::lowerProduct(RegionOp region,
                                     ArrayRef<LinearOp> linears, SwiGLUOp gated,
                                     AddOp residual) {
  LinearOp first = linears.front();
  FailureOr<Place> x = findRows(first, first.getInput());
  if (failed(x))
    return failure();
  FailureOr<ActivationType> input =
      ActivationType::get(first.getInput().getType(), [&] {
        return first.emitOpError("\"") << first.getName() << "\": ";
      });
  if (failed(input))
    return failure();
  if (input->isQuantized() && !isa<QuantizedType>(first.getWeight().getType()))
    return first.emitLayerError() << "has quantized activations and a "
                                     "weight that is not";
  if (input->hasOneScale() && failed(checkUnits(first)))
    return failure();
  SmallVector<Value> weights;
  SmallVector<StringAttr> names;
  SmallVector<DictionaryAttr> methods;
  SmallVector<Attribute> biases;
  int64_t columns = 0;
  for (LinearOp op : linears) {
    weights.push_back(op.getWeight());
    names.push_back(op.getNameAttr());
    methods.push_back(op.getMethodAttr());
    columns += getPaddedRows(getRows(op.getWeight().getType()));
    if (op.getBias()) {
      auto bias = op.getBias().getDefiningOp<WeightOp>();
      if (!bias)
        return op.emitOpError("needs a constant bias");
      biases.push_back(bias.getValue());
    }
  }
  FailureOr<Value> weight =
      getWeights(first, weights, names, methods, bool(gated));
  if (failed(weight))
    return failure();

  LinearKernel kernel;
  kernel.weight = weights.front().getType();
  kernel.columns = columns;
  kernel.input = *input;
  kernel.bias = !biases.empty();
  kernel.epilogue = gated      ? LinearKernel::Epilogue::SwiGLU
                    : residual ? LinearKernel::Epilogue::Residual
                               : LinearKernel::Epilogue::Store;
  SmallVector<Value> buffers = {x->buffer, *weight};
  if (kernel.bias)
    buffers.push_back(getVectors(names[0].getValue() + ".bias", biases));
  if (residual) {
    Value other = residual.getLhs() == first.getResult() ? residual.getRhs()
                                                         : residual.getLhs();
    FailureOr<Place> at = findRows(residual, other);
    if (failed(at))
      return failure();
    buffers.push_back(at->buffer);
  }
  Value y = createRows(gated ? "gated" : names[0].getValue(),
                       gated ? columns / 2 : columns);
  buffers.push_back(y);
  scratchBytes = std::max(scratchBytes, kernel.getScratchBytes());
  dispatch(kernel, kernel.getItems(), 0, buffers);

  int64_t stride = gated ? columns / 2 : columns, offset = 0;
  if (gated)
    place(gated.getResult(), {y, 0, stride});
  else if (residual)
    place(residual.getResult(), {y, 0, stride});
  else
    for (LinearOp op : linears) {
      place(op.getResult(), {y, offset, stride});
      offset += getPaddedRows(getRows(op.getWeight().getType()));
    }
  return success();
}

/// `order` as the kernels read it, or null if there are too many channels.
/// Padding stays where it is.
static Attribute packOrder(PermuteChannelsOp permute) {
  int64_t columns = getColumns(permute.getResult());
  if (columns > kMostPermutedColumns)
    return {};
  SmallVector<int16_t> channels;
  for (int32_t channel : permute.getOrder().getValues<int32_t>())
    channels.push_back(int16_t(channel));
  for (int64_t k = columns; k < getPaddedColumns(columns); ++k)
    channels.push_back(int16_t(k));
  auto type = RankedTensorType::get({int64_t(channels.size())},
                                    IntegerType::get(permute.getContext(), 16));
  return DenseElementsAttr::get(type, ArrayRef(channels));
}

LogicalResult Lowering::lowerRow(RegionOp region, RMSNormOp norm,
                                 PermuteChannelsOp permute,
                                 QuantizeActivationOp quantize) {
  // Each reads the one in front of it.
  SmallVector<Operation *> ops;
  for (Operation *op :
       {norm.getOperation(), permute.getOperation(), quantize.getOperation()})
    if (op) {
      if (!ops.empty() && op->getOperand(0) != ops.back()->getResult(0))
        return region.emitOpError("is no group of llq-form-dispatches");
      ops.push_back(op);
    }
  Operation *op = ops.front();
  Value input = op->getOperand(0);
  FailureOr<Place> x = findRows(op, input);
  if (failed(x))
    return failure();
  FailureOr<ActivationType> result = ActivationType();
  if (quantize)
    result = ActivationType::get(quantize.getType(),
                                 [&] { return quantize.emitOpError(); });
  if (failed(result))
    return failure();
  NormKernel kernel;
  kernel.columns = getColumns(input);
  kernel.norm = bool(norm);
  kernel.permute = bool(permute);
  kernel.result = *result;
  kernel.epsilon = norm ? norm.getEpsilon().convertToFloat() : 0;
  int64_t padded = getPaddedColumns(kernel.columns);
  SmallVector<Attribute> vectors;
  if (norm) {
    auto weight = norm.getWeight().getDefiningOp<WeightOp>();
    if (!weight)
      return norm.emitOpError("needs a constant weight");
    vectors.push_back(weight.getValueAttr());
  }
  if (permute) {
    vectors.push_back(packOrder(permute));
    if (!vectors.back())
      return permute.emitOpError("the cpu target permutes up to ")
             << kMostPermutedColumns << " channels, found " << kernel.columns;
  }
  SmallVector<Value> buffers = {x->buffer};
  if (!vectors.empty())
    buffers.push_back(
        getVectors((norm ? "norm." : "order.") + Twine(temporaries), vectors));
  if (quantize)
    if (auto format = dyn_cast<StaticAttr>(quantize.getType().getFormat()))
      buffers.push_back(
          getVectors("scale." + Twine(temporaries),
                     b.getDenseF32ArrayAttr(
                         format.getScale().getValue().convertToFloat())));
  Value y;
  if (quantize)
    y = createBuffer(BufferKind::Temporary,
                     ("quantized." + Twine(temporaries++)).str(),
                     kernel.result.getRowBytes(kernel.columns));
  else
    y = createRows(permute ? "permuted" : "norm", kernel.columns);
  buffers.push_back(y);
  dispatch(kernel, 0, 1, buffers);
  place(ops.back()->getResult(0), {y, 0, padded});
  return success();
}

LogicalResult Lowering::lowerRotate(RotateOp op) {
  FailureOr<Place> x = findRows(op, op.getInput());
  if (failed(x))
    return failure();
  RotationAttr rotation = op.getRotation();
  bool isHadamard = rotation.getKind() == RotationKind::Hadamard;
  RotateKernel kernel{
      rotation.getKind(),         rotation.getSize(),
      getColumns(op.getResult()), op.getTransposed(),
      bool(op.getScale()),        isHadamard && rotation.getSeed() != 0};
  if (failed(kernel.verify([&] { return op.emitOpError(); })))
    return failure();
  SmallVector<Value> buffers = {x->buffer};
  if (op.getScale()) {
    auto scale = op.getScale().getDefiningOp<WeightOp>();
    if (!scale)
      return op.emitOpError("needs a constant scale");
    buffers.push_back(
        getVectors("scale." + Twine(temporaries), scale.getValueAttr()));
  }
  if (kernel.hasTables()) {
    // Layers of one width share their tables.
    Value &tables = rotationTables[{rotation, kernel.transposed}];
    if (!tables)
      tables = getVectors("rotation." + Twine(temporaries),
                          kernel.getTables(b, rotation.getSeed()));
    buffers.push_back(tables);
  }
  Value y = createRows("rotated", kernel.columns);
  buffers.push_back(y);
  scratchBytes = std::max(scratchBytes, kernel.getScratchBytes());
  dispatch(kernel, 0, 1, buffers);
  place(op.getResult(), {y, 0, getPaddedColumns(kernel.columns)});
  return success();
}

LogicalResult Lowering::lowerAttention(RegionOp region, AttentionOp op) {
  Value q = op.getQuery(), k = op.getKey();
  auto inRegion = [&](Value value) {
    auto rope = value.getDefiningOp<RopeOp>();
    return rope && rope->getParentOp() == region ? rope : RopeOp();
  };
  RopeOp ropeQ = inRegion(q), ropeK = inRegion(k);
  RopeAppendKernel append;
  append.shape = {int64_t(op.getHeads()), int64_t(op.getKvHeads()),
                  op.getHeadDim(), op.getCache()};
  if (append.shape.headDim % 2)
    return op.emitOpError("needs an even head dimension on the cpu target");
  append.rotateQuery = bool(ropeQ);
  append.rotateKey = bool(ropeK);
  RopeOp rope = ropeQ ? ropeQ : ropeK;
  append.interleaved = rope && rope.getInterleaved();
  FailureOr<Place> qAt = find(op, ropeQ ? ropeQ.getInput() : q);
  FailureOr<Place> kAt = find(op, ropeK ? ropeK.getInput() : k);
  FailureOr<Place> vAt = find(op, op.getValue());
  if (failed(qAt) || failed(kAt) || failed(vAt))
    return failure();
  // Without rotation any buffer stands in for the table.
  FailureOr<Place> table = rope ? find(op, rope.getCos()) : qAt;
  if (failed(table))
    return failure();
  // The kernel finds the sines behind the cosines.
  if (rope) {
    FailureOr<Place> sines = find(op, rope.getSin());
    if (failed(sines))
      return failure();
    if (table->offset != 0 || sines->buffer != table->buffer ||
        sines->offset == 0 || getColumns(rope.getCos()) * 2 != op.getHeadDim())
      return rope.emitOpError("needs cosines and sines of one table for heads "
                              "of ")
             << op.getHeadDim();
  }
  append.qOffset = qAt->offset;
  append.qStride = qAt->stride;
  append.kOffset = kAt->offset;
  append.kStride = kAt->stride;
  append.vOffset = vAt->offset;
  append.vStride = vAt->stride;
  const AttentionShape &shape = append.shape;
  int64_t columns = shape.heads * shape.headDim;
  program->setAttr("kv_cache",
                   b.getStringAttr(stringifyCacheType(op.getCache())));
  Value rotated = createRows("rotated", columns);
  Value cache =
      createBuffer(BufferKind::State, ("kv." + Twine(op.getLayer())).str(),
                   shape.getBlockBytes() / 16);
  dispatch(
      append, 0, shape.kvHeads,
      {qAt->buffer, kAt->buffer, vAt->buffer, table->buffer, rotated, cache},
      /*writes=*/2);
  AttentionKernel attention{shape, op.getScale().convertToFloat()};
  scratchBytes = std::max(
      {scratchBytes, append.getScratchBytes(), attention.getScratchBytes()});
  Value y = createRows("attention", columns);
  dispatch(attention, 0, shape.kvHeads, {rotated, cache, y});
  place(op.getResult(), {y, 0, getPaddedColumns(columns)});
  return success();
}

LogicalResult Lowering::lowerEmbedding(EmbeddingOp op) {
  FailureOr<Place> ids = find(op, op.getIds());
  FailureOr<Value> table =
      getWeights(op, op.getTable(), b.getStringAttr("embed_tokens"),
                 op.getMethodAttr(), /*interleaved=*/false);
  if (failed(ids) || failed(table))
    return failure();
  EmbeddingKernel kernel{op.getTable().getType()};
  int64_t columns = getColumns(op.getResult());
  Value y = createRows("embedding", columns);
  dispatch(kernel, 0, 1, {ids->buffer, *table, y});
  place(op.getResult(), {y, 0, getPaddedColumns(columns)});
  return success();
}

/// The value itself where `value` is the result of a region.
static Value lookThrough(Value value) {
  auto region = value.getDefiningOp<RegionOp>();
  if (!region)
    return value;
  return region.getBody().front().getTerminator()->getOperand(
      cast<OpResult>(value).getResultNumber());
}

LogicalResult Lowering::lowerRotary(RotaryTableOp op) {
  // The kernel counts from the positions before the call.
  if (!lookThrough(op.getPositions()).getDefiningOp<PositionsOp>())
    return op.emitOpError("needs the positions of the call");
  RotaryKernel kernel{int64_t(op.getFrequencies().size()),
                      op.getScale().convertToFloat()};
  int64_t padded = (kernel.half + 15) / 16 * 16;
  Value frequencies = getVectors("rotary_frequencies", op.getFrequenciesAttr());
  Value y = createBuffer(BufferKind::Temporary, "rotary", 8 * padded);
  dispatch(kernel, 0, 1, {frequencies, y});
  place(op.getCos(), {y, 0, 2 * padded});
  place(op.getSin(), {y, padded, 2 * padded});
  return success();
}

LogicalResult Lowering::lowerRotary(RotaryLookupOp op) {
  if (!lookThrough(op.getPositions()).getDefiningOp<PositionsOp>())
    return op.emitOpError("needs the positions of the call");
  auto cosines = op.getCosTable().getDefiningOp<WeightOp>();
  auto sines = op.getSinTable().getDefiningOp<WeightOp>();
  if (!cosines || !sines)
    return op.emitOpError("needs constant tables");
  RotaryLookupKernel kernel{getColumns(op.getCosTable()),
                            getRows(op.getCosTable().getType())};
  if (auto a = module->getAttrOfType<ArchitectureAttr>(kArchitectureAttr);
      a && a.getContextLength() > kernel.rows)
    return op.emitOpError("has tables for ")
           << kernel.rows << " positions, the context is "
           << a.getContextLength();
  // Rows follow each other without padding, as they are stored.
  std::optional<int64_t> elements = llvm::checkedMul(kernel.rows, kernel.half);
  std::optional<int64_t> bytes;
  if (elements)
    bytes = llvm::checkedMul<int64_t>(getPaddedColumns(*elements), 4);
  if (!bytes || kernel.rows < 1)
    return op.emitOpError("the cpu target cannot hold tables of ")
           << kernel.rows << " x " << kernel.half;
  int64_t padded = (kernel.half + 15) / 16 * 16;
  Value c = getVectors("rotary_cosines", cosines.getValueAttr());
  Value s = getVectors("rotary_sines", sines.getValueAttr());
  Value y = createBuffer(BufferKind::Temporary, "rotary", 8 * padded);
  dispatch(kernel, 0, 1, {c, s, y});
  place(op.getCos(), {y, 0, 2 * padded});
  place(op.getSin(), {y, padded, 2 * padded});
  return success();
}

LogicalResult Lowering::lowerElementwise(Operation *op) {
  FailureOr<Place> lhs = find(op, op->getOperand(0));
  FailureOr<Place> rhs = find(op, op->getOperand(1));
  if (failed(lhs) || failed(rhs))
    return failure();
  int64_t columns = getColumns(op->getResult(0));
  ElementwiseKernel kernel{isa<AddOp>(op) ? ElementwiseKernel::Kind::Add
                                          : ElementwiseKernel::Kind::SwiGLU,
                           columns,
                           lhs->offset,
                           lhs->stride,
                           rhs->offset,
                           rhs->stride};
  Value y = createRows(isa<AddOp>(op) ? "sum" : "gated", columns);
  dispatch(kernel, 0, 1, {lhs->buffer, rhs->buffer, y});
  place(op->getResult(0), {y, 0, getPaddedColumns(columns)});
  return success();
}

LogicalResult Lowering::lower(RegionOp region) {
  SmallVector<LinearOp> linears;
  SwiGLUOp gated;
  AddOp residual;
  RMSNormOp norm;
  PermuteChannelsOp permute;
  QuantizeActivationOp quantize;
  for (Operation &op : region.getBody().front()) {
    if (isa<YieldOp, RopeOp, PositionsOp>(op))
      continue;
    if (auto attention = dyn_cast<AttentionOp>(op))
      return lowerAttention(region, attention);
    if (auto rotate = dyn_cast<RotateOp>(op))
      return lowerRotate(rotate);
    if (auto embedding = dyn_cast<EmbeddingOp>(op))
      return lowerEmbedding(embedding);
    if (auto rotary = dyn_cast<RotaryTableOp>(op))
      return lowerRotary(rotary);
    if (auto rotary = dyn_cast<RotaryLookupOp>(op))
      return lowerRotary(rotary);
    if (auto linear = dyn_cast<LinearOp>(op))
      linears.push_back(linear);
    else if (auto found = dyn_cast<SwiGLUOp>(op))
      gated = found;
    else if (auto found = dyn_cast<AddOp>(op))
      residual = found;
    else if (auto found = dyn_cast<RMSNormOp>(op))
      norm = found;
    else if (auto found = dyn_cast<PermuteChannelsOp>(op))
      permute = found;
    else if (auto found = dyn_cast<QuantizeActivationOp>(op))
      quantize = found;
    else
      return op.emitOpError("has no kernel on the cpu target");
  }
  if (!linears.empty()) {
    if (!isProduct(linears, gated, residual))
      return region.emitOpError("is no group of llq-form-dispatches");
    return lowerProduct(region, linears, gated, residual);
  }
  if (norm || permute || quantize)
    return lowerRow(region, norm, permute, quantize);
  if (gated)
    return lowerElementwise(gated);
  if (residual)
    return lowerElementwise(residual);
  // Positions are known to every kernel, and rope alone is not formed.
  if (llvm::any_of(region.getBody().front(),
                   [](Operation &op) { return isa<RopeOp>(op); }))
    return region.emitOpError(
        "holds a rotary embedding apart from its attention");
  return success();
}

/// A result becomes an output of the program: `outputs` if it is the only one,
/// `outputs.0` and so on otherwise.
LogicalResult Lowering::lowerResult(func::ReturnOp op, unsigned index) {
  Value value = op.getOperand(index);
  FailureOr<Place> at = find(op, value);
  if (failed(at))
    return failure();
  auto buffer = at->buffer.getDefiningOp<BufferOp>();
  if (at->offset != 0 || at->stride != getPaddedColumns(getColumns(value)) ||
      buffer.getKind() != BufferKind::Temporary)
    return op.emitOpError("needs a result with a buffer of its own");
  buffer.setKind(BufferKind::Output);
  buffer.setName(op.getNumOperands() == 1 ? "outputs"
                                          : "outputs." + std::to_string(index));
  return success();
}

/// The returned rows become the program's outputs. Everything that only a
/// single one needs and that stands alone behind the last block runs for the
/// wanted tokens only.
LogicalResult Lowering::lowerReturn(func::ReturnOp op) {
  for (unsigned i = 0; i < op.getNumOperands(); ++i)
    if (failed(lowerResult(op, i)))
      return failure();
  if (op.getNumOperands() != 1)
    return success();
  program->setAttr("outputs",
                   b.getI64IntegerAttr(getColumns(op.getOperand(0))));

  // From the back: a dispatch whose results only such dispatches read, and
  // which keeps no state.
  auto isWantedOnly = [&](DispatchOp dispatch) {
    for (Value written :
         dispatch.getBuffers().take_back(dispatch.getNumWrites())) {
      if (written.getDefiningOp<BufferOp>().getKind() == BufferKind::State)
        return false;
      for (Operation *user : written.getUsers())
        if (user != dispatch && !cast<DispatchOp>(user).getOutputsOnly())
          return false;
    }
    return true;
  };
  for (Operation &last : llvm::reverse(program.getBody().front())) {
    auto dispatch = dyn_cast<DispatchOp>(last);
    if (!dispatch)
      continue;
    if (!isWantedOnly(dispatch))
      break;
    dispatch.setOutputsOnly(true);
  }
  return success();
}

/// Arguments become inputs of the program: token ids `ids`, rows of activations
/// `inputs.0` and so on. The number of past positions comes with every call.
LogicalResult Lowering::lowerArguments() {
  auto ids = RankedTensorType::get({ShapedType::kDynamic}, b.getI32Type());
  int64_t count = 0;
  for (BlockArgument argument : forward.getArguments()) {
    auto rows = dyn_cast<RankedTensorType>(argument.getType());
    if (rows == ids)
      places[argument] = {createBuffer(BufferKind::Input, "ids", 4), 0, 1};
    else if (rows && rows.getRank() == 2 && rows.getElementType().isF32() &&
             !rows.isDynamicDim(1)) {
      int64_t stride = getPaddedColumns(rows.getDimSize(1));
      std::string name = "inputs." + std::to_string(count++);
      places[argument] = {createBuffer(BufferKind::Input, name, 4 * stride), 0,
                          stride};
    } else if (!argument.getType().isIndex())
      return forward.emitOpError("needs arguments that are ids "
                                 "(tensor<?xi32>), past (index) or "
                                 "activations (tensor<?xKxf32>), found ")
             << argument.getType();
  }
  return success();
}

LogicalResult Lowering::run() {
  b.setInsertionPoint(forward);
  program = ProgramOp::create(b, forward.getLoc(), "cpu", maxTokens,
                              /*scratch_bytes=*/0, /*arena_bytes=*/0);
  b.setInsertionPointToStart(b.createBlock(&program.getBody()));
  if (failed(lowerArguments()))
    return failure();
  for (Operation &op : forward.getBody().front()) {
    LogicalResult result = success();
    if (auto region = dyn_cast<RegionOp>(op))
      result = lower(region);
    else if (auto ret = dyn_cast<func::ReturnOp>(op))
      result = lowerReturn(ret);
    else if (!isa<WeightOp, QuantizedWeightOp>(op))
      result = op.emitOpError("is not in a region: run llq-form-dispatches "
                              "first");
    if (failed(result))
      return failure();
  }
  program.setScratchBytes(scratchBytes);
  forward.erase();
  return success();
}

namespace {

struct LowerToCPUPass : llq::impl::LowerToCPUPassBase<LowerToCPUPass> {
  using Base::Base;

  void runOnOperation() override {
    ModuleOp module = getOperation();
    auto forward = module.lookupSymbol<func::FuncOp>(kForwardName);
    if (!forward) {
      module.emitError("has no function @forward");
      return signalPassFailure();
    }
    int64_t tokens = maxTokens;
    if (tokens < 1 || tokens > 65536) {
      module.emitError("max-tokens is 1 to 65536, found ") << tokens;
      return signalPassFailure();
    }
    SmallVector<const CPULevel *> chosen;
    for (const std::string &name : levels) {
      const CPULevel *level = findCPULevel(name);
      if (!level) {
        module.emitError("unknown cpu level '") << name << "'";
        return signalPassFailure();
      }
      if (llvm::is_contained(chosen, level)) {
        module.emitError("cpu level '") << name << "' is given twice";
        return signalPassFailure();
      }
      chosen.push_back(level);
    }
    if (chosen.empty())
      for (const CPULevel &level : getCPULevels())
        if (level.machine == "x86-64")
          chosen.push_back(&level);

    SmallVector<ModuleOp> kernels;
    for (const CPULevel *level : chosen) {
      auto b = OpBuilder::atBlockEnd(module.getBody());
      auto target =
          ModuleOp::create(b, module.getLoc(), "kernels-" + level->name.str());
      target->setAttr("llq.level", b.getStringAttr(level->name));
      kernels.push_back(target);
    }
    if (failed(Lowering(module, forward, kernels, chosen, tokens).run()))
      signalPassFailure();
  }
};

} // namespace
