//===- AbstractValue.h - What raising knows about a value -------*- C++ -*-===//
//
// Raising runs the graph once for fixed small numbers of tokens. Everything
// that does not depend on activations (shapes, positions, masks, cosines) is
// evaluated to numbers. An activation is known element by element: each element
// is a sum of elements of *roots*, times known coefficients, plus a known
// constant. Reshapes, transposes, slices, expansions, concatenations and
// gathers only move elements, whatever form an exporter gives them; so roots
// are recognised by what their elements are and not by a printed sequence.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_LIB_CONVERSION_ONNXTOLLQ_ABSTRACTVALUE_H
#define LLQ_LIB_CONVERSION_ONNXTOLLQ_ABSTRACTVALUE_H

#include "WeightSource.h"

#include "mlir/IR/Value.h"
#include "llvm/ADT/SmallVector.h"

#include <memory>
#include <variant>
#include <vector>

namespace llq::raise {

//===----------------------------------------------------------------------===//
// Roots
//===----------------------------------------------------------------------===//

using RootId = uint32_t;

/// Columns `[begin, begin + width)` of a root with rows and columns.
struct Slice {
  RootId root = 0;
  int64_t begin = 0, width = 0;
  bool operator==(const Slice &) const = default;
};

/// What an activation is made of: the result of one step of the decoder. Unless
/// said otherwise a root is a matrix with a row for each token.
struct Root {
  enum class Kind {
    Tokens,        ///< [batch, tokens] ids
    Past,          ///< a cache input of the graph, in its shape
    Embedding,     ///< weight[ids]
    Rows,          ///< some rows of inputs[0]
    Linear,        ///< inputs[0] * weight^T + bias
    Squares,       ///< inputs[0]^2
    RowStatistic,  ///< [rows, 1]: (scale * sum(inputs[0]^2) + offset)^power
    Normalized,    ///< inputs[0] / sqrt(mean(inputs[0]^2) + offset)
    RMSNorm,       ///< the same times weight
    Sigmoid,       ///< 1 / (1 + exp(-inputs[0]))
    ExpNegative,   ///< exp(-inputs[0])
    Product,       ///< product of inputs
    SwiGLU,        ///< inputs[0] * sigmoid(inputs[0]) * inputs[1]
    Add,           ///< inputs[0] + inputs[1]
    Rope,          ///< inputs[0] rotated by the angles of `cosines`, `sines`
    Scores,        ///< products of queries and keys, [..., queries, keys]
    Probabilities, ///< softmax of scores
    Attention,     ///< values weighted by probabilities
  };
  explicit Root(Kind kind) : kind(kind) {}

  Kind kind;
  RootId id = 0;
  /// The shape in which elements are counted.
  Shape shape;
  /// The node that computes it.
  mlir::Operation *op = nullptr;
  llvm::SmallVector<Slice, 3> inputs;
  /// Token (batch * tokens + t) of each row.
  std::shared_ptr<const std::vector<int64_t>> rows;

  WeightSource weight;
  std::optional<WeightSource> bias;
  double scale = 1, offset = 0, power = 1;

  /// Rope: for each element the cosine and sine of its pair and the column of
  /// its partner; -1 where the graph does not use the element.
  std::vector<float> cosines, sines;
  std::vector<int32_t> partners;

  /// Past: argument of the graph and the dimension of positions.
  unsigned argument = 0, positionAxis = 0;

  /// A row or column of scores: which query or key it is. `column` is the first
  /// column of its head; `position` -1 stands for no key at all.
  struct Vector {
    int64_t batch = 0, position = -1, column = 0;
    bool operator==(const Vector &) const = default;
  };
  /// Scores: [batches, queries] and [batches, keys] of the product.
  std::vector<Vector> queries, keys;
  /// Scores: queries, keys of this call, keys of the cache (if any).
  /// Attention: queries, keys, values, and the cache roots.
  std::optional<RootId> pastKeys, pastValues;
  int64_t headDim = 0, heads = 0, kvHeads = 0;
  /// Probabilities: address of the score of each element, -1 if masked out.
  Tensor scoreAddresses;
};

/// The address of an element names its root and its index there.
inline constexpr int kIndexBits = 40;
inline constexpr int64_t kNoElement = -1;
inline int64_t makeAddress(RootId root, int64_t index) {
  return (int64_t(root) << kIndexBits) | index;
}
inline RootId getRootOf(int64_t address) {
  return RootId(address >> kIndexBits);
}
inline int64_t getIndexOf(int64_t address) {
  return address & ((int64_t(1) << kIndexBits) - 1);
}

//===----------------------------------------------------------------------===//
// Values
//===----------------------------------------------------------------------===//

/// One summand of each element of an activation.
struct Term {
  /// Address of the summand, i64 in the activation's shape; null if the term is
  /// all of `root` in row-major order.
  Tensor addresses;
  RootId root = 0;
  /// Factor, f32 and broadcastable to the activation's shape; null is 1.
  Tensor coefficients;
  /// The constant that `coefficients` are, if they are one.
  std::optional<WeightView> coefficientView;
};

/// Elements computed from the tokens.
struct Activation {
  Shape shape;
  llvm::SmallVector<Term, 1> terms;
  /// Summand, f32 and broadcastable to the shape; null is 0.
  Tensor constant;

  /// Whether elements are elements of roots as they are.
  bool isPlain() const {
    return terms.size() == 1 && !terms[0].coefficients && !constant;
  }
};

/// A value that has been evaluated.
struct Known {
  Tensor tensor;
  /// The constant it is, possibly transposed or the like.
  std::optional<WeightView> view;
  /// Whether it is the same for any number of tokens.
  bool isConstant = false;
};

/// A constant that there was no need to read.
struct Unread {
  WeightView view;
};

/// A matrix of constants behind DequantizeLinear.
struct Dequantized {
  DequantizedMatrix matrix;
};

/// Why a value is none of the above.
struct Reason {
  mlir::Operation *op;
  std::string message;
};
struct Unknown {
  std::shared_ptr<const Reason> reason;
};

/// An absent input, or one of the above.
using AbstractValue = std::variant<std::monostate, Known, Unread, Dequantized,
                                   Activation, Unknown>;

} // namespace llq::raise

#endif // LLQ_LIB_CONVERSION_ONNXTOLLQ_ABSTRACTVALUE_H
