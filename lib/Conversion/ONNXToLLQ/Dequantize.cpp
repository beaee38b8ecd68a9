//===- Dequantize.cpp - Weights behind DequantizeLinear -------------------===//
//
// A matrix of codes whose scales lie in blocks along its columns is what the
// uniform format holds: such weights keep their codes. Others are computed.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "Evaluator.h"

#include "llq/Numerics/BitPacking.h"
#include "llq/Numerics/Float16.h"

#include "llvm/Support/MathExtras.h"

#include <cstring>

using namespace mlir;
using namespace llq;
using namespace llq::raise;

static bool isSigned(ElementType type) {
  return type == ElementType::Int8 || type == ElementType::Int4 ||
         type == ElementType::Int2;
}

static bool isCode(ElementType type) {
  return isSigned(type) || type == ElementType::UInt8 ||
         type == ElementType::UInt4 || type == ElementType::UInt2;
}

DequantizedMatrix DequantizedMatrix::transposed() const {
  DequantizedMatrix result = *this;
  result.codes = codes.transposed({1, 0});
  result.scales = scales.transposed({1, 0});
  if (zeros)
    result.zeros = zeros->transposed({1, 0});
  result.blockAxis = 1 - blockAxis;
  return result;
}

//===----------------------------------------------------------------------===//
// From the graph
//===----------------------------------------------------------------------===//

/// The matrix that a DequantizeLinear of constants computes; none if it is not
/// one of small codes.
std::optional<DequantizedMatrix> Evaluator::getDequantized(Node &node) {
  auto viewOf = [&](size_t index) -> const WeightView * {
    if (auto *unread = std::get_if<Unread>(&node.input(index)))
      return &unread->view;
    const Known *known = node.known(index);
    return known && known->view ? &*known->view : nullptr;
  };
  const WeightView *codes = viewOf(0), *scales = viewOf(1), *zeros = viewOf(2);
  if (!codes || !scales || codes->shape.size() != 2 || !isCode(codes->type) ||
      node.has(2) != bool(zeros) || (zeros && zeros->type != codes->type) ||
      codes->numElements() == 0 || scales->type == ElementType::Float64)
    return std::nullopt;
  DequantizedMatrix matrix;
  matrix.codes = *codes;
  matrix.scales = *scales;
  if (zeros)
    matrix.zeros = *zeros;
  int64_t axis = node.getInt("axis", 1), block = node.getInt("block_size", 0);
  axis += axis < 0 ? 2 : 0;
  if (axis < 0 || axis > 1)
    return std::nullopt;
  Shape counts = codes->shape;
  if (block > 0) {
    matrix.blockAxis = unsigned(axis);
    matrix.block = block;
  } else {
    // One scale for each index along `axis`, or one for all.
    matrix.blockAxis = unsigned(1 - axis);
    matrix.block = codes->shape[1 - axis];
  }
  counts[matrix.blockAxis] =
      llvm::divideCeil(counts[matrix.blockAxis], matrix.block);
  for (WeightView *view :
       {&matrix.scales, matrix.zeros ? &*matrix.zeros : nullptr}) {
    if (!view)
      continue;
    if (view->numElements() == 1) {
      // The same one everywhere.
      view->shape = counts;
      view->strides = {0, 0};
      continue;
    }
    if (block > 0 ? view->shape != counts
                  : view->shape != Shape{codes->shape[axis]})
      return std::nullopt;
    if (block == 0) {
      int64_t stride = view->strides[0];
      view->shape = counts;
      view->strides = {0, 0};
      view->strides[axis] = stride;
    }
  }
  return matrix;
}

//===----------------------------------------------------------------------===//
// Values
//===----------------------------------------------------------------------===//

namespace {
/// The elements of a view, whose data is in memory.
class Elements {
public:
  Elements(Elements &&) = default;
  Elements &operator=(Elements &&) = default;

  static llvm::Expected<Elements> of(const WeightView &view,
                                     WeightReader &reader) {
    // Splats of dense constants have one element in memory.
    if (isa<DenseElementsAttr>(view.data)) {
      llvm::Expected<std::vector<char>> copy = reader.copyBytes(view.data);
      if (!copy)
        return copy.takeError();
      return Elements(view, std::move(*copy));
    }
    llvm::Expected<ArrayRef<char>> bytes = reader.getBytes(view.data);
    if (!bytes)
      return bytes.takeError();
    return Elements(view, *bytes);
  }

  /// An element of a matrix of codes, counted from the least one of its type.
  uint8_t code(int64_t i, int64_t j) const {
    unsigned bits = interp::elementBits(view.type);
    int64_t bit = at(i, j) * bits;
    auto byte = uint8_t(bytes[bit / 8]);
    auto code = uint8_t(byte >> (bit % 8) & ((1u << bits) - 1));
    return isSigned(view.type) ? code ^ uint8_t(1u << (bits - 1)) : code;
  }

  float number(int64_t i, int64_t j) const {
    const char *from = bytes.data() + at(i, j) * interp::elementSize(view.type);
    if (view.type == ElementType::Float32) {
      float value;
      std::memcpy(&value, from, sizeof(value));
      return value;
    }
    uint16_t half;
    std::memcpy(&half, from, sizeof(half));
    return view.type == ElementType::Float16 ? numerics::decodeF16(half)
                                             : numerics::decodeBF16(half);
  }

