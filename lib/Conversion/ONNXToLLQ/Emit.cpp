//===- Emit.cpp - A decoder as llq normal form ----------------------------===//
//
// Weights in files stay there, as views; those in blobs keep their blob where
// they are all of it and in order, and are copied in order otherwise.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "Emit.h"

#include "dialects/LLQ/LLQ.h"
#include "llq/Numerics/Float16.h"
#include "llq/Support/WeightBlob.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/DialectResourceBlobManager.h"

#include <charconv>
#include <cstring>

using namespace mlir;
using namespace llq;
using namespace llq::raise;

namespace {
/// Builds the function.
class Emitter {
public:
  Emitter(ModuleOp module, const Decoder &decoder, const RotaryModel &rotary,
          int64_t context, WeightReader &reader)
      : module(module), decoder(decoder), rotary(rotary), context(context),
        reader(reader), builder(module.getBodyRegion()) {}

  llvm::Error emit();

private:
  llvm::Expected<TypedAttr> makeAttr(const WeightView &view, Type element,
                                     Shape shape, const Twine &name);
  llvm::Expected<Value> makeWeight(const WeightSource &weight,
                                   const Twine &name);
  llvm::Expected<Value> makeQuantized(const BlockQuantizedMatrix &matrix,
                                      const Twine &name);
  llvm::Expected<Value> makeDequantized(const DequantizedMatrix &matrix,
                                        const Twine &name);
  llvm::Expected<Value> emitLinear(const LinearLayer &layer, const Twine &name,
                                   Value input);
  llvm::Expected<Value> emitNorm(const WeightSource &weight, const Twine &name,
                                 Value input);
  llvm::Expected<Value> emitLayer(size_t index, Value input);
  llvm::Error emitRotary(Value positions);
  llvm::Expected<bool> isTied(Value table, Value head);
  Type getActivationType(int64_t columns) {
    return RankedTensorType::get({ShapedType::kDynamic, columns},
                                 builder.getF32Type());
  }

  ModuleOp module;
  const Decoder &decoder;
  const RotaryModel &rotary;
  int64_t context;
  WeightReader &reader;
  OpBuilder builder;
  Value past, cosines, sines;
};
} // namespace

//===----------------------------------------------------------------------===//
// Weights
//===----------------------------------------------------------------------===//

static Type getType(MLIRContext *context, ElementType type) {
  Builder b(context);
  return type == ElementType::Float16    ? Type(b.getF16Type())
         : type == ElementType::BFloat16 ? Type(b.getBF16Type())
                                         : Type(b.getF32Type());
}

/// A blob with `bytes` bytes that `fill` writes.
static llvm::Expected<TypedAttr>
makeBlobAttr(RankedTensorType type, const Twine &name, int64_t bytes,
             llvm::function_ref<void(char *)> fill) {
  llvm::Expected<AsmResourceBlob> blob = allocateBlob(bytes);
  if (!blob)
    return blob.takeError();
  fill(blob->getMutableData().data());
  return DenseResourceElementsAttr::get(type, name.str(), std::move(*blob));
}

/// Copies the elements of a view of `from`, `width` bytes each, in row-major
/// order.
static void copyView(ArrayRef<char> from, const WeightView &view, int64_t width,
                     char *to) {
  if (view.shape.size() == 2 && view.strides[0] == 1 && view.strides[1] != 1) {
    // A transposed matrix: along its memory, in tiles that fit the cache.
    constexpr int64_t tile = 64;
    int64_t rows = view.shape[0], columns = view.shape[1];
    for (int64_t row = 0; row < rows; row += tile)
      for (int64_t column = 0; column < columns; ++column) {
        const char *source =
            from.data() +
            (view.offset + row + column * view.strides[1]) * width;
        for (int64_t i = row, e = std::min(rows, row + tile); i < e; ++i)
          std::memcpy(to + (i * columns + column) * width,
                      source + (i - row) * width, width);
      }
    return;
  }
  Shape at(view.shape.size(), 0);
  for (int64_t i = 0, e = view.numElements(); i < e; ++i, to += width) {
    int64_t index = view.offset;
    for (size_t axis = 0; axis < at.size(); ++axis)
      index += at[axis] * view.strides[axis];
    std::memcpy(to, from.data() + index * width, width);
    for (size_t axis = at.size(); axis-- > 0;) {
      if (++at[axis] < view.shape[axis])
        break;
      at[axis] = 0;
    }
  }
}

