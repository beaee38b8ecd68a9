//===- Scenario.cpp - What the inputs of a graph stand for ----------------===//
//
// Names of inputs are an interface of exporters, unlike names of nodes, and are
// asked first; types and shapes decide the rest, and what stays open is tried.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "Scenario.h"

#include <cmath>

using namespace mlir;
using namespace llq;
using namespace llq::raise;
using Kind = InputRole::Kind;

StringRef llq::raise::getInputName(BlockArgument argument) {
  auto function = cast<func::FuncOp>(argument.getOwner()->getParentOp());
  auto name = function.getArgAttrOfType<StringAttr>(argument.getArgNumber(),
                                                    onnx::kNameAttr);
  return name ? name.getValue() : StringRef();
}

/// The names and sizes of the dimensions of an input.
static ArrayAttr getDims(BlockArgument argument) {
  auto function = cast<func::FuncOp>(argument.getOwner()->getParentOp());
  return function.getArgAttrOfType<ArrayAttr>(argument.getArgNumber(),
                                              onnx::kDimsAttr);
}

/// Whether values of `value` end as the rows that a Gather selects from a
/// constant table, and how many elements the largest such table has.
static int64_t getTableSize(Value value) {
  int64_t size = 0;
  SmallVector<Value> worklist = {value};
  llvm::SmallPtrSet<Operation *, 8> seen;
  while (!worklist.empty()) {
    Value next = worklist.pop_back_val();
    for (OpOperand &use : next.getUses()) {
      Operation *user = use.getOwner();
      StringRef name = user->getName().stripDialect();
      if ((name == "Gather" || name == "contrib.GatherBlockQuantized") &&
          use.getOperandNumber() == 1) {
        auto type = dyn_cast<RankedTensorType>(user->getOperand(0).getType());
        if (type && type.hasStaticShape() && type.getRank() == 2)
          size = std::max(size, type.getNumElements());
        else if (user->getOperand(0).getDefiningOp())
          size = std::max<int64_t>(size, 1);
      } else if (use.getOperandNumber() == 0 &&
                 (name == "Cast" || name == "Identity" || name == "Reshape" ||
                  name == "Squeeze" || name == "Unsqueeze" ||
                  name == "Flatten") &&
                 seen.insert(user).second) {
        worklist.push_back(user->getResult(0));
      }
    }
  }
  return size;
}

namespace {
/// Finds the roles of inputs, one after the other.
class RoleFinder {
public:
  explicit RoleFinder(func::FuncOp graph) : graph(graph) {}
  Result<std::vector<Scenario>> find();

private:
  Result<InputRole> getRole(BlockArgument argument);
  Result<InputRole> getPastRole(BlockArgument argument, RankedTensorType type);
  Result<std::vector<Lengths>> getLengths(ArrayRef<InputRole> roles);

  func::FuncOp graph;
  BlockArgument tokens;
  /// Inputs that may be positions as well as a mask.
  SmallVector<unsigned> open;
};
} // namespace

static Error makeError(BlockArgument argument, const Twine &message) {
  return Error{
      ("graph input '" + getInputName(argument) + "' " + message).str()};
}

Result<InputRole> RoleFinder::getPastRole(BlockArgument argument,
                                          RankedTensorType type) {
  InputRole role{Kind::Past, 0};
  // The first dimension is the batch; of the others one counts positions.
  SmallVector<unsigned> dynamic;
  for (unsigned axis = 1; axis < type.getRank(); ++axis)
    if (type.isDynamicDim(axis))
      dynamic.push_back(axis);
  if (dynamic.size() > 1)
    return makeError(argument, "has several dimensions of unknown size; a "
                               "cache has only its positions");
  role.positionAxis = dynamic.empty() ? 2 : dynamic[0];
  return role;
}

