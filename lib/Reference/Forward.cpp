//===- Forward.cpp - Run llq normal form in plain loops -------------------===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llq/Reference/Forward.h"
#include "llq/Numerics/ActivationGrid.h"
#include "llq/Support/ParallelFor.h"

#include "llvm/ADT/TypeSwitch.h"

#include <algorithm>
#include <cmath>

using namespace mlir;
using namespace llq;

namespace {
/// A row-major matrix.
struct Matrix {
  int64_t rows = 0, columns = 0;
  std::vector<float> values;

  Matrix() = default;
  Matrix(int64_t rows, int64_t columns)
      : rows(rows), columns(columns), values(rows * columns) {}
  float *row(int64_t index) { return values.data() + index * columns; }
  const float *row(int64_t index) const {
    return values.data() + index * columns;
  }
};
} // namespace

/// Weight rows that are decoded at a time.
static constexpr int64_t kRowBlock = 64;

static double dot(const float *a, const float *b, int64_t count) {
  // Several sums, so that the loop can be vectorized.
  constexpr int64_t lanes = 8;
  double sums[lanes] = {};
  int64_t i = 0;
  for (; i + lanes <= count; i += lanes)
    for (int64_t lane = 0; lane < lanes; ++lane)
      sums[lane] += double(a[i + lane]) * double(b[i + lane]);
  double sum = 0;
  for (; i < count; ++i)
    sum += double(a[i]) * double(b[i]);
  for (double part : sums)
    sum += part;
  return sum;
}

//===----------------------------------------------------------------------===//
// One call
//===----------------------------------------------------------------------===//

/// Values of one call of the function.
struct ReferenceModel::Call {
  ReferenceModel &model;
  llvm::DenseMap<Value, Matrix> values;
  std::vector<int32_t> ids;
  std::vector<int64_t> positions;

  llvm::Error run(Operation *op);
  llvm::Error run(EmbeddingOp op);
  llvm::Error run(RMSNormOp op);
  llvm::Error run(LinearOp op);
  void run(QuantizeActivationOp op);
  void run(PermuteChannelsOp op);
  llvm::Error run(RotateOp op);
  void run(RotaryTableOp op);
  llvm::Error run(RotaryLookupOp op);
  void run(RopeOp op);
  void run(AttentionOp op);
  void run(SwiGLUOp op);
  void run(AddOp op);
};

static int64_t getColumns(Value value) {
  if (auto quantized = dyn_cast<QuantizedType>(value.getType()))
    return quantized.getColumns();
  return cast<ShapedType>(value.getType()).getShape().back();
}

llvm::Error ReferenceModel::Call::run(EmbeddingOp op) {
  int64_t columns = getColumns(op.getResult());
  Type tableType = op.getTable().getType();
  int64_t rows = isa<QuantizedType>(tableType)
                     ? cast<QuantizedType>(tableType).getRows()
                     : cast<ShapedType>(tableType).getDimSize(0);
  Matrix result(int64_t(ids.size()), columns);
  for (auto [t, id] : llvm::enumerate(ids)) {
    if (id < 0 || id >= rows)
      return llvm::createStringError("token id " + Twine(id) +
                                     " is outside a vocabulary of " +
                                     Twine(rows));
    if (llvm::Error error = model.reader.readRows(
            op.getTable(), id, id + 1,
            MutableArrayRef<float>(result.row(int64_t(t)), columns)))
      return error;
  }
  values[op.getResult()] = std::move(result);
  return llvm::Error::success();
}