/// The elements of `view` as a tensor of `element` and `shape` (as many
/// elements of the same width).
llvm::Expected<TypedAttr> Emitter::makeAttr(const WeightView &view,
                                            Type element, Shape shape,
                                            const Twine &name) {
  auto type = RankedTensorType::get(shape, element);
  int64_t width = element.getIntOrFloatBitWidth() / 8;
  WeightView shaped = view.reshaped(shape).value_or(view);
  if (auto external = dyn_cast<ExternalAttr>(view.data))
    return TypedAttr(ExternalAttr::get(
        module.getContext(), type, external.getPath(),
        external.getOffset() + view.offset * width, shaped.strides,
        external.getFileSize(), external.getModified()));
  if (auto resource = dyn_cast<DenseResourceElementsAttr>(view.data);
      resource && view.offset == 0 && view.isContiguous() &&
      view.numElements() == resource.getType().getNumElements())
    return TypedAttr(
        DenseResourceElementsAttr::get(type, resource.getRawHandle()));
  // Splats of dense constants have one element in memory.
  if (auto dense = dyn_cast<DenseElementsAttr>(view.data)) {
    llvm::Expected<std::vector<char>> all = reader.copyBytes(dense);
    if (!all)
      return all.takeError();
    return makeBlobAttr(type, name, view.numElements() * width,
                        [&](char *to) { copyView(*all, shaped, width, to); });
  }
  llvm::Expected<ArrayRef<char>> bytes = reader.getBytes(view.data);
  if (!bytes)
    return bytes.takeError();
  return makeBlobAttr(type, name, view.numElements() * width,
                      [&](char *to) { copyView(*bytes, shaped, width, to); });
}

llvm::Expected<Value> Emitter::makeWeight(const WeightSource &weight,
                                          const Twine &name) {
  if (weight.quantized)
    return makeQuantized(*weight.quantized, name);
  if (weight.dequantized)
    return makeDequantized(*weight.dequantized, name);
  llvm::Expected<TypedAttr> value = TypedAttr();
  if (weight.view) {
    value =
        makeAttr(*weight.view, getType(module.getContext(), weight.view->type),
                 weight.view->shape, name);
  } else {
    const Tensor &values = weight.computed;
    value = makeBlobAttr(
        RankedTensorType::get(values.shape(), builder.getF32Type()), name,
        int64_t(values.sizeInBytes()), [&](char *to) {
          std::memcpy(to, values.data<char>(), values.sizeInBytes());
        });
  }
  if (!value)
    return value.takeError();
  return Value(WeightOp::create(builder, module.getLoc(), *value));
}