Result<InputRole> RoleFinder::getRole(BlockArgument argument) {
  if (argument == tokens)
    return InputRole{Kind::Tokens};
  auto type = dyn_cast<RankedTensorType>(argument.getType());
  if (!type)
    return makeError(argument, "has no known rank");
  std::string lower = getInputName(argument).lower();
  StringRef name = lower;
  Type element = type.getElementType();
  if (isa<FloatType>(element)) {
    if (name.contains("mask") && type.getRank() == 4)
      return InputRole{Kind::CausalMask};
    if (name.contains("mask") && type.getRank() == 2)
      return InputRole{Kind::Mask};
    if (type.getRank() == 4)
      return getPastRole(argument, type);
    if (type.getRank() == 3 && !type.hasStaticShape())
      return makeError(argument, "takes embeddings; LLQ needs a graph that "
                                 "takes token ids");
    return makeError(argument, "looks like a weight: export the model with its "
                               "weights inside or in external data");
  }
  if (element.isInteger(1) && type.getNumElements() == 1 &&
      type.hasStaticShape())
    return InputRole{Kind::UseCache};
  if (name.contains("mask"))
    return InputRole{type.getRank() == 4 ? Kind::CausalMask : Kind::Mask};
  if (name.contains("logits"))
    return InputRole{Kind::NumLogits};
  if (name.contains("seqlen"))
    return InputRole{Kind::LastKey};
  if (name.contains("total_seq"))
    return InputRole{Kind::Total};
  if (name.contains("position"))
    return InputRole{Kind::Positions};
  if (type.getRank() == 2) {
    // As many columns as there are tokens: positions or a mask.
    ArrayAttr mine = getDims(argument);
    ArrayAttr theirs = tokens ? getDims(tokens) : ArrayAttr();
    if (mine && theirs && mine.size() == 2 && theirs.size() == 2 &&
        mine[1] == theirs[1])
      open.push_back(argument.getArgNumber());
    return InputRole{Kind::Mask};
  }
  return makeError(argument, "is none that a LLaMA decoder has (token ids, "
                             "attention mask, positions, cached keys and "
                             "values)");
}

Result<std::vector<Lengths>> RoleFinder::getLengths(ArrayRef<InputRole> roles) {
  auto type = cast<RankedTensorType>(tokens.getType());
  int64_t rank = type.getRank();
  Lengths fixed;
  fixed.batch = rank == 2 && !type.isDynamicDim(0) ? type.getDimSize(0) : 1;
  fixed.tokens = type.isDynamicDim(rank - 1) ? 0 : type.getDimSize(rank - 1);
  bool hasPast = false, fixedPast = false;
  for (auto [argument, role] : llvm::zip_equal(graph.getArguments(), roles)) {
    if (role.kind != Kind::Past)
      continue;
    hasPast = true;
    auto past = cast<RankedTensorType>(argument.getType());
    if (past.isDynamicDim(role.positionAxis))
      continue;
    int64_t size = past.getDimSize(role.positionAxis);
    if (fixedPast && size != fixed.past)
      return makeError(argument, "has another number of positions than other "
                                 "caches");
    fixedPast = true;
    fixed.past = size;
  }
  constexpr int64_t limit = 1 << 20;
  if (fixed.batch <= 0 || fixed.batch > limit || fixed.tokens > limit ||
      fixed.past > limit || (fixed.tokens == 0 && !type.isDynamicDim(rank - 1)))
    return makeError(tokens, "has an unreasonable size");
  // Different numbers of new and cached tokens, none of which is a size of the
  // model by chance in all of them; a first prompt is one of them.
  std::vector<Lengths> all;
  for (auto [tokenCount, past] :
       {std::pair(5, 3), std::pair(3, 7), std::pair(7, 0)}) {
    Lengths lengths = fixed;
    if (!fixed.tokens)
      lengths.tokens = tokenCount;
    if (hasPast && !fixedPast)
      lengths.past = past;
    if (llvm::none_of(all, [&](const Lengths &other) {
          return other.tokens == lengths.tokens && other.past == lengths.past;
        }))
      all.push_back(lengths);
  }
  return all;
}

Result<std::vector<Scenario>> RoleFinder::find() {
  int64_t best = 0;
  for (BlockArgument argument : graph.getArguments()) {
    auto type = dyn_cast<RankedTensorType>(argument.getType());
    if (!type || type.getRank() < 1 || type.getRank() > 2 ||
        !(type.getElementType().isInteger(64) ||
          type.getElementType().isInteger(32)))
      continue;
    int64_t size = getTableSize(argument);
    if (size && getInputName(argument) == "input_ids")
      size = INT64_MAX;
    if (size > best) {
      best = size;
      tokens = argument;
    }
  }
  if (!tokens) {
    for (BlockArgument argument : graph.getArguments()) {
      Result<InputRole> role = getRole(argument);
      if (!role)
        return Error{role.message()};
    }
    return Error{"the graph has no input of token ids that select rows of an "
                 "embedding"};
  }
  Scenario scenario;
  for (BlockArgument argument : graph.getArguments()) {
    Result<InputRole> role = getRole(argument);
    if (!role)
      return Error{role.message()};
    scenario.hasPast |= role->kind == Kind::Past;
    scenario.roles.push_back(*role);
  }
  Result<std::vector<Lengths>> lengths = getLengths(scenario.roles);
  if (!lengths)
    return Error{lengths.message()};
  scenario.lengths = *lengths;
  std::vector<Scenario> all = {scenario};
  for (unsigned index : open) {
    Scenario other = scenario;
    other.roles[index] = InputRole{Kind::Positions};
    all.push_back(std::move(other));
  }
  return all;
}

