//===- ModelHeader.cpp - The FlatBuffer of a model file -------------------===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "ModelHeader.h"

#include "llq/Packing/CPULayout.h"

#include "mlir/IR/BuiltinOps.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/Support/JSON.h"

using namespace mlir;
using namespace llq;
namespace fb = llqrt::fb;

LogicalResult ModelHeader::collect() {
  auto programs = module.getOps<ProgramOp>();
  if (!llvm::hasSingleElement(programs))
    return module.emitError(
        "needs one llq.program: run llq-lower-to-cpu first");
  program = *programs.begin();
  architecture = module->getAttrOfType<ArchitectureAttr>(kArchitectureAttr);
  if (!architecture)
    return module.emitError("has no ") << kArchitectureAttr;
  // Parts of a model run in the compiler only.
  if (!program->hasAttr("outputs"))
    return program.emitError("has several results, a model file needs one");
  for (auto buffer : program.getOps<BufferOp>()) {
    if (buffer.getKind() == BufferKind::Input && buffer.getName() != "ids")
      return buffer.emitError("is an input that is no token ids");
    if (buffer.getKind() == BufferKind::Weight)
      weights.push_back({buffer, fb::Region(0, buffer.getBytes(), 0)});
    if (buffer.getKind() == BufferKind::Temporary && !buffer.use_empty() &&
        !buffer.getOffset())
      return buffer.emitOpError("has no place: run llq-plan-memory first");
  }
  auto cache = program->getAttrOfType<StringAttr>("kv_cache");
  cacheType = cache ? cache.str() : "f32";
  collectLayers();
  return success();
}

/// How a product reads its activations, from its kernel's name: `int8` (groups
/// of 32), `int8 per token` or `int8 static`; empty for f32 and other kernels.
static std::string getAccuracy(StringRef kernel) {
  SmallVector<StringRef> parts;
  kernel.split(parts, '_');
  if (parts.front() != "linear")
    return {};
  for (auto [prefix, suffix] : {std::pair<StringRef, StringRef>("int", ""),
                                {"token", " per token"},
                                {"static", " static"}})
    for (StringRef part : parts)
      if (unsigned bits;
          part.consume_front(prefix) && !part.getAsInteger(10, bits))
        return ("int" + Twine(bits) + suffix).str();
  return {};
}

/// The dispatch that makes `rows`, or null.
static DispatchOp getMaker(Value rows) {
  for (Operation *user : rows.getUsers()) {
    auto dispatch = cast<DispatchOp>(user);
    auto written = dispatch.getBuffers().take_back(dispatch.getNumWrites());
    if (llvm::is_contained(written, rows))
      return dispatch;
  }
  return {};
}

/// What is stored to put the rows that a product reads into the order and basis
/// of its weight, without what is in `counted`: orders of channels, and scales
/// in front of rotations.
static int64_t getInputBytes(Value rows, llvm::DenseSet<Value> &counted) {
  DispatchOp maker = getMaker(rows);
  if (!maker)
    return 0;
  StringRef kernel = maker.getKernel();
  bool rotates = kernel.starts_with("rotate_");
  int64_t bytes = 0;
  for (Value value : maker.getBuffers()) {
    auto buffer = value.getDefiningOp<BufferOp>();
    auto vectors =
        dyn_cast_if_present<PaddedVectorAttr>(buffer.getContentAttr());
    if (!vectors || !counted.insert(value).second)
      continue;
    // Tables of rotations belong to all layers of a width.
    for (Attribute vector : vectors.getValues())
      if (auto order = dyn_cast<DenseIntElementsAttr>(vector))
        bytes += rotates ? 0 : kOrderBytes * order.size();
      else if (isa<DenseResourceElementsAttr, ExternalAttr>(vector))
        bytes += rotates ? buffer.getBytes() : 0;
  }
  // Rows are rotated first, then permuted and quantized.
  if (kernel.starts_with("permute_") || kernel.starts_with("quantize_"))
    bytes += getInputBytes(maker.getBuffers().front(), counted);
  return bytes;
}