llvm::Expected<Value> Emitter::makeQuantized(const BlockQuantizedMatrix &matrix,
                                             const Twine &name) {
  MLIRContext *ctx = module.getContext();
  int64_t n = matrix.rows, k = matrix.columns, blocks = matrix.numBlocks();
  Type byte = builder.getI8Type();
  auto fail = [&](const Twine &message) {
    return llvm::createStringError("weight of " + name + " " + message);
  };
  // Codes of a last block that is not full are cut off.
  int64_t codeBytes = llvm::divideCeil(k * matrix.bits, 8);
  bool whole = codeBytes == matrix.codes.shape[1];
  llvm::Expected<TypedAttr> codes =
      whole ? makeAttr(matrix.codes, byte, {n, codeBytes}, name + ".codes")
            : makeAttr(matrix.codes.sliced(1, 0, codeBytes), byte,
                       {n, codeBytes}, name + ".codes");
  if (!codes)
    return codes.takeError();
  ScaleType scaleType = matrix.scales.type == ElementType::Float16
                            ? ScaleType::F16
                            : ScaleType::F32;
  llvm::Expected<TypedAttr> scales = TypedAttr();
  if (matrix.scales.type == ElementType::Float16 ||
      matrix.scales.type == ElementType::Float32) {
    scales = makeAttr(matrix.scales, getType(ctx, matrix.scales.type),
                      {n, blocks}, name + ".scales");
  } else if (matrix.scales.type == ElementType::BFloat16) {
    // Every bf16 is an f32.
    llvm::Expected<ArrayRef<char>> bytes = reader.getBytes(matrix.scales.data);
    if (!bytes)
      return bytes.takeError();
    scales = makeBlobAttr(
        RankedTensorType::get({n, blocks}, builder.getF32Type()),
        name + ".scales", n * blocks * 4, [&](char *to) {
          for (int64_t i = 0; i < n * blocks; ++i) {
            uint16_t half;
            std::memcpy(&half, bytes->data() + (matrix.scales.offset + i) * 2,
                        2);
            float value = numerics::decodeBF16(half);
            std::memcpy(to + i * 4, &value, 4);
          }
        });
  } else {
    return fail("has scales of an unsupported type");
  }
  if (!scales)
    return scales.takeError();

  SmallVector<NamedAttribute> components = {
      builder.getNamedAttr("codes", *codes),
      builder.getNamedAttr("scales", *scales)};
  ZeroPoint zero = ZeroPoint::None;
  if (matrix.zeros) {
    bool packed = matrix.zeros->type == ElementType::UInt8;
    zero = packed ? ZeroPoint::Int : ZeroPoint::Float;
    llvm::Expected<TypedAttr> zeros = TypedAttr();
    if (packed || matrix.zeros->type == ElementType::Float16) {
      zeros =
          makeAttr(*matrix.zeros, packed ? byte : Type(builder.getF16Type()),
                   {n, matrix.zeros->shape[1]}, name + ".zeros");
    } else {
      // The format keeps them in f16.
      llvm::Expected<std::vector<float>> all =
          reader.readAll(matrix.zeros->data);
      if (!all)
        return all.takeError();
      ArrayRef<float> floats =
          ArrayRef(*all).slice(size_t(matrix.zeros->offset), n * blocks);
      std::vector<uint16_t> halves(floats.size());
      numerics::encodeF16(floats, halves);
      for (auto [value, stored] : llvm::zip_equal(floats, halves))
        if (numerics::decodeF16(stored) != value)
          return fail("has the zero point " + Twine(std::to_string(value)) +
                      ", which f16 does not hold");
      zeros = makeBlobAttr(
          RankedTensorType::get({n, blocks}, builder.getF16Type()),
          name + ".zeros", n * blocks * 2, [&](char *to) {
            std::memcpy(to, halves.data(), halves.size() * sizeof(uint16_t));
          });
    }
    if (!zeros)
      return zeros.takeError();
    components.push_back(builder.getNamedAttr("zeros", *zeros));
  }
  int64_t group = blocks == 1 ? 0 : matrix.block;
  auto format = UniformAttr::get(ctx, matrix.bits, group, zero, scaleType);
  auto type = QuantizedType::get(ctx, {n, k}, format);
  return Value(QuantizedWeightOp::create(
      builder, module.getLoc(), type, builder.getDictionaryAttr(components)));
}

