//===- RandomModel.cpp - Models of a known shape with random weights ------===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llq/Driver/RandomModel.h"
#include "dialects/LLQ/LLQ.h"
#include "llq/Numerics/Float16.h"
#include "llq/Numerics/Random.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/DialectResourceBlobManager.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

#include <cmath>
#include <map>

using namespace mlir;
using namespace llq;

namespace {

struct Shape {
  StringRef name;
  int64_t hidden, layers, heads, kvHeads, headDim, ffn, vocab, context;
  double theta;
  /// LLAMA3.1 frequency scaling: factor, low, high, original context; or 0.
  std::array<double, 4> scaling;
  bool tied;
};

const Shape shapes[] = {
    {"tiny", 128, 2, 4, 2, 32, 352, 512, 256, 10000, {}, false},
    {"llama3.2-1b",
     2048,
     16,
     32,
     8,
     64,
     8192,
     128256,
     131072,
     500000,
     {32, 1, 4, 8192},
     true},
    {"llama3.2-3b",
     3072,
     28,
     24,
     8,
     128,
     8192,
     128256,
     131072,
     500000,
     {32, 1, 4, 8192},
     true},
    {"llama3-8b", 4096, 32, 32, 8, 128, 14336, 128256, 8192, 500000, {}, false},
};

class RandomModelBuilder {
public:
  RandomModelBuilder(MLIRContext *context, const Shape &shape)
      : b(UnknownLoc::get(context), context), shape(shape) {}

  OwningOpRef<ModuleOp> build();

private:
  Value weight(StringRef name, ArrayRef<int64_t> dims);
  Value linear(const Twine &name, Value x, int64_t rows);
  Value norm(const Twine &name, Value x);
  Value block(int64_t layer, Value x, Value cosine, Value sine, Value past);
  RankedTensorType rows(int64_t columns) {
    return RankedTensorType::get({ShapedType::kDynamic, columns},
                                 b.getF32Type());
  }
  std::vector<float> getFrequencies() const;

  ImplicitLocOpBuilder b;
  const Shape &shape;
  /// Values of a weight by its number of elements, shared by all blobs.
  std::map<std::pair<int64_t, int64_t>, std::shared_ptr<std::vector<uint16_t>>>
      values;
};

} // namespace

Value RandomModelBuilder::weight(StringRef name, ArrayRef<int64_t> dims) {
  auto type = RankedTensorType::get(dims, b.getF16Type());
  bool isNorm = dims.size() == 1;
  auto &shared = values[{dims.front(), isNorm ? 0 : dims.back()}];
  if (!shared) {
    shared = std::make_shared<std::vector<uint16_t>>(type.getNumElements());
    // Products keep the variance of their inputs; norms are near one.
    float scale = isNorm ? 0.1f : 1.0f / std::sqrt(float(dims.back()));
    numerics::Random random(/*seed=*/0, /*stream=*/values.size());
    std::vector<float> part(1 << 16);
    for (size_t i = 0; i < shared->size(); i += part.size()) {
      size_t count = std::min(part.size(), shared->size() - i);
      random.fillNormal(i, std::span(part).first(count), scale);
      for (size_t j = 0; j < count; ++j)
        (*shared)[i + j] =
            numerics::encodeF16(part[j] + (isNorm ? 1.0f : 0.0f));
    }
  }
  auto bytes = ArrayRef(reinterpret_cast<const char *>(shared->data()),
                        shared->size() * 2);
  AsmResourceBlob blob(
      bytes, /*alignment=*/2, [keep = shared](void *, size_t, size_t) {},
      /*dataIsMutable=*/false);
  auto attr = DenseResourceElementsAttr::get(type, name, std::move(blob));
  return WeightOp::create(b, type, attr);
}

Value RandomModelBuilder::linear(const Twine &name, Value x, int64_t n) {
  int64_t k = cast<ShapedType>(x.getType()).getDimSize(1);
  std::string text = name.str();
  Value w = weight(text, {n, k});
  return LinearOp::create(b, rows(n), b.getStringAttr(text), x, w, Value(),
                          DictionaryAttr());
}

Value RandomModelBuilder::norm(const Twine &name, Value x) {
  Value w = weight(name.str(), {shape.hidden});
  return RMSNormOp::create(b, x.getType(), x, w, b.getF32FloatAttr(1e-5f));
}

std::vector<float> RandomModelBuilder::getFrequencies() const {
  std::vector<float> result;
  for (int64_t i = 0; i < shape.headDim / 2; ++i) {
    double f = std::pow(shape.theta, -2.0 * double(i) / double(shape.headDim));
    auto [factor, low, high, original] = shape.scaling;
    if (factor > 0) {
      // methods of LLAMA3.1: long waves are slowed down, with a smooth passage.
      double wave = 2 * M_PI / f;
      double smooth = (original / wave - low) / (high - low);
      smooth = std::clamp(smooth, 0.0, 1.0);
      f = (1 - smooth) * f / factor + smooth * f;
    }
    result.push_back(float(f));
  }
  return result;
}

