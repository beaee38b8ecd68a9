//===- LengthProbe.cpp - Masks and angles of long sequences ---------------===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "LengthProbe.h"

#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/SetVector.h"

#include <cmath>
#include <set>

using namespace mlir;
using namespace llq;
using namespace llq::raise;

/// Numbers above this are no lengths.
static constexpr int64_t kLongest = int64_t(1) << 17;
/// Masks that need tensors larger than this are not evaluated: those of graphs
/// without a cache for more than 5792 tokens.
static constexpr int64_t kMaxBytes = int64_t(1) << 28;
static constexpr size_t kMaxProbes = 12;
static constexpr float kMasked = -1e4f;

namespace {
/// Evaluates values that depend on lengths only, as they are asked for.
class Probe {
public:
  Probe(func::FuncOp graph, const RaisedGraph &raised,
        const ONNXEvaluator &nodes, WeightReader &reader, Lengths lengths)
      : graph(graph), raised(raised), nodes(nodes), reader(reader),
        lengths(lengths) {}

  /// The value, or none if it depends on tokens or is too large.
  std::optional<Tensor> evaluate(Value value);
  /// What is added to the scores that `value` holds.
  std::optional<Tensor> getMask(Value value);
  /// The shape of an activation, from those it had in other runs.
  std::optional<Shape> getShape(Value value) const;
  /// Whether the graph fails for these lengths, such as behind the end of a
  /// table of masks, or its tensors are too large.
  bool hasGivenUp() const { return gaveUp; }

private:
  bool isActivation(Value value) const {
    return raised.shapes.count(value) != 0;
  }

  func::FuncOp graph;
  const RaisedGraph &raised;
  const ONNXEvaluator &nodes;
  WeightReader &reader;
  Lengths lengths;
  llvm::DenseMap<Value, std::optional<Tensor>> known;
  bool gaveUp = false;
};
} // namespace

std::optional<Shape> Probe::getShape(Value value) const {
  auto it = raised.shapes.find(value);
  const std::vector<Lengths> &runs = raised.scenario.lengths;
  if (it == raised.shapes.end() || it->second.size() != runs.size())
    return std::nullopt;
  const std::vector<Shape> &shapes = it->second;
  Shape result = shapes[0];
  for (size_t axis = 0; axis < result.size(); ++axis) {
    // size = c + a * tokens + b * past, through all runs.
    auto fits = [&](double a, double b) {
      double c = double(shapes[0][axis]) - a * double(runs[0].tokens) -
                 b * double(runs[0].past);
      for (size_t i = 0; i < runs.size(); ++i) {
        if (shapes[i].size() != result.size() ||
            double(shapes[i][axis]) !=
                c + a * double(runs[i].tokens) + b * double(runs[i].past))
          return false;
      }
      result[axis] =
          int64_t(c + a * double(lengths.tokens) + b * double(lengths.past));
      return true;
    };
    // Sizes are multiples of a number of tokens, of heads among others.
    int64_t limit = shapes[0][axis];
    bool found = fits(0, 0);
    for (int64_t factor = 1; !found && factor <= limit; ++factor)
      found = fits(double(factor), 0) || fits(0, double(factor)) ||
              fits(double(factor), double(factor));
    if (!found)
      return std::nullopt;
  }
  return result;
}