void ModelHeader::collectLayers() {
  // Orders and bases of inputs count once: for the first layer of those that
  // read them.
  llvm::DenseSet<Value> counted;
  for (const WeightSegment &weight : weights) {
    BufferOp buffer = weight.buffer;
    auto packed = dyn_cast<PackedAttr>(*buffer.getContent());
    if (!packed)
      continue;
    // What the dispatches that read the weight say of it.
    std::string accuracy = "exact";
    int64_t inputBytes = 0;
    for (Operation *user : buffer->getUsers()) {
      auto dispatch = cast<DispatchOp>(user);
      if (std::string found = getAccuracy(dispatch.getKernel()); !found.empty())
        accuracy = found;
      inputBytes += getInputBytes(dispatch.getBuffers().front(), counted);
    }
    for (WeightPartAttr part : packed.getParts()) {
      auto [rows, columns] =
          isa<QuantizedType>(part.getType())
              ? std::pair(cast<QuantizedType>(part.getType()).getRows(),
                          cast<QuantizedType>(part.getType()).getColumns())
              : std::pair(cast<ShapedType>(part.getType()).getDimSize(0),
                          cast<ShapedType>(part.getType()).getDimSize(1));
      int64_t bytes =
          getPackedBytes(part.getType()) + std::exchange(inputBytes, 0);
      layers.push_back({part, rows, columns, bytes, accuracy,
                        part.getName().getValue().starts_with("layers.")});
    }
  }
}

double ModelHeader::getBitsPerWeight(bool total) const {
  double bytes = 0, count = 0;
  for (const Layer &layer : layers)
    if (total || layer.inBlock) {
      bytes += double(layer.bytes);
      count += double(layer.rows) * double(layer.columns);
    }
  return count > 0 ? 8 * bytes / count : 0;
}

static llvm::json::Value toJSON(Attribute value) {
  if (auto dictionary = dyn_cast<DictionaryAttr>(value)) {
    llvm::json::Object object;
    for (NamedAttribute entry : dictionary)
      object[entry.getName().getValue()] = toJSON(entry.getValue());
    return object;
  }
  if (auto array = dyn_cast<ArrayAttr>(value)) {
    llvm::json::Array elements;
    for (Attribute element : array)
      elements.push_back(toJSON(element));
    return elements;
  }
  if (auto boolean = dyn_cast<BoolAttr>(value))
    return boolean.getValue();
  if (auto integer = dyn_cast<IntegerAttr>(value))
    return integer.getInt();
  if (auto number = dyn_cast<FloatAttr>(value))
    return number.getValueAsDouble();
  if (auto text = dyn_cast<StringAttr>(value))
    return llvm::json::fixUTF8(text.getValue());
  std::string printed;
  llvm::raw_string_ostream(printed) << value;
  return printed;
}

/// The provenance of a layer as text in JSON.
static std::string getMethodText(DictionaryAttr method) {
  std::string text;
  if (method)
    llvm::raw_string_ostream(text) << toJSON(method);
  return text;
}

/// A format as `llq-inspect` prints it.
static std::string getFormatText(Type type) {
  std::string text;
  llvm::raw_string_ostream os(text);
  if (auto quantized = dyn_cast<QuantizedType>(type))
    os << quantized.getFormat();
  else
    os << cast<ShapedType>(type).getElementType();
  return text;
}