llvm::Expected<Value> Emitter::makeDequantized(const DequantizedMatrix &matrix,
                                               const Twine &name) {
  llvm::Expected<UniformRows> rows = packUniform(matrix, reader);
  if (!rows)
    return rows.takeError();
  MLIRContext *ctx = module.getContext();
  int64_t n = matrix.codes.shape[0], k = matrix.codes.shape[1];
  int64_t blocks = matrix.scales.shape[1];
  bool half = matrix.scales.type == ElementType::Float16;
  ZeroPoint zero = rows->zeros.empty() ? ZeroPoint::None : ZeroPoint::Int;
  auto format =
      UniformAttr::get(ctx, rows->bits, blocks == 1 ? 0 : matrix.block, zero,
                       half ? ScaleType::F16 : ScaleType::F32);
  SmallVector<NamedAttribute> components;
  for (const WeightComponent &component : format.getComponents(n, k)) {
    llvm::Expected<TypedAttr> blob = makeBlobAttr(
        component.type, name + "." + component.name,
        *getTensorBytes(component.type), [&](char *to) {
          if (component.name != "scales") {
            const auto &from =
                component.name == "codes" ? rows->codes : rows->zeros;
            std::memcpy(to, from.data(), from.size());
          } else if (half) {
            // These come from f16 and go back without loss.
            std::vector<uint16_t> halves(rows->scales.size());
            numerics::encodeF16(rows->scales, halves);
            std::memcpy(to, halves.data(), halves.size() * sizeof(uint16_t));
          } else {
            std::memcpy(to, rows->scales.data(),
                        rows->scales.size() * sizeof(float));
          }
        });
    if (!blob)
      return blob.takeError();
    components.push_back(builder.getNamedAttr(component.name, *blob));
  }
  return Value(QuantizedWeightOp::create(
      builder, module.getLoc(), QuantizedType::get(ctx, {n, k}, format),
      builder.getDictionaryAttr(components)));
}

/// Whether two weights have equal elements. A sample of rows decides at once
/// where they differ, so that only tied weights are read.
llvm::Expected<bool> Emitter::isTied(Value table, Value head) {
  if (table.getType() != head.getType() || !table.getDefiningOp<WeightOp>())
    return false;
  if (table.getDefiningOp<WeightOp>().getValue() ==
      head.getDefiningOp<WeightOp>().getValue())
    return true;
  auto type = cast<RankedTensorType>(table.getType());
  int64_t rows = type.getDimSize(0), columns = type.getDimSize(1);
  auto areEqual = [&](TypedAttr left, TypedAttr right, int64_t begin,
                      int64_t end) -> llvm::Expected<bool> {
    int64_t width = cast<ShapedType>(left.getType()).getDimSize(1);
    std::vector<float> a((end - begin) * width), b(a.size());
    if (llvm::Error error = reader.readRows(left, begin, end, a))
      return std::move(error);
    if (llvm::Error error = reader.readRows(right, begin, end, b))
      return std::move(error);
    return std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
  };
  auto whole = [](Value weight) {
    return weight.getDefiningOp<WeightOp>().getValue();
  };
  // One row of a head that lies by column is a page of the file for each of its
  // elements: a few of them first.
  auto corner = [&](Value weight) -> TypedAttr {
    auto external = dyn_cast<ExternalAttr>(whole(weight));
    if (!external)
      return whole(weight);
    auto few = RankedTensorType::get({1, std::min<int64_t>(columns, 16)},
                                     type.getElementType());
    return ExternalAttr::get(external.getContext(), few, external.getPath(),
                             external.getOffset(), external.getStrides(),
                             external.getFileSize(), external.getModified());
  };
  TypedAttr left = corner(table), right = corner(head);
  if (left.getType() == right.getType()) {
    llvm::Expected<bool> equal = areEqual(left, right, 0, 1);
    if (!equal || !*equal)
      return equal;
  }
  for (int64_t row = 0; row < rows; row += std::max<int64_t>(1, rows / 16)) {
    llvm::Expected<bool> equal =
        areEqual(whole(table), whole(head), row, row + 1);
    if (!equal || !*equal)
      return equal;
  }
  constexpr int64_t step = 256;
  for (int64_t row = 0; row < rows; row += step) {
    llvm::Expected<bool> equal =
        areEqual(whole(table), whole(head), row, std::min(rows, row + step));
    if (!equal || !*equal)
      return equal;
  }
  return true;
}