std::optional<Tensor> Probe::evaluate(Value value) {
  if (auto it = known.find(value); it != known.end())
    return it->second;
  auto remember = [&](std::optional<Tensor> tensor) {
    return known[value] = std::move(tensor);
  };
  if (auto argument = dyn_cast<BlockArgument>(value)) {
    if (isActivation(value))
      return remember(std::nullopt);
    Result<Tensor> tensor = raised.scenario.getValue(argument, lengths);
    return remember(tensor ? std::optional(*tensor) : std::nullopt);
  }
  Operation *op = value.getDefiningOp();
  if (isActivation(value) || isa<onnx::CustomOp>(op))
    return remember(std::nullopt);
  if (auto branch = dyn_cast<onnx::IfOp>(op)) {
    std::optional<Tensor> condition = evaluate(branch.getCondition());
    if (!condition || condition->type() != ElementType::Bool ||
        condition->numElements() != 1)
      return remember(std::nullopt);
    Region &taken = branch.getRegion(condition->data<uint8_t>()[0] ? 0 : 1);
    unsigned index = cast<OpResult>(value).getResultNumber();
    return remember(evaluate(taken.front().getTerminator()->getOperand(index)));
  }
  if (auto constant = dyn_cast<onnx::ConstantOp>(op)) {
    Result<Tensor> tensor = readConstant(reader, constant);
    return remember(tensor ? std::optional(*tensor) : std::nullopt);
  }
  SmallVector<Tensor> inputs;
  for (Value operand : op->getOperands()) {
    if (operand.getDefiningOp<onnx::NoneOp>()) {
      inputs.emplace_back();
      continue;
    }
    std::optional<Tensor> input;
    if (!isActivation(operand)) {
      input = evaluate(operand);
    } else if (isa<onnx::ShapeOp, onnx::SizeOp>(op)) {
      // Only the shape counts; an empty tensor cannot have it.
      std::optional<Shape> shape = getShape(operand);
      bool tooLarge = shape && countElements(*shape) > kMaxBytes;
      gaveUp |= tooLarge;
      if (!shape || tooLarge)
        return remember(std::nullopt);
      Result<interp::MutableTensor> bytes =
          interp::MutableTensor::allocate(ElementType::UInt8, *shape);
      if (bytes)
        input = std::move(*bytes).freeze();
    }
    if (!input)
      return remember(std::nullopt);
    inputs.push_back(*input);
  }
  SmallVector<const Tensor *> pointers;
  for (const Tensor &input : inputs)
    pointers.push_back(input ? &input : nullptr);
  Result<std::vector<Tensor>> results = nodes.evaluate(op, pointers);
  gaveUp |= !results;
  for (auto [i, result] : llvm::enumerate(op->getResults()))
    known[result] =
        results && (*results)[i] ? std::optional((*results)[i]) : std::nullopt;
  return known[value];
}

std::optional<Tensor> Probe::getMask(Value value) {
  Operation *op = value.getDefiningOp();
  if (!op)
    return std::nullopt;
  auto asOptional = [&](Result<Tensor> tensor) {
    gaveUp |= !tensor;
    return tensor ? std::optional(std::move(*tensor)) : std::nullopt;
  };
  StringRef name = onnx::getOperatorName(op);
  if (name == "MatMul" || name == "FusedMatMul" || name == "Einsum")
    return Tensor::ofFloat(0);
  unsigned index = 0;
  while (index < op->getNumOperands() && !isActivation(op->getOperand(index)))
    ++index;
  if (index == op->getNumOperands())
    return std::nullopt;
  if (name == "Cast" || name == "CastLike" || name == "Identity" ||
      name == "Dropout" || name == "Max")
    return getMask(op->getOperand(index));
  std::optional<Tensor> mask = getMask(op->getOperand(index));
  if (!mask)
    return std::nullopt;
  if (name == "Add" || name == "Mul" || name == "Sub" || name == "Div") {
    std::optional<Tensor> other = evaluate(op->getOperand(1 - index));
    Result<Tensor> wide = other ? toFloat(*other) : Error{""};
    if (!wide)
      return std::nullopt;
    const Tensor &left = index == 0 ? *mask : *wide;
    const Tensor &right = index == 0 ? *wide : *mask;
    return asOptional(combine(std::string_view(name), left, right));
  }
  if (name == "Where" && index > 0) {
    std::optional<Tensor> condition = evaluate(op->getOperand(0));
    std::optional<Tensor> other = evaluate(op->getOperand(3 - index));
    Result<Tensor> wide = other ? toFloat(*other) : Error{""};
    if (!condition || !wide)
      return std::nullopt;
    const Tensor *branches[] = {index == 1 ? &*mask : &*wide,
                                index == 1 ? &*wide : &*mask};
    return asOptional(
        compute("Where", {&*condition, branches[0], branches[1]}));
  }
  if (name == "Reshape" || name == "Squeeze" || name == "Unsqueeze" ||
      name == "Expand") {
    std::optional<Shape> from = getShape(op->getOperand(index));
    std::optional<Shape> to = getShape(value);
    if (!from || !to)
      return std::nullopt;
    bool tooLarge = countElements(*to) * int64_t(sizeof(float)) > kMaxBytes;
    gaveUp |= tooLarge;
    if (tooLarge)
      return std::nullopt;
    Result<Tensor> full = raise::expand(*mask, *from);
    if (!full)
      return std::nullopt;
    return asOptional(name == "Expand" ? raise::expand(*full, *to)
                                       : full->reshaped(*to));
  }
  return std::nullopt;
}

