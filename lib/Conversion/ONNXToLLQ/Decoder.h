//===- Decoder.h - The decoder that a graph computes ------------*- C++ -*-===//
//
// Everything of a LLaMA decoder that normal form needs, independent of how the
// graph printed it and of the lengths it was run for.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_LIB_CONVERSION_ONNXTOLLQ_DECODER_H
#define LLQ_LIB_CONVERSION_ONNXTOLLQ_DECODER_H

#include "Evaluator.h"
#include "Scenario.h"

#include <map>

namespace llq::raise {

/// Weight [N, K] and bias [N] of a linear layer.
struct LinearLayer {
  WeightSource weight;
  std::optional<WeightSource> bias;
  mlir::Operation *op = nullptr;
  bool operator==(const LinearLayer &other) const {
    return weight == other.weight && bias == other.bias;
  }
};

struct DecoderLayer {
  WeightSource inputNorm, postNorm;
  LinearLayer q, k, v, o, gate, up, down;
  bool operator==(const DecoderLayer &other) const = default;
};

/// Cosines and sines that queries and keys are rotated by.
struct Rotation {
  bool interleaved = false;
  /// By position: cosine and sine for each frequency.
  std::map<int64_t, std::vector<std::pair<float, float>>> angles;
};

struct Decoder {
  WeightSource embedding;
  std::vector<DecoderLayer> layers;
  WeightSource norm;
  std::optional<LinearLayer> head;
  int64_t heads = 0, kvHeads = 0, headDim = 0;
  float epsilon = 0, scale = 0;
  Rotation rotation;
  /// Output of the graph that holds logits or hidden states.
  unsigned output = 0;
  /// Arguments that are caches, and the outputs that are their next values.
  std::map<unsigned, unsigned> caches;

  /// Whether both are the same model; they may have seen other positions.
  bool isSame(const Decoder &other) const;
};

/// Why there is none; `op` may be null.
struct DecoderResult {
  std::optional<Decoder> decoder;
  Reason reason{nullptr, ""};
};

/// A decoder, what it was found with, and candidates for its frequencies.
struct RaisedGraph {
  DecoderResult result;
  Scenario scenario;
  std::vector<Tensor> vectors;
  /// Values that are activations, with their shape in each run, and those among
  /// them that hold attention scores.
  llvm::DenseMap<mlir::Value, std::vector<Shape>> shapes;
  llvm::DenseSet<mlir::Value> scores;
};

/// Raises `graph`: runs it for all lengths of the first scenario that gives a
/// decoder.
RaisedGraph raiseDecoder(mlir::func::FuncOp graph, WeightReader &reader);

} // namespace llq::raise

#endif // LLQ_LIB_CONVERSION_ONNXTOLLQ_DECODER_H