  /// The bytes of all codes, row by row, if they lie in the data so.
  std::optional<ArrayRef<char>> getRows() const {
    int64_t bits = interp::elementBits(view.type);
    if (!view.isContiguous() || view.offset * bits % 8 ||
        view.shape[1] * bits % 8)
      return std::nullopt;
    return bytes.slice(view.offset * bits / 8, view.numElements() * bits / 8);
  }

private:
  Elements(const WeightView &view, ArrayRef<char> bytes)
      : view(view), bytes(bytes) {}
  Elements(const WeightView &view, std::vector<char> copy)
      : view(view), copy(std::move(copy)), bytes(this->copy) {}
  int64_t at(int64_t i, int64_t j) const {
    return view.offset + i * view.strides[0] + j * view.strides[1];
  }

  WeightView view;
  /// Moves with its memory, so that `bytes` stay valid.
  std::vector<char> copy;
  ArrayRef<char> bytes;
};

struct Parts {
  Elements codes, scales;
  std::optional<Elements> zeros;
};
} // namespace

static llvm::Expected<Parts> readParts(const DequantizedMatrix &matrix,
                                       WeightReader &reader) {
  llvm::Expected<Elements> codes = Elements::of(matrix.codes, reader);
  if (!codes)
    return codes.takeError();
  llvm::Expected<Elements> scales = Elements::of(matrix.scales, reader);
  if (!scales)
    return scales.takeError();
  Parts parts{std::move(*codes), std::move(*scales), std::nullopt};
  if (matrix.zeros) {
    llvm::Expected<Elements> zeros = Elements::of(*matrix.zeros, reader);
    if (!zeros)
      return zeros.takeError();
    parts.zeros = std::move(*zeros);
  }
  return parts;
}

/// The zero point where the graph gives none: 0, as codes count.
static uint8_t getImpliedZero(ElementType type) {
  return isSigned(type) ? uint8_t(1u << (interp::elementBits(type) - 1)) : 0;
}

/// Calls `visit(i, j)` for all elements, along the memory of `view` and in
/// tiles that fit the cache.
static void forEachElement(const WeightView &view,
                           llvm::function_ref<void(int64_t, int64_t)> visit) {
  constexpr int64_t tile = 64;
  for (int64_t row = 0; row < view.shape[0]; row += tile)
    for (int64_t column = 0; column < view.shape[1]; column += tile)
      for (int64_t i = row, e = std::min(view.shape[0], row + tile); i < e; ++i)
        for (int64_t j = column, f = std::min(view.shape[1], column + tile);
             j < f; ++j)
          visit(i, j);
}

llvm::Expected<std::vector<float>>
llq::raise::dequantize(const DequantizedMatrix &matrix, WeightReader &reader) {
  llvm::Expected<Parts> parts = readParts(matrix, reader);
  if (!parts)
    return parts.takeError();
  int64_t columns = matrix.codes.shape[1];
  std::vector<float> values(matrix.codes.numElements());
  forEachElement(matrix.codes, [&](int64_t i, int64_t j) {
    int64_t at[2] = {i, j};
    at[matrix.blockAxis] /= matrix.block;
    int zero = parts->zeros ? parts->zeros->code(at[0], at[1])
                            : getImpliedZero(matrix.codes.type);
    values[i * columns + j] = float(parts->codes.code(i, j) - zero) *
                              parts->scales.number(at[0], at[1]);
  });
  return values;
}

llvm::Expected<UniformRows>
llq::raise::packUniform(const DequantizedMatrix &matrix, WeightReader &reader) {
  assert(matrix.blockAxis == 1 && "blocks lie along the columns");
  llvm::Expected<Parts> parts = readParts(matrix, reader);
  if (!parts)
    return parts.takeError();
  int64_t rows = matrix.codes.shape[0], columns = matrix.codes.shape[1];
  int64_t blocks = matrix.scales.shape[1];
  UniformRows result;
  result.bits = interp::elementBits(matrix.codes.type);
  result.codes.resize(rows * numerics::packedRowBytes(columns, result.bits));
  if (std::optional<ArrayRef<char>> packed = parts->codes.getRows()) {
    // Counting from the least code turns the sign bit of each.
    uint8_t signs = result.bits == 8 ? 0x80 : result.bits == 4 ? 0x88 : 0xaa;
    uint8_t turned = isSigned(matrix.codes.type) ? signs : 0;
    for (auto [from, to] : llvm::zip_equal(*packed, result.codes))
      to = uint8_t(from) ^ turned;
  } else {
    std::vector<uint8_t> codes(rows * columns);
    forEachElement(matrix.codes, [&](int64_t i, int64_t j) {
      codes[i * columns + j] = parts->codes.code(i, j);
    });
    numerics::packRows(codes, rows, columns, result.bits, result.codes);
  }
  std::vector<uint8_t> zeros(rows * blocks);
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = 0; j < blocks; ++j) {
      result.scales.push_back(parts->scales.number(i, j));
      zeros[i * blocks + j] = parts->zeros ? parts->zeros->code(i, j)
                                           : getImpliedZero(matrix.codes.type);
    }
  // Without zero points the uniform format means the middle code.
  auto middle = uint8_t(1u << (result.bits - 1));
  if (llvm::all_of(zeros, [&](uint8_t zero) { return zero == middle; }))
    return result;
  result.zeros.resize(rows * numerics::packedRowBytes(blocks, result.bits));
  numerics::packRows(zeros, rows, blocks, result.bits, result.zeros);
  return result;
}
