//===- Evaluator.cpp - Run a graph on abstract values ---------------------===//
//
// Dispatch: constants, values that can be evaluated, and the rules of operators
// on activations.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "Evaluator.h"

using namespace mlir;
using namespace llq;
using namespace llq::raise;

/// Constants of up to this many elements are read at once.
static constexpr int64_t kMaxEagerElements = 16384;
/// Constants that the graph computes with may have this many bytes at most.
static constexpr int64_t kMaxReadBytes = int64_t(4) << 30;
/// Rotary frequencies: half a head, or a head.
static constexpr int64_t kMaxFrequencies = 1024;

namespace llq::raise {
/// The rule of each operation that may have activations among its inputs.
struct OperatorTable {
  static const llvm::StringMap<Evaluator::Rule> &get() {
    using E = Evaluator;
    static const llvm::StringMap<Evaluator::Rule> table = {
        {"onnx.Add", &E::ruleAdd},
        {"onnx.Attention", &E::ruleAttention},
        {"onnx.Cast", &E::ruleCast},
        {"onnx.CastLike", &E::ruleCast},
        {"onnx.Concat", &E::ruleConcat},
        {"onnx.Div", &E::ruleDiv},
        {"onnx.Dropout", &E::ruleMove},
        {"onnx.Einsum", &E::ruleEinsum},
        {"onnx.Exp", &E::ruleExp},
        {"onnx.Expand", &E::ruleMove},
        {"onnx.Flatten", &E::ruleMove},
        {"onnx.Gather", &E::ruleGather},
        {"onnx.GatherElements", &E::ruleMove},
        {"onnx.GatherND", &E::ruleMove},
        {"onnx.Gemm", &E::ruleGemm},
        {"onnx.Identity", &E::ruleMove},
        {"onnx.IsInf", &E::ruleNeverNaN},
        {"onnx.IsNaN", &E::ruleNeverNaN},
        {"onnx.MatMul", &E::ruleMatMul},
        {"onnx.Max", &E::ruleMax},
        {"onnx.Mul", &E::ruleMul},
        {"onnx.Neg", &E::ruleNeg},
        {"onnx.Pad", &E::rulePad},
        {"onnx.Pow", &E::rulePow},
        {"onnx.RMSNormalization", &E::ruleRMSNorm},
        {"onnx.Reciprocal", &E::ruleReciprocal},
        {"onnx.ReduceL2", &E::ruleReduce},
        {"onnx.ReduceMean", &E::ruleReduce},
        {"onnx.ReduceSum", &E::ruleReduce},
        {"onnx.ReduceSumSquare", &E::ruleReduce},
        {"onnx.Reshape", &E::ruleMove},
        {"onnx.RotaryEmbedding", &E::ruleRotaryEmbedding},
        {"onnx.ScatterElements", &E::ruleScatter},
        {"onnx.ScatterND", &E::ruleScatter},
        {"onnx.Shape", &E::ruleShape},
        {"onnx.Sigmoid", &E::ruleSigmoid},
        {"onnx.SimplifiedLayerNormalization", &E::ruleRMSNorm},
        {"onnx.Size", &E::ruleSize},
        {"onnx.Slice", &E::ruleMove},
        {"onnx.Softmax", &E::ruleSoftmax},
        {"onnx.Split", &E::ruleMove},
        {"onnx.Sqrt", &E::ruleSqrt},
        {"onnx.Squeeze", &E::ruleMove},
        {"onnx.Sub", &E::ruleSub},
        {"onnx.Sum", &E::ruleSum},
        {"onnx.Swish", &E::ruleSwish},
        {"onnx.TensorScatter", &E::ruleTensorScatter},
        {"onnx.Tile", &E::ruleMove},
        {"onnx.Transpose", &E::ruleMove},
        {"onnx.Unsqueeze", &E::ruleMove},
        {"onnx.Where", &E::ruleWhere},
        {"onnx.contrib.FusedMatMul", &E::ruleFusedMatMul},
        {"onnx.contrib.GatherBlockQuantized", &E::ruleGatherBlockQuantized},
        {"onnx.contrib.GroupQueryAttention", &E::ruleGroupQueryAttention},
        {"onnx.contrib.MatMulNBits", &E::ruleMatMulNBits},
        {"onnx.contrib.MultiHeadAttention", &E::ruleMultiHeadAttention},
        {"onnx.contrib.QuickGelu", &E::ruleSwish},
        {"onnx.contrib.RotaryEmbedding", &E::ruleContribRotaryEmbedding},
        {"onnx.contrib.SimplifiedLayerNormalization", &E::ruleRMSNorm},
        {"onnx.contrib.SkipSimplifiedLayerNormalization", &E::ruleSkipRMSNorm},
        {"onnx.contrib.TransposeMatMul", &E::ruleFusedMatMul},
    };
    return table;
  }
};
} // namespace llq::raise