//===----------------------------------------------------------------------===//
// The decoder
//===----------------------------------------------------------------------===//

llvm::Expected<Value> Emitter::emitLinear(const LinearLayer &layer,
                                          const Twine &name, Value input) {
  llvm::Expected<Value> weight = makeWeight(layer.weight, name + ".weight");
  if (!weight)
    return weight;
  Value bias;
  if (layer.bias) {
    llvm::Expected<Value> value = makeWeight(*layer.bias, name + ".bias");
    if (!value)
      return value;
    bias = *value;
  }
  return Value(LinearOp::create(
      builder, module.getLoc(), getActivationType(layer.weight.getShape()[0]),
      builder.getStringAttr(name), input, *weight, bias, DictionaryAttr()));
}

llvm::Expected<Value> Emitter::emitNorm(const WeightSource &weight,
                                        const Twine &name, Value input) {
  llvm::Expected<Value> value = makeWeight(weight, name + ".weight");
  if (!value)
    return value;
  return Value(RMSNormOp::create(builder, module.getLoc(), input.getType(),
                                 input, *value,
                                 builder.getF32FloatAttr(decoder.epsilon)));
}

llvm::Error Emitter::emitRotary(Value positions) {
  Type type = getActivationType(decoder.headDim / 2);
  if (!rotary.frequencies.empty()) {
    auto op =
        RotaryTableOp::create(builder, module.getLoc(), type, type, positions,
                              builder.getDenseF32ArrayAttr(rotary.frequencies),
                              builder.getF32FloatAttr(1));
    cosines = op.getCos();
    sines = op.getSin();
    return llvm::Error::success();
  }
  llvm::Expected<Value> cosTable =
      makeWeight(WeightSource::of(*rotary.cosines), "rotary.cos");
  if (!cosTable)
    return cosTable.takeError();
  llvm::Expected<Value> sinTable =
      makeWeight(WeightSource::of(*rotary.sines), "rotary.sin");
  if (!sinTable)
    return sinTable.takeError();
  auto op = RotaryLookupOp::create(builder, module.getLoc(), type, type,
                                   positions, *cosTable, *sinTable);
  cosines = op.getCos();
  sines = op.getSin();
  return llvm::Error::success();
}

llvm::Expected<Value> Emitter::emitLayer(size_t index, Value input) {
  const DecoderLayer &layer = decoder.layers[index];
  std::string prefix = "layers." + std::to_string(index) + ".";
  Location loc = module.getLoc();
  llvm::Expected<Value> normed =
      emitNorm(layer.inputNorm, prefix + "input_layernorm", input);
  if (!normed)
    return normed;
  const std::tuple<const LinearLayer &, StringRef> projections[] = {
      {layer.q, "q_proj"}, {layer.k, "k_proj"}, {layer.v, "v_proj"}};
  SmallVector<Value, 3> heads;
  for (auto [projection, name] : projections) {
    llvm::Expected<Value> value =
        emitLinear(projection, prefix + "self_attn." + name, *normed);
    if (!value)
      return value;
    if (name != "v_proj")
      *value = RopeOp::create(builder, loc, value->getType(), *value, cosines,
                              sines, decoder.rotation.interleaved);
    heads.push_back(*value);
  }
  Value attended = AttentionOp::create(
      builder, loc, heads[0].getType(), heads[0], heads[1], heads[2], past,
      uint64_t(index), uint64_t(decoder.heads), uint64_t(decoder.kvHeads),
      llvm::APFloat(decoder.scale));
  llvm::Expected<Value> o =
      emitLinear(layer.o, prefix + "self_attn.o_proj", attended);
  if (!o)
    return o;
  Value middle = AddOp::create(builder, loc, input, *o);
  normed =
      emitNorm(layer.postNorm, prefix + "post_attention_layernorm", middle);
  if (!normed)
    return normed;
  llvm::Expected<Value> gate =
      emitLinear(layer.gate, prefix + "mlp.gate_proj", *normed);
  if (!gate)
    return gate;
  llvm::Expected<Value> up =
      emitLinear(layer.up, prefix + "mlp.up_proj", *normed);
  if (!up)
    return up;
  Value gated = SwiGLUOp::create(builder, loc, *gate, *up);
  llvm::Expected<Value> down =
      emitLinear(layer.down, prefix + "mlp.down_proj", gated);
  if (!down)
    return down;
  return Value(AddOp::create(builder, loc, middle, *down));
}

