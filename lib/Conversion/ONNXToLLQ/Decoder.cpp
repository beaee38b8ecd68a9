//===- Decoder.cpp - The decoder that a graph computes --------------------===//
//
// Walks from the logits back to the embedding and checks that every step is
// that of a LLaMA decoder.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "Decoder.h"

#include "llvm/ADT/SmallSet.h"
#include "llvm/Support/Format.h"

#include <cmath>

using namespace mlir;
using namespace llq;
using namespace llq::raise;
using Kind = Root::Kind;

bool Decoder::isSame(const Decoder &other) const {
  return embedding == other.embedding && layers == other.layers &&
         norm == other.norm && head == other.head && heads == other.heads &&
         kvHeads == other.kvHeads && headDim == other.headDim &&
         epsilon == other.epsilon && scale == other.scale &&
         rotation.interleaved == other.rotation.interleaved &&
         output == other.output;
}

static std::string toText(double value) {
  std::string text;
  llvm::raw_string_ostream(text) << llvm::format("%g", value);
  return text;
}

namespace {
/// One walk. Methods return false after `fail`.
class DecoderReader {
public:
  DecoderReader(Evaluator &evaluator, func::FuncOp graph,
                const Scenario &scenario)
      : evaluator(evaluator), graph(graph), scenario(scenario) {}
  DecoderResult read();

private:
  bool fail(Operation *op, const Twine &message) {
    if (result.reason.message.empty())
      result.reason = {op, message.str()};
    return false;
  }
  const Root &getRoot(const Slice &slice) const {
    return evaluator.getRoot(evaluator.skipRows(slice).root);
  }
  /// Whether `slice` is all columns of its root.
  bool isWhole(const Slice &slice) const {
    return slice.begin == 0 &&
           slice.width == evaluator.getRoot(slice.root).shape.back();
  }
  bool isSame(const Slice &a, const Slice &b) const {
    return evaluator.skipRows(a) == evaluator.skipRows(b);
  }

  std::optional<Slice> findOutput();
  bool readNorm(const Slice &slice, WeightSource &weight, Slice &input);
  bool readLinear(const Slice &slice, StringRef name, LinearLayer &layer,
                  Slice &input);
  bool readLayer(const Slice &output, Slice &input);
  bool readAttention(const Root &attention, DecoderLayer &layer, Slice &normed);
  bool readRotation(const Root &attention, const Slice &slice, StringRef what);
  double snapScale(double scale, int64_t headDim);
  bool checkCache(const Root &attention);
  bool isUpdatedCache(Value output, const Root &past, const Slice &fresh);

  Evaluator &evaluator;
  func::FuncOp graph;
  const Scenario &scenario;
  Decoder decoder;
  DecoderResult result;
  llvm::SmallSet<RootId, 16> caches;
};
} // namespace

/// The output of logits or hidden states: the last thing that is computed.
std::optional<Slice> DecoderReader::findOutput() {
  auto outputs = graph.front().getTerminator()->getOperands();
  unsigned main = 0;
  for (unsigned i = 0; i < outputs.size(); ++i)
    if (auto name = graph.getResultAttrOfType<StringAttr>(i, onnx::kNameAttr);
        name && name.getValue() == "logits")
      main = i;
  const AbstractValue &value = evaluator.get(outputs[main]);
  if (auto *unknown = std::get_if<Unknown>(&value)) {
    result.reason = *unknown->reason;
    return std::nullopt;
  }
  std::optional<Slice> best;
  for (unsigned i = 0; i < outputs.size(); ++i) {
    auto *activation = std::get_if<Activation>(&evaluator.get(outputs[i]));
    if (!activation)
      continue;
    Result<Slice> matrix = evaluator.getMatrix(*activation);
    if (!matrix || !isWhole(*matrix))
      continue;
    const Root &root = getRoot(*matrix);
    bool isHead = root.kind == Kind::Linear &&
                  getRoot(root.inputs[0]).kind == Kind::RMSNorm;
    if (!isHead && root.kind != Kind::RMSNorm)
      continue;
    if (!best || getRoot(*best).id < root.id) {
      best = *matrix;
      decoder.output = i;
    }
  }
  if (!best)
    fail(outputs[main].getDefiningOp(),
         "gives no logits: they are a linear layer of the normalized residual "
         "stream, or that itself");
  return best;
}