//===----------------------------------------------------------------------===//
// Node
//===----------------------------------------------------------------------===//

static const AbstractValue kAbsent;

const AbstractValue &Evaluator::Node::input(size_t index) const {
  return index < inputs.size() ? inputs[index] : kAbsent;
}

bool Evaluator::Node::has(size_t index) const {
  return !std::holds_alternative<std::monostate>(input(index));
}

const Activation *Evaluator::Node::activation(size_t index) const {
  return std::get_if<Activation>(&input(index));
}

const Known *Evaluator::Node::known(size_t index) const {
  return std::get_if<Known>(&input(index));
}

int64_t Evaluator::Node::getInt(std::string_view name, int64_t fallback) const {
  auto it = attributes.find(name);
  if (it == attributes.end())
    return fallback;
  const int64_t *value = std::get_if<int64_t>(&it->second);
  return value ? *value : fallback;
}

float Evaluator::Node::getFloat(std::string_view name, float fallback) const {
  auto it = attributes.find(name);
  if (it == attributes.end())
    return fallback;
  const float *value = std::get_if<float>(&it->second);
  return value ? *value : fallback;
}

std::string Evaluator::Node::getString(std::string_view name) const {
  auto it = attributes.find(name);
  if (it == attributes.end())
    return "";
  const std::string *value = std::get_if<std::string>(&it->second);
  return value ? *value : "";
}

//===----------------------------------------------------------------------===//
// Evaluator
//===----------------------------------------------------------------------===//

Evaluator::Evaluator(func::FuncOp graph, const ONNXEvaluator &nodes,
                     WeightReader &reader, ConstantCache &constants,
                     Lengths lengths)
    : graph(graph), nodes(nodes), reader(reader), constants(constants),
      lengths(lengths) {}

void Evaluator::bind(Value argument, AbstractValue value) {
  values[argument] = std::move(value);
}

Activation Evaluator::addRoot(Root root) {
  root.id = RootId(roots.size());
  Activation all;
  all.shape = root.shape;
  Term &term = all.terms.emplace_back();
  term.root = root.id;
  roots.push_back(std::make_unique<Root>(std::move(root)));
  return all;
}

Activation Evaluator::findOrAddRoot(Root root) {
  for (const std::unique_ptr<Root> &other : llvm::reverse(roots)) {
    // Inputs are older than what is made of them.
    if (!root.inputs.empty() && other->id <= root.inputs[0].root)
      break;
    if (other->kind == root.kind && other->inputs == root.inputs &&
        other->shape == root.shape && *other->rows == *root.rows &&
        other->weight == root.weight && other->cosines == root.cosines &&
        other->sines == root.sines && other->partners == root.partners) {
      Activation all;
      all.shape = other->shape;
      all.terms.emplace_back().root = other->id;
      return all;
    }
  }
  return addRoot(std::move(root));
}

const AbstractValue &Evaluator::get(Value value) const {
  auto it = values.find(value);
  return it == values.end() ? kAbsent : it->second;
}

void Evaluator::run() { runBlock(graph.front()); }

void Evaluator::forEachActivation(
    function_ref<void(Value, const Activation &)> visit) const {
  for (auto &[value, abstract] : values)
    if (auto *activation = std::get_if<Activation>(&abstract))
      visit(value, *activation);
}

