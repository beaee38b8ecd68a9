//===- Tape.cpp - Reverse mode over ops of the llq dialect ----------------===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llq/Training/Tape.h"

#include "llq/Training/DecoderOps.h"

#include "llvm/ADT/TypeSwitch.h"

#include <cmath>

using namespace mlir;
using namespace llq;
using namespace llq::training;

static int64_t getColumns(Value value) {
  return cast<ShapedType>(value.getType()).getDimSize(1);
}

//===----------------------------------------------------------------------===//
// Recording
//===----------------------------------------------------------------------===//

FailureOr<std::unique_ptr<Tape>> Tape::create(Value input, Value output,
                                              WeightReader &reader,
                                              ThreadPool &pool) {
  std::unique_ptr<Tape> tape(new Tape(input, output, reader, pool));
  if (failed(tape->collectOps()) || failed(tape->loadWeights()))
    return failure();
  return tape;
}

LogicalResult Tape::collectOps() {
  llvm::DenseSet<Operation *> needed;
  SmallVector<Value> worklist = {output};
  while (!worklist.empty()) {
    Value value = worklist.pop_back_val();
    Operation *op = value.getDefiningOp();
    if (value == input || (op && !needed.insert(op).second))
      continue;
    if (!op) {
      // Token ids, and the past of a sequence, which begins with the sample.
      Type type = value.getType();
      if (type.isIndex() || getElementTypeOrSelf(type).isInteger())
        continue;
      return emitError(value.getLoc(), "cannot be tuned through an argument of "
                                       "@forward of type ")
             << type;
    }
    if (!isa<WeightOp, QuantizedWeightOp, RMSNormOp, LinearOp, PositionsOp,
             RotaryTableOp, RotaryLookupOp, RopeOp, AttentionOp, SwiGLUOp,
             AddOp, PermuteChannelsOp, RotateOp, EmbeddingOp>(op))
      return op->emitOpError("has no gradient");
    if (input && isa<EmbeddingOp>(op))
      return op->emitOpError("is read again behind the first decoder block");
    llvm::append_range(worklist, op->getOperands());
  }
  for (Operation &op : *output.getParentBlock())
    if (needed.contains(&op))
      ops.push_back(&op);
  if (ops.empty())
    return emitError(output.getLoc(), "is no result of a model's layers");
  return success();
}

LogicalResult Tape::loadWeights() {
  for (Operation *op : ops) {
    if (!isa<WeightOp, QuantizedWeightOp>(op))
      continue;
    Value value = op->getResult(0);
    // Tables are read row by row.
    if (llvm::all_of(value.getUsers(), llvm::IsaPred<EmbeddingOp>))
      continue;
    DenseWeight weight{0, 1, {}, {}};
    if (auto type = dyn_cast<QuantizedType>(value.getType())) {
      weight.rows = type.getRows();
      weight.columns = type.getColumns();
    } else {
      auto tensor = cast<RankedTensorType>(value.getType());
      weight.rows = tensor.getDimSize(0);
      weight.columns = tensor.getNumElements() / weight.rows;
    }
    weight.values.resize(weight.rows * weight.columns);
    if (llvm::Error error =
            reader.readRows(value, 0, weight.rows, weight.values))
      return op->emitOpError() << llvm::toString(std::move(error));
    weights[value] = std::move(weight);
  }
  return success();
}

const numerics::Rotation &Tape::getRotation(RotateOp op) {
  auto &rotation = rotations[op.getRotation()];
  if (!rotation)
    rotation = op.getRotation().getMatrix();
  return *rotation;
}

//===----------------------------------------------------------------------===//
// Forward
//===----------------------------------------------------------------------===//

float *Tape::make(Value result) {
  std::vector<float> &value = values[result];
  value.resize(tokens * ::getColumns(result));
  return value.data();
}

static RopeShape getShape(RopeOp op, int64_t tokens) {
  return {tokens, getColumns(op.getInput()), 2 * getColumns(op.getCos()),
          op.getInterleaved()};
}

static AttentionShape getShape(AttentionOp op, int64_t tokens) {
  return {tokens, int64_t(op.getHeads()), int64_t(op.getKvHeads()),
          op.getHeadDim(), op.getScale().convertToFloat()};
}

static RotateShape getShape(RotateOp op, int64_t tokens) {
  return {tokens, getColumns(op.getInput()), op.getTransposed()};
}