flatbuffers::Offset<fb::Target>
ModelHeader::buildTarget(flatbuffers::FlatBufferBuilder &builder) {
  DenseMap<Value, uint32_t> bufferIndex;
  uint32_t weightIndex = 0;
  std::vector<flatbuffers::Offset<fb::Buffer>> buffers;
  for (auto op : program.getOps<BufferOp>()) {
    // A buffer that nothing touches has no place.
    bool weight = op.getKind() == BufferKind::Weight;
    if (op.use_empty() && !weight)
      continue;
    bufferIndex[op] = buffers.size();
    buffers.push_back(
        fb::CreateBuffer(builder, builder.CreateString(op.getName().str()),
                         fb::BufferKind(op.getKind()), op.getBytesPerToken(),
                         op.getBytesPerPosition(), op.getOffset().value_or(0),
                         weight ? weightIndex++ : 0));
  }
  llvm::MapVector<StringRef, uint32_t> kernels;
  std::vector<flatbuffers::Offset<fb::Dispatch>> dispatches;
  for (auto op : program.getOps<DispatchOp>()) {
    auto [kernel, inserted] =
        kernels.insert({op.getKernel(), uint32_t(kernels.size())});
    (void)inserted;
    std::vector<uint32_t> indices;
    for (Value buffer : op.getBuffers())
      indices.push_back(bufferIndex.lookup(buffer));
    dispatches.push_back(fb::CreateDispatch(
        builder, kernel->second, builder.CreateVector(indices), op.getItems(),
        op.getItemsPerToken(), op.getNumWrites(), op.getOutputsOnly()));
  }
  auto programOffset = fb::CreateProgram(
      builder, program.getMaxTokens(), program.getArenaBytes(),
      program.getScratchBytes(), /*scratch_bytes_per_position=*/0,
      builder.CreateVector(buffers), builder.CreateVector(dispatches));
  std::vector<flatbuffers::Offset<flatbuffers::String>> names;
  for (auto &[name, index] : kernels)
    names.push_back(builder.CreateString(name.str()));
  std::vector<flatbuffers::Offset<fb::Code>> segments;
  for (NativeCode &segment : code)
    segments.push_back(fb::CreateCode(
        builder, builder.CreateString(segment.level->machine.str()),
        builder.CreateString(segment.level->name.str()), &segment.region));
  return fb::CreateTarget(builder, builder.CreateString("cpu"),
                          builder.CreateVector(names), programOffset,
                          builder.CreateVector(segments));
}

std::vector<char> ModelHeader::build() {
  flatbuffers::FlatBufferBuilder builder(1 << 16);
  // Zero numbers are written too: the size must not depend on values.
  builder.ForceDefaults(true);
  ArchitectureAttr a = architecture;
  auto architectureOffset = fb::CreateArchitecture(
      builder, a.getHidden(), a.getLayers(), a.getHeads(), a.getKvHeads(),
      a.getHeadDim(), a.getFfn(), a.getVocab(), a.getContextLength(),
      a.getRopeTheta().getValueAsDouble(),
      builder.CreateString(a.getRopeScaling().str()),
      builder.CreateVector(a.getRopeParameters().asArrayRef().data(),
                           a.getRopeParameters().size()),
      a.getNormEps().getValueAsDouble(), a.getTiedEmbeddings());
  std::vector<flatbuffers::Offset<fb::Linear>> linears;
  for (const Layer &layer : layers)
    linears.push_back(fb::CreateLinear(
        builder, builder.CreateString(layer.part.getName().str()), layer.rows,
        layer.columns,
        builder.CreateString(getFormatText(layer.part.getType())), layer.bytes,
        builder.CreateString(layer.accuracy),
        builder.CreateString(getMethodText(layer.part.getMethod())),
        layer.inBlock));
  std::vector<flatbuffers::Offset<fb::Weight>> weightOffsets;
  for (WeightSegment &weight : weights)
    weightOffsets.push_back(fb::CreateWeight(
        builder, builder.CreateString(weight.buffer.getName().str()),
        &weight.region));
  flatbuffers::Offset<fb::Target> target = buildTarget(builder);
  auto provenance = fb::CreateProvenance(
      builder, builder.CreateString(options.source),
      builder.CreateString(sourceSha256),
      builder.CreateString(options.pipeline),
      builder.CreateString(options.calibration),
      builder.CreateString(std::string("llq ") + LLQ_VERSION));
  auto model = fb::CreateModel(
      builder, architectureOffset, builder.CreateVector(linears),
      builder.CreateVector(weightOffsets), builder.CreateVector(&target, 1),
      &tokenizer, provenance, builder.CreateString(cacheType));
  fb::FinishModelBuffer(builder, model);
  const char *data = reinterpret_cast<const char *>(builder.GetBufferPointer());
  return std::vector<char>(data, data + builder.GetSize());
}
