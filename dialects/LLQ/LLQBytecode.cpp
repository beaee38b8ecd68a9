//===- LLQBytecode.cpp - Binary encoding of attributes --------------------===//
//
// Attributes without an encoding of their own are stored as their text, and
// resource blobs that occur inside such text are lost. So those that hold
// weights are encoded here; the others are small and stay text.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "dialects/LLQ/LLQ.h"

#include "mlir/Bytecode/BytecodeImplementation.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace llq;

namespace {
/// First number of an encoded attribute. Part of the file format: numbers are
/// only ever added.
enum AttrCode : uint64_t {
  kWeightPart = 0,
  kPacked = 1,
  kPaddedVector = 2,
  kScaled = 3,
  kRotated = 4,
};

struct LLQBytecodeInterface : BytecodeDialectInterface {
  LLQBytecodeInterface(Dialect *dialect) : BytecodeDialectInterface(dialect) {}

  LogicalResult writeAttribute(Attribute attr,
                               DialectBytecodeWriter &writer) const override {
    return TypeSwitch<Attribute, LogicalResult>(attr)
        .Case([&](WeightPartAttr part) {
          writer.writeVarInt(kWeightPart);
          writer.writeAttribute(part.getName());
          writer.writeType(part.getType());
          writer.writeAttribute(part.getComponents());
          writer.writeOptionalAttribute(part.getMethod());
          return success();
        })
        .Case([&](PackedAttr packed) {
          writer.writeVarInt(kPacked);
          writer.writeAttribute(packed.getTarget());
          writer.writeAttributes(packed.getParts());
          writer.writeVarInt(packed.getInterleaved());
          return success();
        })
        .Case([&](PaddedVectorAttr vector) {
          writer.writeVarInt(kPaddedVector);
          writer.writeAttributes(vector.getValues());
          writer.writeSignedVarInt(vector.getPadding());
          return success();
        })
        .Case([&](ScaledAttr scaled) {
          writer.writeVarInt(kScaled);
          writer.writeType(scaled.getType());
          writer.writeAttribute(scaled.getSource());
          writer.writeOptionalAttribute(scaled.getRows());
          writer.writeOptionalAttribute(scaled.getColumns());
          writer.writeOptionalAttribute(scaled.getClip());
          writer.writeSignedVarInt(scaled.getGroup());
          return success();
        })
        .Case([&](RotatedAttr rotated) {
          writer.writeVarInt(kRotated);
          writer.writeType(rotated.getType());
          writer.writeAttribute(rotated.getSource());
          writer.writeOptionalAttribute(rotated.getInput());
          writer.writeOptionalAttribute(rotated.getOutput());
          return success();
        })
        .Default([](Attribute) { return failure(); });
  }

  Attribute readAttribute(DialectBytecodeReader &reader) const override {
    uint64_t code;
    if (failed(reader.readVarInt(code)))
      return {};
    switch (code) {
    case kWeightPart:
      return readWeightPart(reader);
    case kPacked:
      return readPacked(reader);
    case kPaddedVector:
      return readPaddedVector(reader);
    case kScaled:
      return readScaled(reader);
    case kRotated:
      return readRotated(reader);
    default:
      reader.emitError() << "unknown llq attribute " << code;
      return {};
    }
  }

private:
  Attribute readWeightPart(DialectBytecodeReader &reader) const {
    StringAttr name;
    Type type;
    DictionaryAttr components, method;
    if (failed(reader.readAttribute(name)) || failed(reader.readType(type)) ||
        failed(reader.readAttribute(components)) ||
        failed(reader.readOptionalAttribute(method)))
      return {};
    return WeightPartAttr::get(getContext(), name, type, components, method);
  }

  Attribute readPacked(DialectBytecodeReader &reader) const {
    StringAttr target;
    SmallVector<WeightPartAttr> parts;
    uint64_t interleaved;
    if (failed(reader.readAttribute(target)) ||
        failed(reader.readAttributes(parts)) ||
        failed(reader.readVarInt(interleaved)))
      return {};
    return PackedAttr::get(getContext(), target, parts, interleaved != 0);
  }

  Attribute readPaddedVector(DialectBytecodeReader &reader) const {
    SmallVector<Attribute> values;
    int64_t padding;
    if (failed(reader.readAttributes(values)) ||
        failed(reader.readSignedVarInt(padding)))
      return {};
    return PaddedVectorAttr::get(getContext(), values, padding);
  }

  Attribute readScaled(DialectBytecodeReader &reader) const {
    RankedTensorType type;
    TypedAttr source, rows, columns, clip;
    int64_t group;
    if (failed(reader.readType(type)) || failed(reader.readAttribute(source)) ||
        failed(reader.readOptionalAttribute(rows)) ||
        failed(reader.readOptionalAttribute(columns)) ||
        failed(reader.readOptionalAttribute(clip)) ||
        failed(reader.readSignedVarInt(group)))
      return {};
    return ScaledAttr::getChecked([&] { return reader.emitError(); },
                                  getContext(), type, source, rows, columns,
                                  clip, group);
  }

  Attribute readRotated(DialectBytecodeReader &reader) const {
    RankedTensorType type;
    TypedAttr source;
    RotationAttr input, output;
    if (failed(reader.readType(type)) || failed(reader.readAttribute(source)) ||
        failed(reader.readOptionalAttribute(input)) ||
        failed(reader.readOptionalAttribute(output)))
      return {};
    return RotatedAttr::getChecked([&] { return reader.emitError(); },
                                   getContext(), type, source, input, output);
  }
};
} // namespace

void LLQDialect::registerBytecode() { addInterfaces<LLQBytecodeInterface>(); }