Value RandomModelBuilder::block(int64_t layer, Value x, Value cosine,
                                Value sine, Value past) {
  std::string prefix = "layers." + std::to_string(layer) + ".";
  int64_t q = shape.heads * shape.headDim, kv = shape.kvHeads * shape.headDim;
  Value h = norm(prefix + "input_layernorm", x);
  Value query = linear(prefix + "self_attn.q_proj", h, q);
  Value key = linear(prefix + "self_attn.k_proj", h, kv);
  Value value = linear(prefix + "self_attn.v_proj", h, kv);
  query = RopeOp::create(b, query.getType(), query, cosine, sine, false);
  key = RopeOp::create(b, key.getType(), key, cosine, sine, false);
  float scale = 1.0f / std::sqrt(float(shape.headDim));
  Value attention = AttentionOp::create(b, query.getType(), query, key, value,
                                        past, layer, shape.heads, shape.kvHeads,
                                        llvm::APFloat(scale), CacheType::F32);
  Value o = linear(prefix + "self_attn.o_proj", attention, shape.hidden);
  x = AddOp::create(b, x, o);
  h = norm(prefix + "post_attention_layernorm", x);
  Value gate = linear(prefix + "mlp.gate_proj", h, shape.ffn);
  Value up = linear(prefix + "mlp.up_proj", h, shape.ffn);
  Value gated = SwiGLUOp::create(b, gate, up);
  Value down = linear(prefix + "mlp.down_proj", gated, shape.hidden);
  return AddOp::create(b, x, down);
}

OwningOpRef<ModuleOp> RandomModelBuilder::build() {
  OwningOpRef<ModuleOp> module = ModuleOp::create(b.getLoc());
  auto parameters =
      shape.scaling[0] > 0 ? ArrayRef(shape.scaling) : ArrayRef<double>();
  (*module)->setAttr(
      kArchitectureAttr,
      ArchitectureAttr::get(b.getContext(), shape.hidden, shape.layers,
                            shape.heads, shape.kvHeads, shape.headDim,
                            shape.ffn, shape.vocab, shape.context,
                            b.getF64FloatAttr(shape.theta),
                            parameters.empty() ? "none" : "llama3",
                            b.getDenseF64ArrayAttr(parameters),
                            b.getF64FloatAttr(1e-5), shape.tied));
  b.setInsertionPointToEnd(module->getBody());
  auto idsType = RankedTensorType::get({ShapedType::kDynamic}, b.getI32Type());
  auto forward = func::FuncOp::create(
      b, kForwardName,
      b.getFunctionType({idsType, b.getIndexType()}, {rows(shape.vocab)}));
  b.setInsertionPointToStart(forward.addEntryBlock());
  Value ids = forward.getArgument(0), past = forward.getArgument(1);
  Value table = weight("embed_tokens", {shape.vocab, shape.hidden});
  Value x =
      EmbeddingOp::create(b, rows(shape.hidden), ids, table, DictionaryAttr());
  Value positions = PositionsOp::create(b, ids, past);
  auto rotary = RotaryTableOp::create(
      b, rows(shape.headDim / 2), rows(shape.headDim / 2), positions,
      b.getDenseF32ArrayAttr(getFrequencies()), b.getF32FloatAttr(1));
  for (int64_t layer = 0; layer < shape.layers; ++layer)
    x = block(layer, x, rotary.getCos(), rotary.getSin(), past);
  x = norm("norm", x);
  Value logits;
  if (shape.tied)
    logits = LinearOp::create(b, rows(shape.vocab), b.getStringAttr("lm_head"),
                              x, table, Value(), DictionaryAttr());
  else
    logits = linear("lm_head", x, shape.vocab);
  func::ReturnOp::create(b, logits);
  return module;
}

llvm::ArrayRef<StringRef> llq::getRandomModelNames() {
  static const std::vector<StringRef> names = [] {
    std::vector<StringRef> result;
    for (const Shape &shape : shapes)
      result.push_back(shape.name);
    return result;
  }();
  return names;
}

OwningOpRef<ModuleOp> llq::buildRandomModel(MLIRContext *context,
                                            StringRef name) {
  auto [known, layers] = name.split(':');
  const Shape *found =
      llvm::find_if(shapes, [&](const Shape &s) { return s.name == known; });
  if (found == std::end(shapes))
    return nullptr;
  Shape shape = *found;
  if (known != name && (layers.getAsInteger(10, shape.layers) ||
                        shape.layers < 1 || shape.layers > found->layers))
    return nullptr;
  context->loadDialect<LLQDialect, func::FuncDialect>();
  return RandomModelBuilder(context, shape).build();
}