bool DecoderReader::readNorm(const Slice &slice, WeightSource &weight,
                             Slice &input) {
  const Root &norm = getRoot(slice);
  if (norm.kind != Kind::RMSNorm || !isWhole(slice))
    return fail(norm.op, "is used where a LLaMA decoder has an RMS norm");
  auto epsilon = float(norm.offset);
  if (decoder.epsilon != 0 && decoder.epsilon != epsilon)
    return fail(norm.op, "has epsilon " + toText(epsilon) + ", other norms " +
                             toText(decoder.epsilon));
  decoder.epsilon = epsilon;
  weight = norm.weight;
  input = norm.inputs[0];
  return true;
}

bool DecoderReader::readLinear(const Slice &slice, StringRef name,
                               LinearLayer &layer, Slice &input) {
  Slice whole = evaluator.skipRows(slice);
  const Root &linear = evaluator.getRoot(whole.root);
  if (linear.kind != Kind::Linear)
    return fail(linear.op, "is used as the result of " + name +
                               ", a linear layer, and is none");
  layer.op = linear.op;
  layer.weight = linear.weight;
  layer.bias = linear.bias;
  if (!isWhole(whole)) {
    layer.weight = linear.weight.sliceRows(whole.begin, whole.width);
    if (linear.bias)
      layer.bias = linear.bias->sliceRows(whole.begin, whole.width);
  }
  input = linear.inputs[0];
  return true;
}

bool DecoderReader::readRotation(const Root &attention, const Slice &slice,
                                 StringRef what) {
  const Root &rope = getRoot(slice);
  if (rope.kind != Kind::Rope)
    return fail(attention.op, "has " + what + " without rotary embedding");
  int64_t size = attention.headDim, half = size / 2;
  int64_t columns = rope.shape[1];
  if (size % 2)
    return fail(attention.op, "has heads of odd size " + Twine(size));
  auto partnerOf = [&](int64_t column) { return rope.partners[column]; };
  bool interleaved = size > 2 && partnerOf(slice.begin) == slice.begin + 1;
  const Lengths &lengths = evaluator.getLengths();
  for (int64_t row = 0; row < rope.shape[0]; ++row) {
    int64_t position = lengths.past + (*rope.rows)[row] % lengths.tokens;
    std::vector<std::pair<float, float>> angles;
    for (int64_t i = 0; i < half; ++i) {
      int64_t first = interleaved ? 2 * i : i;
      int64_t index = row * columns + slice.begin + first;
      angles.push_back({rope.cosines[index], rope.sines[index]});
    }
    for (int64_t head = slice.begin; head < slice.begin + slice.width;
         head += size)
      for (int64_t i = 0; i < half; ++i) {
        int64_t low = head + (interleaved ? 2 * i : i);
        int64_t high = low + (interleaved ? 1 : half);
        int64_t index = row * columns + low;
        if (rope.partners[index] != high)
          return fail(rope.op, "rotates other pairs of elements than a rotary "
                               "embedding does");
        if (std::abs(rope.cosines[index] - angles[i].first) > 1e-6 ||
            std::abs(rope.sines[index] - angles[i].second) > 1e-6)
          return fail(rope.op, "rotates heads differently");
      }
    auto [it, isNew] = decoder.rotation.angles.try_emplace(position, angles);
    for (int64_t i = 0; i < half; ++i)
      if (std::abs(it->second[i].first - angles[i].first) > 1e-6 ||
          std::abs(it->second[i].second - angles[i].second) > 1e-6)
        return fail(rope.op, "rotates " + what +
                                 " differently from others at the same "
                                 "position");
  }
  if (decoder.layers.empty() && what == "queries")
    decoder.rotation.interleaved = interleaved;
  else if (decoder.rotation.interleaved != interleaved)
    return fail(rope.op, "pairs elements differently from other layers");
  return true;
}