llvm::Error ReferenceModel::Call::run(RMSNormOp op) {
  const Matrix &x = values[op.getInput()];
  std::vector<float> weight(x.columns);
  if (llvm::Error error =
          model.reader.readRows(op.getWeight(), 0, x.columns, weight))
    return error;
  Matrix y(x.rows, x.columns);
  double epsilon = op.getEpsilon().convertToFloat();
  for (int64_t t = 0; t < x.rows; ++t) {
    double mean = dot(x.row(t), x.row(t), x.columns) / double(x.columns);
    double factor = 1 / std::sqrt(mean + epsilon);
    for (int64_t k = 0; k < x.columns; ++k)
      y.row(t)[k] = float(double(x.row(t)[k]) * factor * double(weight[k]));
  }
  values[op.getResult()] = std::move(y);
  return llvm::Error::success();
}

llvm::Error ReferenceModel::Call::run(LinearOp op) {
  const Matrix &x = values[op.getInput()];
  int64_t n = getColumns(op.getResult()), k = x.columns;
  Matrix y(x.rows, n);
  std::vector<float> bias(op.getBias() ? n : 0);
  if (op.getBias())
    if (llvm::Error error = model.reader.readRows(op.getBias(), 0, n, bias))
      return error;
  std::vector<float> weight;
  for (int64_t begin = 0; begin < n; begin += kRowBlock) {
    int64_t end = std::min(n, begin + kRowBlock);
    weight.resize((end - begin) * k);
    if (llvm::Error error =
            model.reader.readRows(op.getWeight(), begin, end, weight))
      return error;
    for (int64_t t = 0; t < x.rows; ++t)
      for (int64_t row = begin; row < end; ++row)
        y.row(t)[row] =
            float(dot(x.row(t), weight.data() + (row - begin) * k, k) +
                  (bias.empty() ? 0 : double(bias[row])));
  }
  values[op.getResult()] = std::move(y);
  return llvm::Error::success();
}

/// The values that quantized activations stand for.
void ReferenceModel::Call::run(QuantizeActivationOp op) {
  Matrix x = values[op.getInput()];
  if (auto format = dyn_cast<StaticAttr>(op.getType().getFormat())) {
    float scale = format.getScale().getValue().convertToFloat();
    auto most = float(numerics::largestActivationCode(format.getBits()));
    for (float &value : x.values)
      value = scale * std::nearbyint(std::clamp(value / scale, -most, most));
    values[op.getResult()] = std::move(x);
    return;
  }
  auto format = cast<DynamicAttr>(op.getType().getFormat());
  int64_t group = format.getGroup() ? format.getGroup() : x.columns;
  auto largest = float(numerics::largestActivationCode(format.getBits()));
  for (int64_t t = 0; t < x.rows; ++t)
    for (int64_t begin = 0; begin < x.columns; begin += group) {
      MutableArrayRef<float> part(x.row(t) + begin,
                                  std::min(group, x.columns - begin));
      float highest = 0;
      for (float value : part)
        highest = std::max(highest, std::abs(value));
      float scale = format.getGroup()
                        ? highest / largest
                        : numerics::activationScale(highest, format.getBits());
      for (float &value : part)
        value = scale == 0 ? 0 : scale * std::nearbyint(value / scale);
    }
  values[op.getResult()] = std::move(x);
}

void ReferenceModel::Call::run(PermuteChannelsOp op) {
  const Matrix &x = values[op.getInput()];
  Matrix y(x.rows, x.columns);
  for (int64_t t = 0; t < x.rows; ++t)
    for (auto [j, channel] :
         llvm::enumerate(op.getOrder().getValues<int32_t>()))
      y.row(t)[j] = x.row(t)[channel];
  values[op.getResult()] = std::move(y);
}

llvm::Error ReferenceModel::Call::run(RotateOp op) {
  RotationAttr rotation = op.getRotation();
  Matrix x = values[op.getInput()];
  if (op.getScale()) {
    auto scale = model.reader.readAll(
        op.getScale().getDefiningOp<WeightOp>().getValue());
    if (!scale)
      return scale.takeError();
    for (int64_t t = 0; t < x.rows; ++t)
      for (int64_t k = 0; k < x.columns; ++k)
        x.row(t)[k] *= (*scale)[k];
  }
  std::unique_ptr<numerics::Rotation> matrix = rotation.getMatrix();
  ThreadPool pool(1);
  int64_t count = x.rows * x.columns / rotation.getSize();
  if (op.getTransposed())
    matrix->applyTransposed(x.values.data(), count, pool);
  else
    matrix->apply(x.values.data(), count, pool);
  values[op.getResult()] = std::move(x);
  return llvm::Error::success();
}

