//===- BlockQuantized.cpp - Operators on block-quantized weights ----------===//
//
// MatMulNBits and GatherBlockQuantized of onnxruntime: weights in codes of 2,
// 4 or 8 bits with a scale, and perhaps a zero point, for each block. Codes
// are decoded as they are used, never as a whole matrix.
//
// SPDX-License-Identifier: Apache-2.0
//===----------------------------------------------------------------------===//

#include "Gemm.h"
#include "Indexing.h"
#include "Operators.h"

using namespace llq::interp;

/// Code `index` of a row of codes packed low bits first.
static unsigned unpackCode(const uint8_t *row, int64_t index, int64_t bits) {
  int64_t perByte = 8 / bits;
  unsigned byte = row[index / perByte];
  return byte >> (bits * (index % perByte)) & ((1u << bits) - 1);
}

static bool isCodeWidth(int64_t bits) {
  return bits == 2 || bits == 4 || bits == 8;
}

/// Bytes of `count` packed codes.
static int64_t packedSize(int64_t count, int64_t bits) {
  int64_t perByte = 8 / bits;
  return count / perByte + (count % perByte != 0);
}

//===----------------------------------------------------------------------===//
// MatMulNBits
//===----------------------------------------------------------------------===//

namespace {

/// The weight of a MatMulNBits: w[n, k] = (code - zero) * scale.
struct BlockWeight {
  int64_t rows, columns; // N, K
  int64_t bits, blockSize, blocks;
  const Tensor *codes = nullptr;
  const Tensor *scales = nullptr;
  const Tensor *zeros = nullptr; // packed codes or floats
  std::optional<Tensor> groupOf; // i64: block of each column

  double zeroPoint(int64_t n, int64_t group) const {
    if (!zeros)
      return double(int64_t(1) << (bits - 1));
    double value;
    if (zeros->type() == ElementType::UInt8)
      return unpackCode(zeros->data<uint8_t>() + n * packedSize(blocks, bits),
                        group, bits);
    readDoubles(*zeros, n * blocks + group, 1, &value);
    return value;
  }

  /// w[n, k0...], `count` columns, to every `stride`-th double.
  void decode(int64_t n, int64_t k0, int64_t count, int64_t stride,
              double *out) const {
    int64_t blob = blockSize * bits / 8;
    const uint8_t *row = codes->data<uint8_t>() + n * blocks * blob;
    int64_t current = -1;
    double scale = 0, zero = 0;
    for (int64_t i = 0; i < count; ++i) {
      int64_t k = k0 + i;
      int64_t group = groupOf ? groupOf->data<int64_t>()[k] : k / blockSize;
      if (group != current) {
        current = group;
        readDoubles(*scales, n * blocks + group, 1, &scale);
        zero = zeroPoint(n, group);
      }
      unsigned code =
          unpackCode(row + k / blockSize * blob, k % blockSize, bits);
      out[i * stride] = (double(code) - zero) * scale;
    }
  }
};

} // namespace

/// Fails unless `tensor` has `count` elements; exporters flatten these
/// operands at will.
static bool requireCount(OpContext &context, const Tensor &tensor,
                         std::string_view what, int64_t count) {
  if (tensor.numElements() == count)
    return true;
  context.fail(what, " has shape ", tensor.shape(), ", need ", count,
               " elements");
  return false;
}