bool Evaluator::holdsScores(const Activation &activation) const {
  for (const Term &term : activation.terms) {
    RootId id = term.root;
    if (term.addresses) {
      ArrayRef<int64_t> all(term.addresses.data<int64_t>(),
                            term.addresses.numElements());
      const int64_t *some =
          llvm::find_if(all, [](int64_t a) { return a != kNoElement; });
      if (some == all.end())
        continue;
      id = getRootOf(*some);
    }
    if (roots[id]->kind == Root::Kind::Scores)
      return true;
  }
  return false;
}

void Evaluator::runBlock(Block &block) {
  for (Operation &op : block.without_terminator()) {
    Result<Values> results = evaluate(&op);
    if (!results) {
      Unknown unknown{std::make_shared<Reason>(Reason{&op, results.message()})};
      for (Value result : op.getResults())
        values[result] = unknown;
      continue;
    }
    for (auto [i, result] : llvm::enumerate(op.getResults()))
      values[result] =
          i < results->size() ? std::move((*results)[i]) : AbstractValue();
  }
}

Result<Known> Evaluator::read(const WeightView &view) {
  if (view.numElements() * int64_t(interp::elementSize(view.type)) >
      kMaxReadBytes)
    return Error{"computes with a constant of more than 4 GiB"};
  // Through the whole constant: views of it are rearranged in memory.
  Builder b(graph.getContext());
  Known known;
  known.view = view;
  known.isConstant = true;
  std::vector<char> bytes;
  size_t width = interp::elementSize(view.type);
  if (interp::elementBits(view.type) < 8)
    return Error{"computes with a rearranged constant of " +
                 std::string(interp::elementTypeName(view.type))};
  llvm::Expected<std::vector<char>> all = reader.copyBytes(view.data);
  if (!all)
    return Error{llvm::toString(all.takeError())};
  if (view.isContiguous()) {
    Result<Tensor> tensor = Tensor::copyRaw(
        view.type, view.shape, all->data() + size_t(view.offset) * width,
        size_t(view.numElements()) * width);
    if (!tensor)
      return Error{tensor.message()};
    known.tensor = *tensor;
  } else {
    Result<interp::MutableTensor> tensor =
        interp::MutableTensor::allocate(view.type, view.shape);
    if (!tensor)
      return Error{tensor.message()};
    char *out = tensor->data<char>();
    Shape index(view.shape.size(), 0);
    for (int64_t i = 0, e = view.numElements(); i < e; ++i) {
      int64_t from = view.offset;
      for (size_t axis = 0; axis < index.size(); ++axis)
        from += index[axis] * view.strides[axis];
      std::memcpy(out + size_t(i) * width, all->data() + size_t(from) * width,
                  width);
      for (size_t axis = index.size(); axis-- > 0;) {
        if (++index[axis] < view.shape[axis])
          break;
        index[axis] = 0;
      }
    }
    known.tensor = std::move(*tensor).freeze();
  }
  if (interp::isFloat(view.type)) {
    Result<Tensor> wide = toFloat(known.tensor);
    if (!wide)
      return Error{wide.message()};
    known.tensor = *wide;
  }
  return known;
}

Result<Known> Evaluator::getKnown(const AbstractValue &value) {
  if (auto *known = std::get_if<Known>(&value))
    return *known;
  if (auto *unread = std::get_if<Unread>(&value))
    return read(unread->view);
  if (auto *dequantized = std::get_if<Dequantized>(&value)) {
    llvm::Expected<std::vector<float>> values =
        dequantize(dequantized->matrix, reader);
    if (!values)
      return Error{llvm::toString(values.takeError())};
    return Known{makeFloats(dequantized->matrix.codes.shape, *values),
                 std::nullopt, /*isConstant=*/true};
  }
  return Error{"has an input that should be known and depends on the tokens"};
}