void ReferenceModel::Call::run(RotaryTableOp op) {
  ArrayRef<float> frequencies = op.getFrequencies();
  Matrix cosines(int64_t(positions.size()), int64_t(frequencies.size()));
  Matrix sines = cosines;
  double scale = op.getScale().convertToFloat();
  for (auto [t, position] : llvm::enumerate(positions))
    for (auto [i, frequency] : llvm::enumerate(frequencies)) {
      // The product is rounded as in the models' own code.
      double angle = float(position) * frequency;
      cosines.row(int64_t(t))[i] = float(scale * std::cos(angle));
      sines.row(int64_t(t))[i] = float(scale * std::sin(angle));
    }
  values[op.getCos()] = std::move(cosines);
  values[op.getSin()] = std::move(sines);
}

llvm::Error ReferenceModel::Call::run(RotaryLookupOp op) {
  int64_t rows = cast<ShapedType>(op.getCosTable().getType()).getDimSize(0);
  for (auto [result, table] : {std::pair(op.getCos(), op.getCosTable()),
                               std::pair(op.getSin(), op.getSinTable())}) {
    Matrix angles(int64_t(positions.size()), getColumns(result));
    for (auto [t, position] : llvm::enumerate(positions)) {
      if (position >= rows)
        return llvm::createStringError("position " + Twine(position) +
                                       " is outside rotary tables of " +
                                       Twine(rows));
      if (llvm::Error error = model.reader.readRows(
              table, position, position + 1,
              MutableArrayRef<float>(angles.row(int64_t(t)), angles.columns)))
        return error;
    }
    values[result] = std::move(angles);
  }
  return llvm::Error::success();
}

void ReferenceModel::Call::run(RopeOp op) {
  const Matrix &cosines = values[op.getCos()], &sines = values[op.getSin()];
  Matrix x = values[op.getInput()];
  int64_t half = cosines.columns;
  bool interleaved = op.getInterleaved();
  for (int64_t t = 0; t < x.rows; ++t)
    for (int64_t head = 0; head < x.columns; head += 2 * half)
      for (int64_t i = 0; i < half; ++i) {
        float &a = x.row(t)[head + (interleaved ? 2 * i : i)];
        float &b = x.row(t)[head + (interleaved ? 2 * i + 1 : i + half)];
        double c = cosines.row(t)[i], s = sines.row(t)[i];
        double rotatedA = double(a) * c - double(b) * s;
        double rotatedB = double(b) * c + double(a) * s;
        a = float(rotatedA);
        b = float(rotatedB);
      }
  values[op.getResult()] = std::move(x);
}

void ReferenceModel::Call::run(AttentionOp op) {
  const Matrix &q = values[op.getQuery()], &k = values[op.getKey()];
  const Matrix &v = values[op.getValue()];
  auto &[keys, cachedValues] = model.caches[int64_t(op.getLayer())];
  keys.insert(keys.end(), k.values.begin(), k.values.end());
  cachedValues.insert(cachedValues.end(), v.values.begin(), v.values.end());
  auto heads = int64_t(op.getHeads());
  int64_t group = heads / int64_t(op.getKvHeads()), size = op.getHeadDim();
  double scale = op.getScale().convertToFloat();
  Matrix y(q.rows, q.columns);
  for (int64_t t = 0; t < q.rows; ++t) {
    int64_t count = model.length + t + 1;
    std::vector<double> weights(count), sum(size);
    for (int64_t head = 0; head < heads; ++head) {
      int64_t column = head / group * size;
      double highest = -INFINITY;
      for (int64_t p = 0; p < count; ++p) {
        weights[p] = scale * dot(q.row(t) + head * size,
                                 keys.data() + p * k.columns + column, size);
        highest = std::max(highest, weights[p]);
      }
      double total = 0;
      std::fill(sum.begin(), sum.end(), 0);
      for (int64_t p = 0; p < count; ++p) {
        double weight = std::exp(weights[p] - highest);
        total += weight;
        const float *value = cachedValues.data() + p * v.columns + column;
        for (int64_t d = 0; d < size; ++d)
          sum[d] += weight * double(value[d]);
      }
      for (int64_t d = 0; d < size; ++d)
        y.row(t)[head * size + d] = float(sum[d] / total);
    }
  }
  values[op.getResult()] = std::move(y);
}