static std::optional<BlockWeight> readWeight(OpContext &context) {
  BlockWeight weight;
  weight.columns = context.intAttribute("K", 0);
  weight.rows = context.intAttribute("N", 0);
  weight.bits = context.intAttribute("bits", 4);
  weight.blockSize = context.intAttribute("block_size", 0);
  weight.codes = &context.input(1);
  weight.scales = &context.input(2);
  weight.zeros = context.optionalInput(3);
  if (!isCodeWidth(weight.bits))
    return context.failure("'bits' = ", weight.bits, " is not one of 2, 4, 8");
  if (weight.columns < 1 || weight.rows < 1 || weight.blockSize < 1 ||
      weight.blockSize > maxElements || weight.blockSize * weight.bits % 8 != 0)
    return context.failure("K = ", weight.columns, ", N = ", weight.rows,
                           ", block_size = ", weight.blockSize,
                           " describe no matrix");
  weight.blocks = (weight.columns - 1) / weight.blockSize + 1;
  int64_t blob = weight.blockSize * weight.bits / 8;
  // Also bounds every product below.
  Result<int64_t> bytes = countElements({weight.rows, weight.blocks, blob});
  if (!bytes)
    return context.failure(bytes.message());
  if (!context.requireType(*weight.codes, "the weight", {ElementType::UInt8}) ||
      !requireCount(context, *weight.codes, "the weight", *bytes) ||
      !context.requireFloat(*weight.scales, "the scales") ||
      !requireCount(context, *weight.scales, "the scales",
                    weight.rows * weight.blocks))
    return std::nullopt;
  if (weight.zeros) {
    bool isPacked = weight.zeros->type() == ElementType::UInt8;
    if (!isPacked && !context.requireFloat(*weight.zeros, "the zero points"))
      return std::nullopt;
    if (!requireCount(context, *weight.zeros, "the zero points",
                      weight.rows *
                          (isPacked ? packedSize(weight.blocks, weight.bits)
                                    : weight.blocks)))
      return std::nullopt;
  }
  if (const Tensor *groups = context.optionalInput(4)) {
    if (groups->rank() != 1 || groups->dim(0) < weight.columns)
      return context.failure("g_idx has shape ", groups->shape(),
                             " for K = ", weight.columns);
    weight.groupOf = readIndices(context, *groups);
    for (int64_t k = 0; weight.groupOf && k < weight.columns; ++k) {
      int64_t group = weight.groupOf->data<int64_t>()[k];
      if (group < 0 || group >= weight.blocks)
        return context.failure("g_idx names block ", group, " of ",
                               weight.blocks);
    }
  }
  if (context.failed())
    return std::nullopt;
  return weight;
}

static void evalMatMulNBits(OpContext &context) {
  const Tensor &a = context.input(0);
  const Tensor *bias = context.optionalInput(5);
  // The reference never lowers the precision of A.
  context.ignoreAttribute("accuracy_level");
  context.requireAttribute("weight_prepacked", 0);
  std::optional<BlockWeight> weight = readWeight(context);
  if (!weight || !context.requireFloat(a, "the operand"))
    return;
  if (a.rank() == 0 || a.dim(a.rank() - 1) != weight->columns)
    return context.fail("the operand has shape ", a.shape(), ", need [..., ",
                        weight->columns, "]");
  if (bias && (!context.requireFloat(*bias, "the bias") ||
               !context.requireShape(*bias, "the bias", {weight->rows})))
    return;
  Shape shape = a.shape();
  shape.back() = weight->rows;
  std::optional<MutableTensor> out =
      context.allocate(computeType(a.type()), std::move(shape));
  if (!out)
    return;
  std::vector<double> offsets;
  if (bias)
    offsets = bias->toDoubles();
  int64_t columns = weight->columns;
  gemm(
      a.numElements() / columns, weight->rows, columns,
      [&](int64_t row, int64_t k0, int64_t count, double *to) {
        readDoubles(a, row * columns + k0, count, to);
      },
      [&](int64_t k0, int64_t kCount, int64_t n0, int64_t nCount,
          double *panel) {
        for (int64_t n = 0; n < nCount; ++n)
          weight->decode(n0 + n, k0, kCount, gemmColumns, panel + n);
      },
      [&](int64_t row, int64_t n0, int64_t count, const double *sums) {
        for (int64_t i = 0; i < count; ++i) {
          double value = sums[i] + (bias ? offsets[size_t(n0 + i)] : 0.0);
          int64_t position = row * weight->rows + n0 + i;
          writeDouble(*out, position, value);
        }
      });
  context.setOutputAs(0, std::move(*out), a.type());
}

//===----------------------------------------------------------------------===//
// GatherBlockQuantized
//===----------------------------------------------------------------------===//

namespace {

/// The table of a GatherBlockQuantized, seen as [outer, length, inner] around
/// the quantized axis, with one scale for each [outer, block, inner].
struct BlockTable {
  const Tensor &codes;
  const Tensor &scales;
  const Tensor *zeros;
  Shape shape;           // logical: codes, not bytes
  int64_t bits;          // of a packed code; 8 if there is one per byte
  bool isPacked;         // ui8 codes
  int64_t rowLength = 1; // codes in the last dimension
  int64_t length = 1, inner = 1, blockSize = 1, blocks = 1;

  double code(const Tensor &tensor, int64_t index, int64_t rowCodes) const {
    if (!isPacked)
      return tensor.type() == ElementType::Int4
                 ? double(tensor.data<int8_t>()[index])
                 : double(tensor.data<uint8_t>()[index]);
    const uint8_t *row =
        tensor.data<uint8_t>() + index / rowCodes * packedSize(rowCodes, bits);
    return unpackCode(row, index % rowCodes, bits);
  }