Result<std::vector<Scenario>> llq::raise::getScenarios(func::FuncOp graph) {
  return RoleFinder(graph).find();
}

//===----------------------------------------------------------------------===//
// Values of inputs
//===----------------------------------------------------------------------===//

Shape Scenario::getShape(BlockArgument argument, const Lengths &lengths) const {
  const InputRole &role = roles[argument.getArgNumber()];
  auto type = cast<RankedTensorType>(argument.getType());
  Shape shape(type.getShape().begin(), type.getShape().end());
  auto rank = unsigned(shape.size());
  for (unsigned axis = 0; axis < rank; ++axis) {
    if (!type.isDynamicDim(axis))
      continue;
    bool last = axis + 1 == rank;
    switch (role.kind) {
    case Kind::Tokens:
    case Kind::Positions:
      shape[axis] = last ? lengths.tokens : lengths.batch;
      break;
    case Kind::Mask:
      shape[axis] = last ? lengths.total() : lengths.batch;
      break;
    case Kind::CausalMask:
      shape[axis] = last               ? lengths.total()
                    : axis + 2 == rank ? lengths.tokens
                    : axis == 0        ? lengths.batch
                                       : 1;
      break;
    case Kind::Past:
      shape[axis] = axis == role.positionAxis ? lengths.past : lengths.batch;
      break;
    case Kind::LastKey:
    case Kind::Total:
    case Kind::NumLogits:
    case Kind::UseCache:
      shape[axis] = axis == 0 ? lengths.batch : 1;
      break;
    }
  }
  return shape;
}

Result<Tensor> Scenario::getValue(BlockArgument argument,
                                  const Lengths &lengths) const {
  const InputRole &role = roles[argument.getArgNumber()];
  Shape shape = getShape(argument, lengths);
  Result<int64_t> count = interp::countElements(shape);
  if (!count)
    return Error{count.message()};
  Type element = cast<RankedTensorType>(argument.getType()).getElementType();
  std::vector<float> values(*count, 1);
  for (int64_t i = 0; i < *count; ++i) {
    switch (role.kind) {
    case Kind::Positions:
      values[i] = float(lengths.past + i % lengths.tokens);
      break;
    case Kind::CausalMask: {
      bool seen = i % lengths.total() <=
                  lengths.past + i / lengths.total() % lengths.tokens;
      values[i] = isa<FloatType>(element) ? (seen ? 0 : -1e30f) : seen;
      break;
    }
    case Kind::LastKey:
      values[i] = float(lengths.total() - 1);
      break;
    case Kind::Total:
      values[i] = float(lengths.total());
      break;
    case Kind::NumLogits:
      values[i] = float(lengths.tokens);
      break;
    default:
      break;
    }
  }
  std::optional<ElementType> type = getInterpreterType(element);
  if (!type)
    return Error{"has an unsupported element type"};
  Tensor floats = makeFloats(shape, values);
  if (interp::isFloat(*type))
    return floats;
  interp::Attributes attributes;
  attributes["to"] = int64_t(interp::toONNXDataType(*type));
  return compute("Cast", {&floats}, attributes);
}

Result<bool> Scenario::bind(Evaluator &evaluator, func::FuncOp graph) const {
  const Lengths &lengths = evaluator.getLengths();
  for (BlockArgument argument : graph.getArguments()) {
    const InputRole &role = roles[argument.getArgNumber()];
    if (role.kind == Kind::Tokens || role.kind == Kind::Past) {
      Root root(role.kind == Kind::Tokens ? Root::Kind::Tokens
                                          : Root::Kind::Past);
      root.shape = getShape(argument, lengths);
      if (Result<int64_t> count = interp::countElements(root.shape); !count)
        return makeError(argument, count.message());
      root.argument = argument.getArgNumber();
      root.positionAxis = role.positionAxis;
      auto rows = std::make_shared<std::vector<int64_t>>();
      if (role.kind == Kind::Tokens)
        for (int64_t i = 0; i < lengths.batch * lengths.tokens; ++i)
          rows->push_back(i);
      root.rows = rows;
      evaluator.bind(argument, evaluator.addRoot(std::move(root)));
      continue;
    }
    Result<Tensor> value = getValue(argument, lengths);
    if (!value)
      return makeError(argument, value.message());
    evaluator.bind(argument, Known{*value, std::nullopt, false});
  }
  return true;
}