/// Whether `output` is the cache `past` with the new vectors `fresh` behind it,
/// or the new vectors alone.
bool DecoderReader::isUpdatedCache(Value output, const Root &past,
                                   const Slice &fresh) {
  auto *activation = std::get_if<Activation>(&evaluator.get(output));
  if (!activation || activation->shape.size() != past.shape.size())
    return false;
  const Lengths &lengths = evaluator.getLengths();
  const Shape &shape = activation->shape;
  for (size_t axis = 0; axis < shape.size(); ++axis)
    if (axis != past.positionAxis && shape[axis] != past.shape[axis])
      return false;
  int64_t positions = shape[past.positionAxis];
  if (positions != lengths.total() && positions != lengths.tokens)
    return false;
  int64_t skipped = lengths.total() - positions;
  Result<Activation> elements = evaluator.getElements(*activation);
  if (!elements || !elements->isPlain())
    return false;
  const Term &term = elements->terms[0];
  const Root &root = evaluator.getRoot(fresh.root);
  Shape at(shape.size(), 0);
  for (int64_t i = 0, e = countElements(shape); i < e; ++i) {
    int64_t column = 0, pastIndex = 0;
    for (size_t axis = 0; axis < shape.size(); ++axis) {
      if (axis != past.positionAxis && axis != 0)
        column = column * shape[axis] + at[axis];
      pastIndex = pastIndex * past.shape[axis] + at[axis];
    }
    int64_t position = at[past.positionAxis] + skipped;
    int64_t token = at[0] * lengths.tokens + position - lengths.past;
    int64_t expected = position < lengths.past
                           ? makeAddress(past.id, pastIndex)
                           : makeAddress(fresh.root, token * root.shape[1] +
                                                         fresh.begin + column);
    int64_t found = term.addresses ? term.addresses.data<int64_t>()[i]
                                   : makeAddress(term.root, i);
    if (found != expected)
      return false;
    for (size_t axis = shape.size(); axis-- > 0;) {
      if (++at[axis] < shape[axis])
        break;
      at[axis] = 0;
    }
  }
  return true;
}

/// The graph's outputs must be the caches that its next call expects.
bool DecoderReader::checkCache(const Root &attention) {
  const Lengths &lengths = evaluator.getLengths();
  if (!scenario.hasPast || lengths.past == 0)
    return true;
  if (!attention.pastKeys || !attention.pastValues)
    return fail(attention.op, "does not use cached keys and values");
  for (auto [id, fresh] :
       {std::pair(*attention.pastKeys, attention.inputs[1]),
        std::pair(*attention.pastValues, attention.inputs[2])}) {
    const Root &past = evaluator.getRoot(id);
    StringRef name = getInputName(graph.getArgument(past.argument));
    if (!caches.insert(id).second)
      return fail(attention.op, "uses the cache '" + name + "' again");
    auto outputs = graph.front().getTerminator()->getOperands();
    auto updated = llvm::find_if(outputs, [&, &now = fresh](Value output) {
      return isUpdatedCache(output, past, now);
    });
    decoder.caches[past.argument] = unsigned(updated - outputs.begin());
    if (updated == outputs.end())
      return fail(attention.op, "uses the cache '" + name +
                                    "', but no output of the graph is that "
                                    "cache with the new tokens behind it");
  }
  return true;
}

/// 1 / sqrt(D) where the graph has that up to rounding: a half-precision graph
/// rounds it, or its root on both sides, and normal form computes in f32 as the
/// exported model did.
double DecoderReader::snapScale(double scale, int64_t headDim) {
  bool isHalf = false;
  graph.walk([&](onnx::ConstantOp constant) {
    isHalf |= constant.getType().getElementType().isF16() ||
              constant.getType().getElementType().isBF16();
  });
  double tolerance = isHalf ? 1e-3 : 1e-6;
  double exact = 1 / std::sqrt(double(headDim));
  return std::abs(scale - exact) <= tolerance * exact ? exact : scale;
}