static NormShape getShape(RMSNormOp op, int64_t tokens) {
  return {tokens, getColumns(op.getInput()), op.getEpsilon().convertToFloat()};
}

static LinearShape getShape(const DenseWeight &weight, int64_t tokens) {
  return {tokens, weight.columns, weight.rows};
}

static std::vector<int32_t> getOrder(PermuteChannelsOp op) {
  auto order = op.getOrder().getValues<int32_t>();
  return {order.begin(), order.end()};
}

LogicalResult Tape::lookUp(EmbeddingOp op) {
  int64_t columns = ::getColumns(op.getResult());
  float *y = make(op.getResult());
  for (auto [t, id] : llvm::enumerate(ids))
    if (llvm::Error error = reader.readRows(
            op.getTable(), id, id + 1,
            MutableArrayRef<float>(y + int64_t(t) * columns, columns)))
      return op.emitOpError() << llvm::toString(std::move(error));
  return success();
}

/// Positions are those of a sequence on its own: token t is at t.
LogicalResult Tape::evaluateRotary(Operation *op) {
  float *cos = make(op->getResult(0)), *sin = make(op->getResult(1));
  int64_t half = ::getColumns(op->getResult(0));
  if (auto lookup = dyn_cast<RotaryLookupOp>(op)) {
    if (int64_t rows = getWeight(lookup.getCosTable()).rows; tokens > rows)
      return op->emitOpError("has ")
             << rows << " positions, a sample has " << tokens;
    std::copy_n(getWeight(lookup.getCosTable()).values.data(), tokens * half,
                cos);
    std::copy_n(getWeight(lookup.getSinTable()).values.data(), tokens * half,
                sin);
    return success();
  }
  auto table = cast<RotaryTableOp>(op);
  float scale = table.getScale().convertToFloat();
  for (int64_t t = 0; t < tokens; ++t)
    for (int64_t i = 0; i < half; ++i) {
      float angle = float(t) * table.getFrequencies()[i];
      cos[t * half + i] = scale * float(std::cos(double(angle)));
      sin[t * half + i] = scale * float(std::sin(double(angle)));
    }
  return success();
}

LogicalResult Tape::evaluate(Operation *op) {
  llvm::TypeSwitch<Operation *>(op)
      .Case([&](LinearOp linear) {
        const DenseWeight &weight = getWeight(linear.getWeight());
        Value bias = linear.getBias();
        training::linear(getShape(weight, tokens), get(linear.getInput()),
                         weight.values.data(),
                         bias ? getWeight(bias).values.data() : nullptr,
                         make(linear.getResult()), pool);
      })
      .Case([&](RMSNormOp norm) {
        rmsNorm(getShape(norm, tokens), get(norm.getInput()),
                getWeight(norm.getWeight()).values.data(),
                make(norm.getResult()), pool);
      })
      .Case([&](RopeOp op) {
        rope(getShape(op, tokens), get(op.getInput()), get(op.getCos()),
             get(op.getSin()), make(op.getResult()), pool);
      })
      .Case([&](AttentionOp op) {
        std::vector<float> &sums = logSums[op];
        sums.resize(tokens * op.getHeads());
        attention(getShape(op, tokens), get(op.getQuery()), get(op.getKey()),
                  get(op.getValue()), make(op.getResult()), sums.data(), pool);
      })
      .Case([&](SwiGLUOp op) {
        float *y = make(op.getResult());
        swiglu(get(op.getGate()), get(op.getUp()),
               tokens * ::getColumns(op.getResult()), y, pool);
      })
      .Case([&](AddOp op) {
        float *y = make(op.getResult());
        int64_t count = tokens * ::getColumns(op.getResult());
        std::copy_n(get(op.getLhs()), count, y);
        add(get(op.getRhs()), count, y);
      })
      .Case([&](PermuteChannelsOp op) {
        float *y = make(op.getResult());
        permuteChannels(tokens, getOrder(op), get(op.getInput()), y);
      })
      .Case([&](RotateOp op) {
        Value scale = op.getScale();
        float *y = make(op.getResult());
        rotate(getShape(op, tokens), getRotation(op), get(op.getInput()),
               scale ? getWeight(scale).values.data() : nullptr, y, pool);
      });
  if (auto embedding = dyn_cast<EmbeddingOp>(op))
    return lookUp(embedding);
  if (isa<RotaryTableOp, RotaryLookupOp>(op))
    return evaluateRotary(op);
  return success();
}