  double value(int64_t position) const {
    int64_t block = position / inner % length / blockSize;
    int64_t group = (position / (inner * length) * blocks + block) * inner +
                    position % inner;
    double scale;
    readDoubles(scales, group, 1, &scale);
    double zero = isPacked ? double(int64_t(1) << (bits - 1)) : 0.0;
    if (zeros) // packed along the last dimension, which is the quantized one
      zero = code(*zeros, group, blocks);
    return (code(codes, position, rowLength) - zero) * scale;
  }
};

} // namespace

static void evalGatherBlockQuantized(OpContext &context) {
  const Tensor &data = context.input(0);
  const Tensor &scales = context.input(2);
  int64_t bits = context.intAttribute("bits", 4);
  int64_t blockSize = context.intAttribute("block_size", 128);
  bool isPacked = data.type() == ElementType::UInt8;
  BlockTable table{data,         scales, context.optionalInput(3),
                   data.shape(), bits,   isPacked};
  table.blockSize = blockSize;
  if (!context.requireType(
          data, "the data",
          {ElementType::Int4, ElementType::UInt4, ElementType::UInt8}) ||
      !context.requireFloat(scales, "the scales"))
    return;
  if (!isCodeWidth(bits) || (!isPacked && bits != 4))
    return context.fail("'bits' = ", bits, " does not fit data of type ",
                        data.type());
  if (blockSize < 1)
    return context.fail("'block_size' = ", blockSize);
  if (isPacked && data.rank() > 0 && data.shape().back() <= maxElements / 8)
    table.shape.back() *= 8 / bits;
  std::optional<int64_t> gatherAxis = context.normalizeAxis(
      context.intAttribute("gather_axis", 0), data.rank());
  std::optional<int64_t> quantizeAxis = context.normalizeAxis(
      context.intAttribute("quantize_axis", 1), data.rank());
  std::optional<Tensor> indices = readIndices(context, context.input(1));
  if (!gatherAxis || !quantizeAxis || !indices)
    return;
  if (isPacked && (*gatherAxis != 0 || *quantizeAxis != data.rank() - 1))
    return context.fail("packed data needs gather_axis 0 and the last axis as "
                        "quantize_axis");
  table.rowLength = table.shape.back();
  table.length = table.shape[size_t(*quantizeAxis)];
  for (int64_t d = *quantizeAxis + 1; d < data.rank(); ++d)
    table.inner *= table.shape[size_t(d)];
  table.blocks = table.length / blockSize + (table.length % blockSize != 0);
  Shape scaleShape = table.shape;
  scaleShape[size_t(*quantizeAxis)] = table.blocks;
  if (!context.requireShape(scales, "the scales", scaleShape))
    return;
  if (table.zeros) {
    if (isPacked)
      scaleShape.back() = packedSize(table.blocks, bits);
    if (!context.requireSameType(data, "the data", *table.zeros,
                                 "the zero points") ||
        !context.requireShape(*table.zeros, "the zero points", scaleShape))
      return;
  }

  auto split = table.shape.begin() + *gatherAxis;
  Shape shape(table.shape.begin(), split);
  shape.insert(shape.end(), indices->shape().begin(), indices->shape().end());
  shape.insert(shape.end(), split + 1, table.shape.end());
  std::optional<MutableTensor> out =
      context.allocate(computeType(scales.type()), std::move(shape));
  if (!out)
    return;
  int64_t size = *split;
  int64_t sliceSize = 1;
  for (auto it = split + 1; it != table.shape.end(); ++it)
    sliceSize *= *it;
  int64_t count = indices->numElements();
  for (int64_t i = 0, e = out->numElements(); i < e; ++i) {
    int64_t index = indices->data<int64_t>()[i / sliceSize % count];
    if (index < -size || index >= size)
      continue; // zeros, as specified
    index += index < 0 ? size : 0;
    int64_t outer = i / sliceSize / count;
    double value =
        table.value((outer * size + index) * sliceSize + i % sliceSize);
    writeDouble(*out, i, value);
  }
  context.setOutputAs(0, std::move(*out), scales.type());
}

constexpr Operator table[] = {
    {"GatherBlockQuantized", 1, 3, 4, 1, evalGatherBlockQuantized,
     microsoftDomain},
    {"MatMulNBits", 1, 3, 6, 1, evalMatMulNBits, microsoftDomain},
};

std::span<const Operator> llq::interp::blockQuantizedOperators() {
  return table;
}