bool DecoderReader::readAttention(const Root &attention, DecoderLayer &layer,
                                  Slice &normed) {
  double scale = snapScale(attention.scale, attention.headDim);
  if (decoder.heads == 0) {
    decoder.heads = attention.heads;
    decoder.kvHeads = attention.kvHeads;
    decoder.headDim = attention.headDim;
    decoder.scale = float(scale);
  }
  if (decoder.heads != attention.heads ||
      decoder.kvHeads != attention.kvHeads ||
      decoder.headDim != attention.headDim)
    return fail(attention.op, "has other numbers of heads than other layers");
  if (decoder.scale != float(scale))
    return fail(attention.op, "scales scores by " + toText(scale) +
                                  ", other layers by " + toText(decoder.scale));
  const Slice &q = attention.inputs[0], &k = attention.inputs[1];
  if (!readRotation(attention, q, "queries") ||
      !readRotation(attention, k, "keys") || !checkCache(attention))
    return false;
  // What is rotated, in the same columns.
  auto unrotated = [&](Slice slice) {
    slice.root = getRoot(slice).inputs[0].root;
    return slice;
  };
  Slice inputs[3];
  if (!readLinear(unrotated(q), "q_proj", layer.q, inputs[0]) ||
      !readLinear(unrotated(k), "k_proj", layer.k, inputs[1]) ||
      !readLinear(attention.inputs[2], "v_proj", layer.v, inputs[2]))
    return false;
  if (!isSame(inputs[0], inputs[1]) || !isSame(inputs[0], inputs[2]))
    return fail(attention.op, "has queries, keys and values of different "
                              "inputs");
  normed = inputs[0];
  return true;
}

bool DecoderReader::readLayer(const Slice &output, Slice &input) {
  DecoderLayer layer;
  const Root &second = getRoot(output);
  auto isNotAdd = [&](const Slice &slice) {
    const Root &root = getRoot(slice);
    return root.kind == Kind::Add && isWhole(evaluator.skipRows(slice))
               ? false
               : !fail(root.op, "is used where a LLaMA decoder adds to the "
                                "residual stream");
  };
  if (isNotAdd(output))
    return false;
  // The branch whose linear layer has an input of `kind`.
  auto pickBranch = [&](const Root &add, Kind kind, Slice &branch,
                        Slice &residual) {
    for (unsigned i : {1u, 0u}) {
      const Root &root = getRoot(add.inputs[i]);
      if (root.kind == Kind::Linear && getRoot(root.inputs[0]).kind == kind) {
        branch = add.inputs[i];
        residual = add.inputs[1 - i];
        return true;
      }
    }
    return false;
  };
  Slice branch, residual, gated, normed, normInput;
  if (!pickBranch(second, Kind::SwiGLU, branch, residual)) {
    // Say what is there instead of the gated activation.
    for (const Slice &slice : second.inputs) {
      const Root &root = getRoot(slice);
      if (root.kind == Kind::Linear)
        return fail(getRoot(root.inputs[0]).op,
                    "is used where a LLaMA decoder has silu(gate) * up");
    }
    return fail(second.op, "adds something that is no feed-forward part to the "
                           "residual stream");
  }
  if (!readLinear(branch, "down_proj", layer.down, gated))
    return false;
  const Root &swiglu = getRoot(gated);
  Slice upInput;
  if (!readLinear(swiglu.inputs[0], "gate_proj", layer.gate, normed) ||
      !readLinear(swiglu.inputs[1], "up_proj", layer.up, upInput))
    return false;
  if (!isSame(normed, upInput) || !isWhole(evaluator.skipRows(gated)))
    return fail(swiglu.op, "has a gate of another input");
  if (!readNorm(normed, layer.postNorm, normInput))
    return false;
  if (!isSame(normInput, residual))
    return fail(second.op, "adds the feed-forward part to something else than "
                           "its input");

  if (isNotAdd(residual))
    return false;
  const Root &first = getRoot(residual);
  Slice attended;
  if (!pickBranch(first, Kind::Attention, branch, input))
    return fail(first.op, "adds something that is no attention to the residual "
                          "stream");
  if (!readLinear(branch, "o_proj", layer.o, attended) ||
      !readAttention(getRoot(attended), layer, normed) ||
      !readNorm(normed, layer.inputNorm, normInput))
    return false;
  if (!isSame(normInput, input))
    return fail(first.op, "adds attention to something else than its input");
  decoder.layers.insert(decoder.layers.begin(), std::move(layer));
  return true;
}