FailureOr<ArrayRef<float>> Tape::evaluate() {
  // Room for all values first: places of vectors in the map move as it grows.
  for (Operation *op : ops)
    for (Value result : op->getResults())
      values[result];
  for (Operation *op : ops)
    if (failed(evaluate(op)))
      return failure();
  return ArrayRef<float>(values[output]);
}

FailureOr<ArrayRef<float>> Tape::forward(ArrayRef<float> x, int64_t count) {
  tokens = count;
  values[input].assign(x.begin(), x.end());
  return evaluate();
}

FailureOr<ArrayRef<float>> Tape::forward(ArrayRef<int32_t> sequence) {
  tokens = sequence.size();
  ids = sequence;
  return evaluate();
}

//===----------------------------------------------------------------------===//
// Backward
//===----------------------------------------------------------------------===//

void Tape::findActive() {
  active.clear();
  for (Operation *op : ops) {
    bool any = llvm::any_of(op->getOperands(),
                            [&](Value v) { return active.contains(v); });
    if (auto linear = dyn_cast<LinearOp>(op))
      any |= !getWeight(linear.getWeight()).gradient.empty();
    if (!any)
      continue;
    active.insert_range(op->getResults());
    // The gradients of their operands come together.
    if (isa<SwiGLUOp>(op))
      active.insert_range(op->getOperands());
    if (auto attention = dyn_cast<AttentionOp>(op))
      for (Value value :
           {attention.getQuery(), attention.getKey(), attention.getValue()})
        active.insert(value);
  }
}

float *Tape::wanted(Value value) {
  return active.contains(value) ? gradients.find(value)->second.data()
                                : nullptr;
}

void Tape::differentiate(Operation *op) {
  const float *dy = wanted(op->getResult(0));
  if (!dy)
    return;
  float *dx = wanted(op->getOperand(0));
  if (!dx && !isa<LinearOp, AddOp>(op))
    return;
  int64_t count = tokens * ::getColumns(op->getResult(0));
  llvm::TypeSwitch<Operation *>(op)
      .Case([&](LinearOp op) {
        DenseWeight &weight = getWeight(op.getWeight());
        LinearShape shape = getShape(weight, tokens);
        if (!weight.gradient.empty())
          linearWeightGradient(shape, dy, get(op.getInput()),
                               weight.gradient.data(), pool);
        if (dx)
          linearInputGradient(shape, dy, weight.values.data(), dx, pool);
      })
      .Case([&](RMSNormOp op) {
        rmsNormGradient(getShape(op, tokens), get(op.getInput()),
                        getWeight(op.getWeight()).values.data(), dy, dx,
                        /*dweight=*/nullptr, pool);
      })
      .Case([&](RopeOp op) {
        ropeGradient(getShape(op, tokens), dy, get(op.getCos()),
                     get(op.getSin()), dx, pool);
      })
      .Case([&](AttentionOp op) {
        attentionGradient(getShape(op, tokens), get(op.getQuery()),
                          get(op.getKey()), get(op.getValue()),
                          get(op.getResult()), logSums[op].data(), dy,
                          wanted(op.getQuery()), wanted(op.getKey()),
                          wanted(op.getValue()), pool);
      })
      .Case([&](SwiGLUOp op) {
        swigluGradient(get(op.getGate()), get(op.getUp()), dy, count,
                       wanted(op.getGate()), wanted(op.getUp()), pool);
      })
      .Case([&](AddOp op) {
        for (Value operand : op->getOperands())
          if (float *d = wanted(operand))
            add(dy, count, d);
      })
      .Case([&](PermuteChannelsOp op) {
        permuteChannelsGradient(tokens, getOrder(op), dy, dx);
      })
      .Case([&](RotateOp op) {
        std::vector<float> scratch(count);
        Value scale = op.getScale();
        rotateGradient(getShape(op, tokens), getRotation(op), dy,
                       scale ? getWeight(scale).values.data() : nullptr, dx,
                       scratch.data(), pool);
      });
}

void Tape::backward(ArrayRef<float> gradient) {
  findActive();
  for (Value value : active)
    gradients[value].assign(tokens * ::getColumns(value), 0.0f);
  if (!active.contains(output))
    return;
  gradients[output].assign(gradient.begin(), gradient.end());
  for (Operation *op : llvm::reverse(ops))
    differentiate(op);
}