//===----------------------------------------------------------------------===//
// Numbers that lengths may be compared with
//===----------------------------------------------------------------------===//

namespace {
/// Collects lengths at which what values are computed from could change.
class LengthCollector {
public:
  /// Runs for up to `covered` tokens have been compared already.
  LengthCollector(const RaisedGraph &raised, WeightReader &reader,
                  int64_t covered)
      : raised(raised), reader(reader), covered(covered) {}

  void follow(Value value);
  /// The longest ones, descending.
  std::vector<int64_t> getLengths() const {
    std::vector<int64_t> all(lengths.rbegin(), lengths.rend());
    all.resize(std::min(all.size(), kMaxProbes));
    return all;
  }

private:
  void visit(onnx::ConstantOp constant);

  const RaisedGraph &raised;
  WeightReader &reader;
  int64_t covered;
  llvm::DenseSet<Value> seen;
  std::set<int64_t> lengths;
};
} // namespace

void LengthCollector::visit(onnx::ConstantOp constant) {
  auto type = constant.getType();
  // A table of masks or angles: its end.
  if (type.getRank() >= 2)
    for (int64_t dim : type.getShape())
      if (dim > covered && dim <= kLongest)
        lengths.insert(dim);
  constexpr int64_t few = 4;
  if (type.getNumElements() > few)
    return;
  Result<Tensor> tensor = readConstant(reader, constant);
  if (!tensor)
    return;
  // Two tokens as far apart as `number` and more. Diagonals are negative.
  for (double number : tensor->toDoubles())
    if (number == std::floor(number) && std::abs(number) <= kLongest &&
        int64_t(std::abs(number)) + 2 > covered)
      lengths.insert(int64_t(std::abs(number)) + 2);
}

void LengthCollector::follow(Value value) {
  SmallVector<Value> worklist = {value};
  while (!worklist.empty()) {
    Value next = worklist.pop_back_val();
    Operation *op = next.getDefiningOp();
    if (!op || raised.shapes.count(next) || !seen.insert(next).second)
      continue;
    if (auto constant = dyn_cast<onnx::ConstantOp>(op))
      visit(constant);
    llvm::append_range(worklist, op->getOperands());
    for (Region &region : op->getRegions())
      llvm::append_range(worklist,
                         region.front().getTerminator()->getOperands());
  }
}

//===----------------------------------------------------------------------===//
// Checks
//===----------------------------------------------------------------------===//

/// Whether the last two dimensions of `mask`, [.., tokens, keys], hide exactly
/// later tokens; `onlyAdds`: an operator hides those itself. A mask of other
/// sizes is none of these lengths, for which the graph fails.
static bool isCausal(const Tensor &mask, const Lengths &lengths,
                     int64_t numKeys, bool onlyAdds) {
  Shape shape = mask.shape();
  while (shape.size() < 2)
    shape.insert(shape.begin(), 1);
  shape[shape.size() - 2] = lengths.tokens;
  shape.back() = numKeys;
  Result<Tensor> full = expand(mask, shape);
  if (!full || full->shape() != shape)
    return true;
  const float *data = full->data<float>();
  for (int64_t i = 0, e = full->numElements(); i < e; ++i) {
    bool seen = i % numKeys <= lengths.past + i / numKeys % lengths.tokens;
    if (seen ? data[i] != 0 : !onlyAdds && !(data[i] <= kMasked))
      return false;
  }
  return true;
}