DecoderResult DecoderReader::read() {
  std::optional<Slice> output = findOutput();
  if (!output)
    return result;
  Slice stream = *output;
  if (getRoot(stream).kind == Kind::Linear) {
    LinearLayer head;
    if (!readLinear(stream, "lm_head", head, stream))
      return result;
    decoder.head = std::move(head);
  }
  if (!readNorm(stream, decoder.norm, stream))
    return result;
  while (getRoot(stream).kind != Kind::Embedding)
    if (!readLayer(stream, stream))
      return result;
  const Root &embedding = getRoot(stream);
  if (decoder.layers.empty() || !isWhole(evaluator.skipRows(stream))) {
    fail(embedding.op, "is not followed by any decoder layer");
    return result;
  }
  decoder.embedding = embedding.weight;
  result.decoder = std::move(decoder);
  return result;
}

/// Adds the positions that `one` has seen to those of `all`; the position at
/// which they differ, if there is one.
static std::optional<int64_t> mergeAngles(Rotation &all, const Rotation &one) {
  for (auto &[position, pairs] : one.angles) {
    auto [it, isNew] = all.angles.try_emplace(position, pairs);
    for (auto [a, b] : llvm::zip_equal(it->second, pairs))
      if (std::abs(a.first - b.first) > 1e-6 ||
          std::abs(a.second - b.second) > 1e-6)
        return position;
  }
  return std::nullopt;
}

/// The decoder that all lengths of one scenario agree on.
static DecoderResult raiseScenario(func::FuncOp graph, const Scenario &scenario,
                                   const ONNXEvaluator &nodes,
                                   WeightReader &reader,
                                   ConstantCache &constants,
                                   RaisedGraph &raised) {
  auto fail = [](const Twine &message) {
    DecoderResult result;
    result.reason.message = message.str();
    return result;
  };
  DecoderResult all;
  for (const Lengths &lengths : scenario.lengths) {
    Evaluator evaluator(graph, nodes, reader, constants, lengths);
    Result<bool> bound = scenario.bind(evaluator, graph);
    if (!bound)
      return fail(bound.message());
    evaluator.run();
    DecoderResult one = DecoderReader(evaluator, graph, scenario).read();
    raised.vectors.insert(raised.vectors.end(), evaluator.getVectors().begin(),
                          evaluator.getVectors().end());
    evaluator.forEachActivation([&](Value value, const Activation &activation) {
      raised.shapes[value].push_back(activation.shape);
      if (evaluator.holdsScores(activation))
        raised.scores.insert(value);
    });
    if (!one.decoder)
      return one;
    if (!all.decoder) {
      all = std::move(one);
      continue;
    }
    if (!all.decoder->isSame(*one.decoder))
      return fail("the graph computes another model for " +
                  Twine(lengths.tokens) + " tokens behind " +
                  Twine(lengths.past) + " than for other lengths");
    if (auto position =
            mergeAngles(all.decoder->rotation, one.decoder->rotation))
      return fail("the graph rotates position " + Twine(*position) +
                  " differently for other lengths");
    all.decoder->caches.merge(one.decoder->caches);
  }
  return all;
}

RaisedGraph llq::raise::raiseDecoder(func::FuncOp graph, WeightReader &reader) {
  RaisedGraph first;
  Result<std::vector<Scenario>> scenarios = getScenarios(graph);
  if (!scenarios) {
    first.result.reason.message = scenarios.message();
    return first;
  }
  ONNXEvaluator nodes(graph, /*widenHalf=*/true);
  ConstantCache constants;
  for (const Scenario &scenario : *scenarios) {
    RaisedGraph raised;
    raised.scenario = scenario;
    raised.result =
        raiseScenario(graph, scenario, nodes, reader, constants, raised);
    if (raised.result.decoder)
      return raised;
    if (first.result.reason.message.empty())
      first = std::move(raised);
  }
  return first;
}
