//===- WeightPacker.cpp - Bytes of a program's weight buffers -------------===//
//
// Tiles are packed in parallel, a few megabytes at a time, and handed on in
// order: the same bytes for any number of threads.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llq/Emit/WeightPacker.h"

#include "llq/Packing/CPULayout.h"

#include "llvm/Support/MathExtras.h"

#include <cstring>

using namespace mlir;
using namespace llq;

namespace {

/// One weight, ready to give any of its tiles. A number that is not finite is
/// an error: the model would say nothing but NaN.
class PartPacker {
public:
  static llvm::Expected<PartPacker> create(WeightPartAttr part,
                                           WeightReader &reader);

  int64_t tileBytes = 0;
  int64_t tiles = 0;
  int64_t tailBytes = 0;
  /// Where the weight's tail begins in the buffer.
  int64_t tailBegin = 0;

  /// Writes tile `index`, at `place` of the buffer, to `out`, which holds
  /// zeros.
  llvm::Error pack(int64_t index, int64_t place, char *out);
  /// Writes what tile `index` has in the weight's tail, which holds zeros.
  void packTail(int64_t index, char *tail);

private:
  WeightReader *reader;
  int64_t rows, columns;
  /// Of a quantized weight.
  CPULayoutInterface layout;
  SmallVector<ArrayRef<char>> components;
  /// Of a weight in its source type.
  TypedAttr values;
};

} // namespace

/// Whether no element of `bytes` is NaN or infinite: those have all bits of the
/// exponent set. Integers always are.
static bool allFinite(ArrayRef<char> bytes, Type type) {
  auto check = [&]<typename T>(T exponent) {
    bool finite = true;
    for (size_t at = 0; at + sizeof(T) <= bytes.size(); at += sizeof(T)) {
      T bits;
      std::memcpy(&bits, bytes.data() + at, sizeof(T));
      finite &= (bits & exponent) != exponent;
    }
    return finite;
  };
  if (type.isF32())
    return check(uint32_t(0x7f800000));
  if (type.isF16())
    return check(uint16_t(0x7c00));
  if (type.isBF16())
    return check(uint16_t(0x7f80));
  return true;
}

llvm::Expected<PartPacker> PartPacker::create(WeightPartAttr part,
                                              WeightReader &reader) {
  PartPacker packer;
  packer.reader = &reader;
  packer.tileBytes = getTileBytes(part.getType());
  packer.tailBytes = getTailBytes(part.getType());
  if (auto tensor = dyn_cast<RankedTensorType>(part.getType())) {
    packer.rows = tensor.getDimSize(0);
    packer.columns = tensor.getDimSize(1);
    packer.values = part.getComponents().getAs<TypedAttr>("values");
  } else {
    auto quantized = cast<QuantizedType>(part.getType());
    packer.rows = quantized.getRows();
    packer.columns = quantized.getColumns();
    packer.layout = cast<CPULayoutInterface>(quantized.getFormat());
    auto components = reader.getComponents(quantized, part.getComponents());
    if (!components)
      return components.takeError();
    packer.components = std::move(*components);
    auto format = cast<WeightFormatInterface>(quantized.getFormat());
    for (auto [component, bytes] :
         llvm::zip_equal(format.getComponents(packer.rows, packer.columns),
                         packer.components))
      if (!allFinite(bytes, component.type.getElementType()))
        return llvm::createStringError("has " + component.name.str() +
                                       " that are not finite");
  }
  packer.tiles = getPaddedRows(packer.rows) / kTileRows;
  return packer;
}

llvm::Error PartPacker::pack(int64_t index, int64_t place, char *out) {
  int64_t rowBegin = index * kTileRows;
  int64_t rowEnd = std::min(rows, rowBegin + kTileRows);
  // Padding rows are zero.
  if (rowBegin >= rows)
    return llvm::Error::success();
  // Columns of 16 elements in the source type, bits unchanged.
  if (values) {
    if (llvm::Error error =
            reader->copyColumns(values, rowBegin, rowEnd, kTileRows, out))
      return error;
    Type type = cast<RankedTensorType>(values.getType()).getElementType();
    if (allFinite({out, size_t(tileBytes)}, type))
      return llvm::Error::success();
    std::vector<float> rows((rowEnd - rowBegin) * columns);
    if (llvm::Error error = reader->readRows(values, rowBegin, rowEnd, rows))
      return error;
    return verifyFinite(rows, rowBegin, columns);
  }
  layout.packTile(components, rows, columns, rowBegin, tailBegin - place, out);
  return llvm::Error::success();
}