/// Whether the rows of `angles`, [.., tokens, columns], are the cosines or
/// sines that `rotary` gives, wherever they are those of `first` for the
/// lengths `before`.
static bool followsModel(const Tensor &first, const Lengths &before,
                         const Tensor &angles, const Lengths &lengths,
                         const RotaryModel &rotary) {
  int64_t columns = angles.dim(angles.rank() - 1);
  auto valueOf = [&](int64_t position, size_t i, bool sine) {
    double angle = double(float(position) * rotary.frequencies[i]);
    return sine ? std::sin(angle) : std::cos(angle);
  };
  auto matches = [&](const Tensor &values, const Lengths &run, int64_t column,
                     size_t i, bool sine, double absolute, double relative) {
    for (int64_t row = 0, e = values.numElements() / columns; row < e; ++row) {
      int64_t position = run.past + row % run.tokens;
      double angle = double(position) * rotary.frequencies[i];
      if (!(std::abs(values.data<float>()[row * columns + column] -
                     valueOf(position, i, sine)) <=
            absolute + angle * relative))
        return false;
    }
    return true;
  };
  for (int64_t column = 0; column < columns; ++column) {
    // Which frequency a column belongs to is seen in the short run, where slow
    // ones look alike: one of those that fit there has to fit here.
    bool isAngle = false, isSame = false;
    for (bool sine : {false, true})
      for (size_t i = 0; i < rotary.frequencies.size() && !isSame; ++i) {
        if (!matches(first, before, column, i, sine, 1e-5, 0))
          continue;
        isAngle = true;
        isSame = matches(angles, lengths, column, i, sine, 1e-4, 0x1p-22);
      }
    if (isAngle && !isSame)
      return false;
  }
  return true;
}

/// The operand of `op` that is a mask over scores, or null.
static Value getMaskOperand(Operation *op) {
  StringRef name = onnx::getOperatorName(op);
  unsigned index = name == "Attention"             ? 3
                   : name == "GroupQueryAttention" ? 10
                   : name == "MultiHeadAttention"  ? 5
                                                   : ~0u;
  if (index >= op->getNumOperands() ||
      op->getOperand(index).getDefiningOp<onnx::NoneOp>())
    return nullptr;
  return op->getOperand(index);
}

/// Operands of `op` that are tables of cosines or sines by position.
static SmallVector<Value> getTableOperands(Operation *op) {
  StringRef name = onnx::getOperatorName(op);
  unsigned begin = name == "GroupQueryAttention"                 ? 7
                   : name != "RotaryEmbedding"                   ? ~0u
                   : onnx::getDomain(op) == onnx::kContribDomain ? 2
                                                                 : 1;
  SmallVector<Value> tables;
  for (unsigned i = begin; i < op->getNumOperands() && i - begin < 2; ++i)
    tables.push_back(op->getOperand(i));
  return tables;
}

namespace {
/// What of a graph depends on lengths only, and its checks.
class LengthCheck {
public:
  LengthCheck(func::FuncOp graph, const RaisedGraph &raised,
              const RotaryModel &rotary, WeightReader &reader)
      : graph(graph), raised(raised), rotary(rotary), reader(reader),
        nodes(graph, /*widenHalf=*/true), runs(raised.scenario.lengths) {}
  std::optional<Reason> run();

private:
  void collect(LengthCollector &collector);
  std::optional<Lengths> getLengths(int64_t total) const;
  std::optional<Reason> checkSoftmax(Probe &probe, Operation *op,
                                     const Lengths &lengths) const;
  std::optional<Reason> checkMask(Probe &probe, Operation *op,
                                  const Lengths &lengths) const;
  bool isSameTable(Probe &first, Probe &probe, Value table) const;
  bool areSameAngles(Probe &first, Probe &probe, Value factor,
                     const Lengths &lengths) const;