/// The shortest decimal number that rounds to `value`: 1e-5, not 9.99999975e-6.
static double toDecimal(float value) {
  char text[32];
  auto [end, error] = std::to_chars(text, text + sizeof(text) - 1, value);
  *end = 0;
  return atof(text);
}

llvm::Error Emitter::emit() {
  Location loc = module.getLoc();
  int64_t hidden = decoder.embedding.getShape()[1];
  int64_t vocab = decoder.head ? decoder.head->weight.getShape()[0] : 0;
  Type ids =
      RankedTensorType::get({ShapedType::kDynamic}, builder.getI32Type());
  builder.setInsertionPointToEnd(module.getBody());
  auto function = func::FuncOp::create(
      builder, loc, kForwardName,
      builder.getFunctionType({ids, builder.getIndexType()},
                              getActivationType(vocab ? vocab : hidden)));
  Block *block = function.addEntryBlock();
  builder.setInsertionPointToStart(block);
  past = block->getArgument(1);
  Value positions =
      PositionsOp::create(builder, loc, block->getArgument(0), past);
  if (llvm::Error error = emitRotary(positions))
    return error;
  llvm::Expected<Value> table =
      makeWeight(decoder.embedding, "embed_tokens.weight");
  if (!table)
    return table.takeError();
  Value stream =
      EmbeddingOp::create(builder, loc, getActivationType(hidden),
                          block->getArgument(0), *table, DictionaryAttr());
  for (size_t i = 0; i < decoder.layers.size(); ++i) {
    llvm::Expected<Value> next = emitLayer(i, stream);
    if (!next)
      return next.takeError();
    stream = *next;
  }
  llvm::Expected<Value> result = emitNorm(decoder.norm, "norm", stream);
  if (!result)
    return result.takeError();
  bool tied = false;
  if (decoder.head) {
    result = emitLinear(*decoder.head, "lm_head", *result);
    if (!result)
      return result.takeError();
    auto head = result->getDefiningOp<LinearOp>();
    llvm::Expected<bool> equal = isTied(*table, head.getWeight());
    if (!equal)
      return equal.takeError();
    tied = *equal;
    if (tied && head.getWeight() != *table) {
      Operation *copy = head.getWeight().getDefiningOp();
      head.getWeightMutable().assign(*table);
      copy->erase();
    }
  }
  func::ReturnOp::create(builder, loc, *result);

  const RotaryFormula &formula = rotary.formula;
  module->setAttr(
      kArchitectureAttr,
      ArchitectureAttr::get(
          module.getContext(), hidden, int64_t(decoder.layers.size()),
          decoder.heads, decoder.kvHeads, decoder.headDim,
          decoder.layers[0].gate.weight.getShape()[0], vocab, context,
          builder.getF64FloatAttr(formula.theta), formula.scaling,
          builder.getDenseF64ArrayAttr(formula.parameters),
          builder.getF64FloatAttr(toDecimal(decoder.epsilon)), tied));
  return llvm::Error::success();
}

llvm::Error llq::raise::emitDecoder(ModuleOp module, const Decoder &decoder,
                                    const RotaryModel &rotary, int64_t context,
                                    WeightReader &reader) {
  return Emitter(module, decoder, rotary, context, reader).emit();
}