void PartPacker::packTail(int64_t index, char *tail) {
  if (index * kTileRows < rows)
    layout.packTail(components, rows, columns, index * kTileRows, tail);
}

llvm::Error WeightPacker::writePacked(PackedAttr packed, Sink sink) {
  SmallVector<PartPacker> parts;
  for (WeightPartAttr part : packed.getParts()) {
    auto packer = PartPacker::create(part, reader);
    if (!packer)
      return packer.takeError();
    parts.push_back(std::move(*packer));
  }
  // The tiles in file order.
  SmallVector<std::pair<PartPacker *, int64_t>> tiles;
  if (packed.getInterleaved())
    for (int64_t i = 0; i < parts.front().tiles; ++i)
      for (PartPacker &part : parts)
        tiles.push_back({&part, i});
  else
    for (PartPacker &part : parts)
      for (int64_t i = 0; i < part.tiles; ++i)
        tiles.push_back({&part, i});

  int64_t tileBytes = parts.front().tileBytes;
  int64_t tail = tileBytes * int64_t(tiles.size());
  for (PartPacker &part : parts) {
    part.tailBegin = tail;
    tail += part.tailBytes;
  }
  int64_t batch = std::max<int64_t>(1, (int64_t(8) << 20) / tileBytes);
  std::vector<char> bytes;
  for (int64_t first = 0, end = tiles.size(); first < end; first += batch) {
    int64_t count = std::min(batch, end - first);
    bytes.assign(count * tileBytes, 0);
    // One error for a weight, the first, however many tiles cannot be read.
    std::vector<std::string> errors(count);
    pool.parallelFor(0, count, 4, [&](int64_t from, int64_t to) {
      for (int64_t i = from; i < to; ++i) {
        auto [part, index] = tiles[first + i];
        if (llvm::Error e = part->pack(index, (first + i) * tileBytes,
                                       bytes.data() + i * tileBytes)) {
          errors[i] = llvm::toString(std::move(e));
          return;
        }
      }
    });
    auto isError = [](const std::string &text) { return !text.empty(); };
    if (auto error = llvm::find_if(errors, isError); error != errors.end())
      return llvm::createStringError(*error);
    if (llvm::Error e = sink(bytes))
      return e;
  }
  for (PartPacker &part : parts) {
    if (part.tailBytes == 0)
      continue;
    bytes.assign(part.tailBytes, 0);
    pool.parallelFor(0, part.tiles, 4, [&](int64_t from, int64_t to) {
      for (int64_t i = from; i < to; ++i)
        part.packTail(i, bytes.data());
    });
    if (llvm::Error e = sink(bytes))
      return e;
  }
  return llvm::Error::success();
}

llvm::Error WeightPacker::writeVectors(PaddedVectorAttr vectors, Sink sink) {
  for (Attribute value : vectors.getValues()) {
    if (auto order = dyn_cast<DenseIntElementsAttr>(value);
        order && order.getElementType().isInteger(16)) {
      std::vector<int16_t> channels(order.value_begin<int16_t>(),
                                    order.value_end<int16_t>());
      channels.resize(llvm::alignTo(channels.size(), vectors.getPadding()));
      if (llvm::Error e = sink({reinterpret_cast<const char *>(channels.data()),
                                channels.size() * sizeof(int16_t)}))
        return e;
      continue;
    }
    std::vector<float> floats;
    if (auto array = dyn_cast<DenseF32ArrayAttr>(value)) {
      floats = array.asArrayRef().vec();
    } else {
      auto read = reader.readAll(cast<TypedAttr>(value));
      if (!read)
        return read.takeError();
      floats = std::move(*read);
      if (llvm::Error error = verifyFinite(floats, 0, floats.size()))
        return error;
    }
    floats.resize(llvm::alignTo(floats.size(), vectors.getPadding()));
    if (llvm::Error e = sink({reinterpret_cast<const char *>(floats.data()),
                              floats.size() * sizeof(float)}))
      return e;
  }
  return llvm::Error::success();
}

llvm::Error WeightPacker::write(BufferOp buffer, Sink sink) {
  auto packed = dyn_cast<PackedAttr>(*buffer.getContent());
  llvm::Error error =
      packed ? writePacked(packed, sink)
             : writeVectors(cast<PaddedVectorAttr>(*buffer.getContent()), sink);
  // Gives back the pages of the source that this weight has touched.
  reader.release();
  if (!error)
    return error;
  return llvm::createStringError("weight " + buffer.getName() + ": " +
                                 llvm::toString(std::move(error)));
}