  bool isActivation(Value value) const { return raised.shapes.count(value); }
  static std::string describe(const char *what, const Lengths &lengths) {
    return std::string(what) + " for " + std::to_string(lengths.total()) +
           " tokens differently than for few";
  }
  static Reason refuseMask(Operation *op, const Lengths &lengths) {
    return {op, describe("masks scores", lengths) +
                    ": sliding windows are not supported"};
  }

  func::FuncOp graph;
  const RaisedGraph &raised;
  const RotaryModel &rotary;
  WeightReader &reader;
  ONNXEvaluator nodes;
  const std::vector<Lengths> &runs;
  /// Softmax of scores, and operators that take a mask.
  SmallVector<Operation *> softmaxes, fused;
  /// What activations are multiplied by, and tables with the operator that
  /// looks them up.
  llvm::SetVector<Value> factors;
  llvm::MapVector<Value, Operation *> tables;
};
} // namespace

void LengthCheck::collect(LengthCollector &collector) {
  graph.walk([&](Operation *op) {
    if (op->getNumResults() == 0)
      return;
    StringRef name = onnx::getOperatorName(op);
    if (name == "Softmax" && isActivation(op->getOperand(0)))
      softmaxes.push_back(op);
    if (Value mask = getMaskOperand(op)) {
      fused.push_back(op);
      collector.follow(mask);
    }
    for (Value table : getTableOperands(op)) {
      tables.insert({table, op});
      collector.follow(table);
    }
    bool isScore = raised.scores.contains(op->getResult(0));
    bool onActivation = llvm::any_of(
        op->getOperands(), [&](Value other) { return isActivation(other); });
    bool multiplies = onActivation && name == "Mul";
    for (Value operand : op->getOperands()) {
      if (isActivation(operand) || (!isScore && !multiplies))
        continue;
      if (!isScore)
        factors.insert(operand);
      collector.follow(operand);
    }
  });
}

/// Lengths with `total` tokens that the graph can be run for.
std::optional<Lengths> LengthCheck::getLengths(int64_t total) const {
  auto differ = [&](int64_t Lengths::*length) {
    return llvm::any_of(runs, [&](const Lengths &other) {
      return other.*length != runs[0].*length;
    });
  };
  constexpr int64_t few = 2;
  Lengths lengths = runs[0];
  if (differ(&Lengths::past)) {
    if (differ(&Lengths::tokens))
      lengths.tokens = few;
    lengths.past = total - lengths.tokens;
  } else {
    lengths.tokens = total - lengths.past;
  }
  if (lengths.tokens < 1 || lengths.past < 0 ||
      // A mask over all pairs of tokens.
      lengths.tokens * total * int64_t(sizeof(int64_t)) > kMaxBytes)
    return std::nullopt;
  return lengths;
}

std::optional<Reason> LengthCheck::checkSoftmax(Probe &probe, Operation *op,
                                                const Lengths &lengths) const {
  std::optional<Shape> shape = probe.getShape(op->getOperand(0));
  std::optional<Tensor> mask = probe.getMask(op->getOperand(0));
  if (!mask && probe.hasGivenUp())
    return std::nullopt;
  if (!mask || !shape)
    return Reason{op, "masks scores in a way that cannot be followed for " +
                          std::to_string(lengths.total()) + " tokens"};
  if (shape->back() >= lengths.total() &&
      !isCausal(*mask, lengths, shape->back(), /*onlyAdds=*/false))
    return refuseMask(op, lengths);
  return std::nullopt;
}