Result<Evaluator::Values> Evaluator::evaluateConstant(onnx::ConstantOp op) {
  auto type = cast<RankedTensorType>(op.getResult().getType());
  std::optional<ElementType> element =
      getInterpreterType(type.getElementType());
  if (!element)
    return Error{"has elements of an unsupported type"};
  Shape shape(type.getShape().begin(), type.getShape().end());
  WeightView view = WeightView::of(op.getValue(), *element, shape);
  if (type.getNumElements() > kMaxEagerElements)
    return Values{Unread{std::move(view)}};
  Result<Tensor> tensor = readConstant(reader, op);
  if (tensor && interp::isFloat(*element))
    tensor = toFloat(*tensor);
  if (!tensor)
    return Error{tensor.message()};
  return Values{Known{*tensor, std::move(view), /*isConstant=*/true}};
}

Result<Evaluator::Values> Evaluator::evaluateKnown(Operation *op,
                                                   ArrayRef<Known> in) {
  bool isConstant = llvm::all_of(
      in, [](const Known &known) { return !known.tensor || known.isConstant; });
  SmallVector<const Tensor *> tensors;
  for (const Known &known : in)
    tensors.push_back(known.tensor ? &known.tensor : nullptr);
  Result<std::vector<Tensor>> results = nodes.evaluate(op, tensors);
  if (!results)
    return Error{results.message()};
  Values out;
  for (auto [tensor, value] : llvm::zip_equal(*results, op->getResults())) {
    if (!tensor) {
      out.emplace_back();
      continue;
    }
    Known known{tensor, std::nullopt, isConstant};
    if (isConstant)
      constants[value] = known;
    out.emplace_back(std::move(known));
  }
  return out;
}

Result<Evaluator::Values> Evaluator::evaluate(Operation *op) {
  if (isa<onnx::NoneOp>(op))
    return Values{AbstractValue()};
  if (op->getNumResults() && constants.contains(op->getResult(0))) {
    Values cached;
    for (Value result : op->getResults()) {
      auto it = constants.find(result);
      cached.push_back(it == constants.end() ? AbstractValue()
                                             : AbstractValue(it->second));
    }
    return cached;
  }
  if (auto constant = dyn_cast<onnx::ConstantOp>(op)) {
    Result<Values> results = evaluateConstant(constant);
    if (results)
      if (auto *known = std::get_if<Known>(&(*results)[0])) {
        constants[constant] = *known;
        if (interp::isFloat(known->tensor.type()) &&
            known->tensor.numElements() <= kMaxFrequencies)
          vectors.push_back(known->tensor);
      }
    return results;
  }

  // A value that could not be understood spreads, with the first reason.
  Node node{op, {}, {}, nodes.getOpset(op)};
  const Activation *activation = nullptr;
  for (Value operand : op->getOperands()) {
    const AbstractValue &value = get(operand);
    if (auto *unknown = std::get_if<Unknown>(&value))
      return Values(op->getNumResults(), *unknown);
    if (auto *some = std::get_if<Activation>(&value); some && !activation)
      activation = some;
    node.inputs.push_back(value);
  }

  if (auto branch = dyn_cast<onnx::IfOp>(op)) {
    const Known *condition = node.known(0);
    if (!condition || condition->tensor.type() != ElementType::Bool ||
        condition->tensor.numElements() != 1)
      return Error{"has a condition that depends on the tokens"};
    Block &block =
        branch.getRegion(condition->tensor.data<uint8_t>()[0] ? 0 : 1).front();
    runBlock(block);
    Values out;
    for (Value value : block.getTerminator()->getOperands())
      out.push_back(get(value));
    return out;
  }
  if (isa<onnx::CustomOp>(op))
    return Error{"is an operator that LLQ does not know"};
  Result<interp::Attributes> attributes = nodes.getAttributes(op);
  if (!attributes)
    return Error{attributes.message()};
  node.attributes = std::move(*attributes);

  if (activation) {
    auto rule = OperatorTable::get().find(op->getName().getStringRef());
    if (rule == OperatorTable::get().end())
      return Error{"is applied to " + describe(*activation) +
                   ", which no step of a LLaMA decoder does"};
    return (this->*rule->second)(node);
  }
  // Constants are followed as views as long as that is possible.
  if (isa<onnx::DequantizeLinearOp, onnx::ContribDequantizeLinearOp>(op))
    if (std::optional<DequantizedMatrix> matrix = getDequantized(node))
      return Values{Dequantized{std::move(*matrix)}};
  if (std::optional<Values> moved = moveView(node))
    return *moved;
  SmallVector<Known> in;
  for (const AbstractValue &value : node.inputs) {
    if (std::holds_alternative<std::monostate>(value)) {
      in.emplace_back();
      continue;
    }
    Result<Known> known = getKnown(value);
    if (!known)
      return Error{known.message()};
    in.push_back(std::move(*known));
  }
  Result<Values> results = evaluateKnown(op, in);
  if (results)
    for (const AbstractValue &value : *results)
      if (auto *known = std::get_if<Known>(&value);
          known && interp::isFloat(known->tensor.type()) &&
          known->tensor.numElements() > 1 &&
          known->tensor.numElements() <= kMaxFrequencies)
        vectors.push_back(known->tensor);
  return results;
}

