//===- Evaluator.h - Run a graph on abstract values -------------*- C++ -*-===//
//
// One run of the graph for fixed numbers of tokens; see AbstractValue.h. The
// rules of operators are grouped by subject into one source file each.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_LIB_CONVERSION_ONNXTOLLQ_EVALUATOR_H
#define LLQ_LIB_CONVERSION_ONNXTOLLQ_EVALUATOR_H

#include "AbstractValue.h"
#include "TensorMath.h"

#include "llq/Reference/ONNXEvaluator.h"

#include "llvm/ADT/DenseMap.h"

namespace llq::raise {

/// How many tokens a run is for: `tokens` new ones of each sequence behind
/// `past` cached ones.
struct Lengths {
  int64_t batch = 1, tokens = 0, past = 0;
  int64_t total() const { return past + tokens; }
};

/// Values that are the same in every run, kept from one run to the next.
using ConstantCache = llvm::DenseMap<mlir::Value, Known>;

class Evaluator {
public:
  Evaluator(mlir::func::FuncOp graph, const ONNXEvaluator &nodes,
            WeightReader &reader, ConstantCache &constants, Lengths lengths);

  /// Sets the value of a graph input.
  void bind(mlir::Value argument, AbstractValue value);
  /// Adds a root; the result stands for all of it.
  Activation addRoot(Root root);

  /// Evaluates every node.
  void run();

  const AbstractValue &get(mlir::Value value) const;
  const Root &getRoot(RootId id) const { return *roots[id]; }
  size_t getNumRoots() const { return roots.size(); }
  const Lengths &getLengths() const { return lengths; }

  /// The matrix that an activation is: whole rows of one slice of one root. It
  /// is normalized, gated or biased first where its elements say so.
  Result<Slice> getMatrix(const Activation &activation);
  /// The slice behind selections of rows.
  Slice skipRows(Slice slice) const;

  /// Calls `visit` for every value that is an activation.
  void forEachActivation(
      llvm::function_ref<void(mlir::Value, const Activation &)> visit) const;
  /// Whether elements are attention scores.
  bool holdsScores(const Activation &activation) const;

  /// The single elements that an activation is, rotated ones included.
  Result<Activation> getElements(const Activation &activation) {
    return resolveRope(activation);
  }

  /// Float tensors that the graph computes or holds, in order: candidates for
  /// rotary frequencies.
  llvm::ArrayRef<Tensor> getVectors() const { return vectors; }

private:
  friend struct OperatorTable;

  /// A node as its rule sees it.
  struct Node {
    mlir::Operation *op;
    std::vector<AbstractValue> inputs;
    interp::Attributes attributes;
    int64_t opset;

    const AbstractValue &input(size_t index) const;
    bool has(size_t index) const;
    /// The input as an activation or a known value, or null.
    const Activation *activation(size_t index) const;
    const Known *known(size_t index) const;
    int64_t getInt(std::string_view name, int64_t fallback) const;
    float getFloat(std::string_view name, float fallback) const;
    std::string getString(std::string_view name) const;
  };
  using Values = std::vector<AbstractValue>;
  using Rule = Result<Values> (Evaluator::*)(Node &node);

  /// A standard operator that moves elements without changing them.
  struct Movement {
    explicit Movement(std::string opType, int64_t opset = 18,
                      interp::Attributes attributes = {},
                      unsigned numOutputs = 1)
        : opType(std::move(opType)), opset(opset),
          attributes(std::move(attributes)), numOutputs(numOutputs) {}
    std::string opType;
    int64_t opset;
    interp::Attributes attributes;
    unsigned numOutputs;
  };

  // Evaluator.cpp
  void runBlock(mlir::Block &block);
  Result<Values> evaluate(mlir::Operation *op);
  Result<Values> evaluateKnown(mlir::Operation *op, llvm::ArrayRef<Known> in);
  Result<Values> evaluateConstant(onnx::ConstantOp op);
  Result<Known> read(const WeightView &view);
  /// A known value, or a constant that is read now.
  Result<Known> getKnown(const AbstractValue &value);
  /// A root equal to `root` in everything but its id, new if there is none.
  Activation findOrAddRoot(Root root);
  std::optional<Values> moveView(Node &node);

  // Dequantize.cpp
  std::optional<DequantizedMatrix> getDequantized(Node &node);
  std::string describe(const Activation &activation) const;

  // Movement.cpp
  Result<Values> move(const Movement &movement,
                      llvm::ArrayRef<const AbstractValue *> inputs,
                      llvm::ArrayRef<unsigned> data);
  Activation gather(const Tensor &codes,
                    llvm::ArrayRef<const AbstractValue *> data);
  void simplify(Activation &activation) const;
  Result<Activation> reshape(const Activation &value, Shape shape);
  Result<Activation> transpose(const Activation &value, Shape permutation);
  Result<Activation> expandTo(const Activation &value, const Shape &shape);
  Result<Activation> concat(llvm::ArrayRef<Activation> values, int64_t axis);
  Result<Activation> slice(const Activation &value, int64_t axis, int64_t begin,
                           int64_t end);
  Result<Values> ruleMove(Node &node);
  Result<Values> ruleConcat(Node &node);
  Result<Values> ruleWhere(Node &node);
  Result<Values> ruleScatter(Node &node);
  Result<Values> ruleTensorScatter(Node &node);
  Result<Values> rulePad(Node &node);
  Result<Values> ruleCast(Node &node);
  Result<Values> ruleShape(Node &node);
  Result<Values> ruleSize(Node &node);
  Result<Values> ruleNeverNaN(Node &node);