std::optional<Reason> LengthCheck::checkMask(Probe &probe, Operation *op,
                                             const Lengths &lengths) const {
  std::optional<Tensor> mask = probe.evaluate(getMaskOperand(op));
  if (!mask && probe.hasGivenUp())
    return std::nullopt;
  Tensor zero = Tensor::ofFloat(0), hidden = Tensor::ofFloat(-INFINITY);
  Result<Tensor> summands = !mask ? Error{""}
                            : mask->type() == ElementType::Bool
                                ? compute("Where", {&*mask, &zero, &hidden})
                                : toFloat(*mask);
  if (!summands)
    return Reason{op, "has a mask that cannot be computed for " +
                          std::to_string(lengths.total()) + " tokens"};
  if (summands->rank() >= 2 && summands->shape().back() >= lengths.total() &&
      !isCausal(*summands, lengths, summands->shape().back(),
                /*onlyAdds=*/true))
    return refuseMask(op, lengths);
  return std::nullopt;
}

/// Whether `table` has the same rows for a long sequence, as far as it has
/// them for a short one.
bool LengthCheck::isSameTable(Probe &first, Probe &probe, Value table) const {
  if (table.getDefiningOp<onnx::ConstantOp>())
    return true;
  std::optional<Tensor> then = first.evaluate(table);
  std::optional<Tensor> now = probe.evaluate(table);
  Result<Tensor> wideThen = then ? toFloat(*then) : Error{""};
  Result<Tensor> wideNow = now ? toFloat(*now) : Error{""};
  // Without positions a table has the rows of the tokens: angles.
  if (!wideThen || !wideNow || wideThen->rank() != 2 || wideNow->rank() != 2)
    return true;
  if (wideThen->dim(1) != wideNow->dim(1))
    return false;
  int64_t common = std::min(wideThen->numElements(), wideNow->numElements());
  return std::equal(wideThen->data<float>(), wideThen->data<float>() + common,
                    wideNow->data<float>());
}

bool LengthCheck::areSameAngles(Probe &first, Probe &probe, Value factor,
                                const Lengths &lengths) const {
  std::optional<Tensor> then = first.evaluate(factor);
  std::optional<Tensor> now = probe.evaluate(factor);
  auto isByToken = [](const std::optional<Tensor> &value, const Lengths &run) {
    return value && value->rank() >= 2 && interp::isFloat(value->type()) &&
           value->shape().back() > 0 &&
           value->numElements() % (run.tokens * value->shape().back()) == 0;
  };
  if (!isByToken(then, runs[0]) || !isByToken(now, lengths) ||
      then->rank() != now->rank() ||
      then->shape().back() != now->shape().back())
    return true;
  Result<Tensor> wideNow = toFloat(*now), wideThen = toFloat(*then);
  return !wideNow || !wideThen ||
         followsModel(*wideThen, runs[0], *wideNow, lengths, rotary);
}

std::optional<Reason> LengthCheck::run() {
  // A graph for one length has no other.
  if (runs.size() < 2)
    return std::nullopt;
  int64_t covered = 0;
  for (const Lengths &lengths : runs)
    covered = std::max(covered, lengths.total());
  LengthCollector collector(raised, reader, covered);
  collect(collector);
  Probe first(graph, raised, nodes, reader, runs[0]);
  for (int64_t total : collector.getLengths()) {
    std::optional<Lengths> lengths = getLengths(total);
    if (!lengths)
      continue;
    Probe probe(graph, raised, nodes, reader, *lengths);
    for (Operation *op : softmaxes)
      if (std::optional<Reason> reason = checkSoftmax(probe, op, *lengths))
        return reason;
    for (Operation *op : fused)
      if (std::optional<Reason> reason = checkMask(probe, op, *lengths))
        return reason;
    for (auto [table, op] : tables)
      if (!isSameTable(first, probe, table))
        return Reason{op, describe("rotates queries and keys", *lengths)};
    if (rotary.frequencies.empty())
      continue;
    for (Value factor : factors)
      if (!areSameAngles(first, probe, factor, *lengths))
        return Reason{factor.getDefiningOp(),
                      describe("rotates queries and keys", *lengths)};
  }
  return std::nullopt;
}

std::optional<Reason> llq::raise::probeLengths(func::FuncOp graph,
                                               const RaisedGraph &raised,
                                               const RotaryModel &rotary,
                                               WeightReader &reader) {
  return LengthCheck(graph, raised, rotary, reader).run();
}