//===----------------------------------------------------------------------===//
// Views of constants
//===----------------------------------------------------------------------===//

/// Where a known or unread value has its view.
static const WeightView *getView(const AbstractValue &value) {
  if (auto *unread = std::get_if<Unread>(&value))
    return &unread->view;
  auto *known = std::get_if<Known>(&value);
  return known && known->view ? &*known->view : nullptr;
}

/// The integers of a known value.
static std::optional<std::vector<int64_t>> getInts(const AbstractValue &value) {
  auto *known = std::get_if<Known>(&value);
  if (!known)
    return std::nullopt;
  Result<std::vector<int64_t>> ints = known->tensor.toInts();
  if (!ints)
    return std::nullopt;
  return *ints;
}

/// Moves the view of a constant without reading it. None if the operator is not
/// such a movement; then the constant is read.
std::optional<Evaluator::Values> Evaluator::moveView(Node &node) {
  if (node.inputs.empty())
    return std::nullopt;
  StringRef name = node.op->getName().stripDialect();
  if (auto *dequantized = std::get_if<Dequantized>(&node.inputs[0])) {
    bool keeps = name == "Identity" || (name == "Cast" && [&] {
                   auto to = interp::fromONNXDataType(node.getInt("to", 0));
                   return to && interp::isFloat(*to);
                 }());
    if (!keeps && name != "Transpose")
      return std::nullopt;
    bool swaps = name == "Transpose";
    if (auto it = node.attributes.find("perm"); it != node.attributes.end())
      if (auto *perm = std::get_if<std::vector<int64_t>>(&it->second))
        swaps = *perm == std::vector<int64_t>{1, 0};
    return Values{swaps ? Dequantized{dequantized->matrix.transposed()}
                        : *dequantized};
  }
  const WeightView *view = getView(node.inputs[0]);
  if (!view || interp::elementBits(view->type) < 8)
    return std::nullopt;
  SmallVector<WeightView> moved;
  int64_t rank = int64_t(view->shape.size());
  auto normalize = [&](int64_t axis) { return axis < 0 ? axis + rank : axis; };

  if (name == "Identity") {
    moved.push_back(*view);
  } else if (name == "Cast" || name == "CastLike") {
    // Half precision is widened everywhere: the stored values are what counts.
    auto target = name == "Cast"
                      ? interp::fromONNXDataType(node.getInt("to", 0))
                      : std::optional(ElementType::Float32);
    if (name == "CastLike")
      if (auto *known = node.known(1))
        target = known->tensor.type();
    if (!target || !interp::isFloat(*target) || !interp::isFloat(view->type))
      return std::nullopt;
    moved.push_back(*view);
  } else if (name == "Transpose") {
    Shape permutation;
    if (auto it = node.attributes.find("perm"); it != node.attributes.end()) {
      if (auto *perm = std::get_if<std::vector<int64_t>>(&it->second))
        permutation = *perm;
    } else {
      for (int64_t i = rank; i-- > 0;)
        permutation.push_back(i);
    }
    Shape sorted = permutation;
    llvm::sort(sorted);
    if (int64_t(sorted.size()) != rank)
      return std::nullopt;
    for (int64_t i = 0; i < rank; ++i)
      if (sorted[i] != i)
        return std::nullopt;
    moved.push_back(view->transposed(permutation));
  } else if (name == "Reshape" || name == "Squeeze" || name == "Unsqueeze" ||
             name == "Flatten") {
    // The interpreter knows the rules; a tensor of bytes has the shape.
    Result<interp::MutableTensor> bytes =
        interp::MutableTensor::allocate(ElementType::UInt8, view->shape);
    if (!bytes)
      return std::nullopt;
    Tensor input = std::move(*bytes).freeze();
    SmallVector<const Tensor *> tensors = {&input};
    for (const AbstractValue &value : llvm::drop_begin(node.inputs)) {
      auto *known = std::get_if<Known>(&value);
      if (!known)
        return std::nullopt;
      tensors.push_back(&known->tensor);
    }
    Result<std::vector<Tensor>> result = nodes.evaluate(node.op, tensors);
    if (!result)
      return std::nullopt;
    std::optional<WeightView> reshaped = view->reshaped((*result)[0].shape());
    if (!reshaped)
      return std::nullopt;
    moved.push_back(*reshaped);
  } else if (name == "Split") {
    int64_t axis = normalize(node.getInt("axis", 0));
    if (axis < 0 || axis >= rank)
      return std::nullopt;
    std::vector<int64_t> sizes;
    if (auto given = getInts(node.input(1)))
      sizes = *given;
    else if (view->shape[axis] % node.op->getNumResults() == 0)
      sizes.assign(node.op->getNumResults(),
                   view->shape[axis] / node.op->getNumResults());
    int64_t begin = 0;
    for (int64_t size : sizes) {
      if (size < 0 || begin + size > view->shape[axis])
        return std::nullopt;
      moved.push_back(view->sliced(axis, begin, size));
      begin += size;
    }
    if (begin != view->shape[axis] || moved.size() != node.op->getNumResults())
      return std::nullopt;
  } else {
    return std::nullopt;
  }

  Values out;
  for (WeightView &part : moved) {
    if (!std::holds_alternative<Known>(node.inputs[0]) &&
        part.numElements() > kMaxEagerElements) {
      out.emplace_back(Unread{std::move(part)});
      continue;
    }
    Result<Known> known = read(part);
    if (!known)
      return std::nullopt;
    out.emplace_back(std::move(*known));
  }
  return out;
}