  // Elementwise.cpp
  Result<Activation> scale(const Activation &value, const Known &factor);
  Result<Activation> scale(const Activation &value, float factor);
  Result<Activation> shift(const Activation &value, const Known &summand);
  Result<Activation> add(const Activation &a, const Activation &b,
                         mlir::Operation *op);
  Result<Activation> multiply(const Activation &a, const Activation &b,
                              mlir::Operation *op);
  Result<Activation> reciprocal(const Activation &value, mlir::Operation *op);
  Result<Activation> power(const Activation &value, double exponent,
                           mlir::Operation *op);
  Result<Activation> sigmoid(const Activation &value, mlir::Operation *op,
                             Root::Kind kind = Root::Kind::Sigmoid);
  Result<Values> ruleAdd(Node &node);
  Result<Values> ruleSub(Node &node);
  Result<Values> ruleMul(Node &node);
  Result<Values> ruleDiv(Node &node);
  Result<Values> ruleNeg(Node &node);
  Result<Values> ruleSum(Node &node);
  Result<Values> ruleMax(Node &node);
  Result<Values> rulePow(Node &node);
  Result<Values> ruleSqrt(Node &node);
  Result<Values> ruleReciprocal(Node &node);
  Result<Values> ruleExp(Node &node);
  Result<Values> ruleSigmoid(Node &node);
  Result<Values> ruleSwish(Node &node);

  // Normalization.cpp
  Result<Activation> square(const Activation &value, mlir::Operation *op);
  Result<Activation> normalize(const Activation &value, const Root &statistic,
                               mlir::Operation *op);
  Result<Activation> rmsNorm(const Activation &value, const Known &weight,
                             float epsilon, mlir::Operation *op);
  Result<Slice> getWeightedNorm(const Activation &value, const Slice &slice);
  Result<Values> ruleReduce(Node &node);
  Result<Values> ruleRMSNorm(Node &node);
  Result<Values> ruleSkipRMSNorm(Node &node);

  // Linear.cpp
  Result<Activation> linear(const Activation &input, WeightSource weight,
                            mlir::Operation *op);
  Result<Activation> addBias(const Activation &value, const Known &bias,
                             mlir::Operation *op);
  Result<WeightSource> getWeight(const AbstractValue &value);
  Result<Values> ruleGather(Node &node);
  Result<Values> ruleMatMul(Node &node);
  Result<Values> ruleFusedMatMul(Node &node);
  Result<Values> ruleGemm(Node &node);
  Result<Values> ruleMatMulNBits(Node &node);
  Result<Values> ruleGatherBlockQuantized(Node &node);
  Result<Activation> matMul(const AbstractValue &a, const AbstractValue &b,
                            mlir::Operation *op);

  // Einsum.cpp
  Result<Values> ruleEinsum(Node &node);

  // Rope.cpp
  Result<Activation> resolveRope(const Activation &value,
                                 mlir::Operation *op = nullptr);
  Result<Activation> rotate(const Activation &value, const Tensor &cosines,
                            const Tensor &sines, bool interleaved);
  Result<Tensor> gatherRows(const AbstractValue &table, const Tensor &indices);
  Result<Tensor> selectAngles(const AbstractValue &table,
                              const Tensor &positions, int64_t tokens);
  Result<Values> ruleRotaryEmbedding(Node &node);
  Result<Values> ruleContribRotaryEmbedding(Node &node);

  // Attention.cpp
  Result<Root::Vector> getHead(llvm::ArrayRef<int64_t> addresses,
                               RootId &source,
                               llvm::SmallVectorImpl<int64_t> &order) const;
  Result<Activation> scores(const Activation &queries, const Activation &keys,
                            mlir::Operation *op);
  Result<Activation> softmax(const Activation &scores, mlir::Operation *op);
  Result<Activation> weighValues(const Activation &probabilities,
                                 const Activation &values, mlir::Operation *op);
  Result<Values> ruleSoftmax(Node &node);

  // FusedAttention.cpp
  struct FusedAttention;
  Result<Activation> attend(const FusedAttention &inputs, mlir::Operation *op);
  Result<Activation> splitHeads(const Activation &value, int64_t heads);
  Result<Activation> appendPast(Node &node, size_t index,
                                const Activation &fresh);
  Result<Values> ruleAttention(Node &node);
  Result<Values> ruleGroupQueryAttention(Node &node);
  Result<Values> ruleMultiHeadAttention(Node &node);

  mlir::func::FuncOp graph;
  const ONNXEvaluator &nodes;
  WeightReader &reader;
  ConstantCache &constants;
  Lengths lengths;
  std::vector<std::unique_ptr<Root>> roots;
  llvm::DenseMap<mlir::Value, AbstractValue> values;
  std::vector<Tensor> vectors;
};

} // namespace llq::raise

#endif // LLQ_LIB_CONVERSION_ONNXTOLLQ_EVALUATOR_H