void ReferenceModel::Call::run(SwiGLUOp op) {
  const Matrix &gate = values[op.getGate()], &up = values[op.getUp()];
  Matrix y(gate.rows, gate.columns);
  for (size_t i = 0; i < y.values.size(); ++i) {
    double g = gate.values[i];
    y.values[i] = float(g / (1 + std::exp(-g)) * double(up.values[i]));
  }
  values[op.getResult()] = std::move(y);
}

void ReferenceModel::Call::run(AddOp op) {
  const Matrix &a = values[op.getLhs()], &b = values[op.getRhs()];
  Matrix y(a.rows, a.columns);
  for (size_t i = 0; i < y.values.size(); ++i)
    y.values[i] = a.values[i] + b.values[i];
  values[op.getResult()] = std::move(y);
}

llvm::Error ReferenceModel::Call::run(Operation *op) {
  return llvm::TypeSwitch<Operation *, llvm::Error>(op)
      .Case<EmbeddingOp, RMSNormOp, LinearOp, RotaryLookupOp, RotateOp>(
          [&](auto concrete) -> llvm::Error { return run(concrete); })
      .Case<QuantizeActivationOp, PermuteChannelsOp, RotaryTableOp, RopeOp,
            AttentionOp, SwiGLUOp, AddOp>([&](auto concrete) -> llvm::Error {
        run(concrete);
        return llvm::Error::success();
      })
      // Weights are read where they are used; positions follow from the call.
      .Case<WeightOp, QuantizedWeightOp, PositionsOp>(
          [](auto) -> llvm::Error { return llvm::Error::success(); })
      .Default([](Operation *other) -> llvm::Error {
        return llvm::createStringError("'" + other->getName().getStringRef() +
                                       "' is not part of normal form");
      });
}

//===----------------------------------------------------------------------===//
// ReferenceModel
//===----------------------------------------------------------------------===//

llvm::Expected<std::vector<float>>
ReferenceModel::forward(ArrayRef<int32_t> ids) {
  auto function = module.lookupSymbol<func::FuncOp>(kForwardName);
  if (!function || function.isExternal() || !function.getBody().hasOneBlock() ||
      function.front().getTerminator()->getNumOperands() != 1)
    return llvm::createStringError("the module has no function @forward in "
                                   "normal form");
  if (ids.empty())
    return llvm::createStringError("no tokens to run");
  Call call{*this, llvm::DenseMap<Value, Matrix>(), ids.vec(), {}};
  for (size_t t = 0; t < ids.size(); ++t)
    call.positions.push_back(length + int64_t(t));
  for (Operation &op : function.front().without_terminator())
    if (llvm::Error error = call.run(&op))
      return std::move(error);
  length += int64_t(ids.size());
  return std::move(
      call.values[function.front().getTerminator()->getOperand(0)].values);
}

void ReferenceModel::reset() {
  length = 0;
  caches.clear();
}

llvm::Expected<std::vector<float>> llq::evaluateForward(ModuleOp module,
                                                        ArrayRef<int32_t> ids) {
  return ReferenceModel(module).forward(ids);
}