std::string Evaluator::describe(const Activation &activation) const {
  for (const Term &term : activation.terms) {
    RootId id = term.root;
    if (term.addresses) {
      if (term.addresses.numElements() == 0 ||
          term.addresses.data<int64_t>()[0] == kNoElement)
        continue;
      id = getRootOf(term.addresses.data<int64_t>()[0]);
    }
    switch (roots[id]->kind) {
    case Root::Kind::Tokens:
      return "token ids";
    case Root::Kind::Past:
      return "cached keys or values";
    case Root::Kind::Embedding:
      return "embeddings";
    case Root::Kind::Rows:
    case Root::Kind::Product:
      return "activations";
    case Root::Kind::Linear:
      return "the result of a linear layer";
    case Root::Kind::Squares:
      return "squares";
    case Root::Kind::RowStatistic:
      return "the mean square of activations";
    case Root::Kind::Normalized:
    case Root::Kind::RMSNorm:
      return "normalized activations";
    case Root::Kind::Sigmoid:
    case Root::Kind::ExpNegative:
    case Root::Kind::SwiGLU:
      return "gate activations";
    case Root::Kind::Add:
      return "the residual stream";
    case Root::Kind::Rope:
      return "rotated queries or keys";
    case Root::Kind::Scores:
      return "attention scores";
    case Root::Kind::Probabilities:
      return "attention probabilities";
    case Root::Kind::Attention:
      return "the result of attention";
    }
  }
  return "activations";
}
