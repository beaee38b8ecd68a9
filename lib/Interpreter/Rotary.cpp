//===- Rotary.cpp - The two RotaryEmbedding operators ---------------------===//
//
// SPDX-License-Identifier: Apache-2.0
//===----------------------------------------------------------------------===//

#include "Rotary.h"

#include "Indexing.h"
#include "Operators.h"

#include <algorithm>
#include <cstring>

using namespace llq::interp;

namespace {

/// Where the heads of a tensor lie; both operand layouts come down to strides.
struct HeadLayout {
  int64_t batch, heads, length, headSize;
  int64_t batchStride, headStride, tokenStride;
};

} // namespace

/// 4D operands are [batch, heads, length, head size], 3D ones [batch, length,
/// heads * head size].
static std::optional<HeadLayout> headLayout(OpContext &context, const Tensor &x,
                                            int64_t heads) {
  if (x.rank() == 4)
    return HeadLayout{x.dim(0),
                      x.dim(1),
                      x.dim(2),
                      x.dim(3),
                      x.dim(1) * x.dim(2) * x.dim(3),
                      x.dim(2) * x.dim(3),
                      x.dim(3)};
  if (x.rank() != 3)
    return context.failure("found shape ", x.shape(), ", need rank 3 or 4");
  int64_t hidden = x.dim(2);
  if (heads < 1 || hidden % heads != 0)
    return context.failure("cannot make ", heads, " heads of ", hidden,
                           " elements");
  return HeadLayout{x.dim(0),          heads,          x.dim(1), hidden / heads,
                    x.dim(1) * hidden, hidden / heads, hidden};
}

/// Rotates every head. rowOf(batch, token) is the row of the tables to use;
/// negative if there is none (the failure is recorded).
template <typename RowOf>
static void rotateAll(OpContext &context, const Tensor &x,
                      const HeadLayout &layout, const Tensor &cosTable,
                      const Tensor &sinTable, bool interleaved, RowOf &&rowOf) {
  int64_t half = cosTable.dim(cosTable.rank() - 1);
  if (sinTable.shape() != cosTable.shape())
    return context.fail("tables of shapes ", cosTable.shape(), " and ",
                        sinTable.shape(), " differ");
  if (half > layout.headSize / 2)
    return context.fail("tables of ", half, " columns for a head of ",
                        layout.headSize);
  std::optional<Tensor> wide = context.widened(x);
  if (!wide)
    return;
  std::optional<MutableTensor> out = context.allocate(wide->type(), x.shape());
  if (!out)
    return;
  if (x.numElements() != 0)
    std::memcpy(out->data<std::byte>(), wide->data<std::byte>(),
                wide->sizeInBytes());
  std::vector<double> cosines(static_cast<size_t>(half));
  std::vector<double> sines(static_cast<size_t>(half));
  for (int64_t b = 0; b < layout.batch; ++b)
    for (int64_t s = 0; s < layout.length; ++s) {
      int64_t row = rowOf(b, s);
      if (row < 0)
        return;
      readDoubles(cosTable, row * half, half, cosines.data());
      readDoubles(sinTable, row * half, half, sines.data());
      for (int64_t h = 0; h < layout.heads; ++h) {
        int64_t offset = b * layout.batchStride + h * layout.headStride +
                         s * layout.tokenStride;
        if (wide->type() == ElementType::Float64)
          rotateHead(out->data<double>() + offset, cosines.data(), sines.data(),
                     half, interleaved);
        else
          rotateHead(out->data<float>() + offset, cosines.data(), sines.data(),
                     half, interleaved);
      }
    }
  context.setOutputAs(0, std::move(*out), x.type());
}

/// A position as a table row; fails if the table is too short.
static int64_t checkedRow(OpContext &context, int64_t position,
                          const Tensor &table) {
  if (position >= 0 && position < table.dim(0))
    return position;
  context.fail("position ", position, " is outside tables of ", table.dim(0),
               " rows");
  return -1;
}

/// Standard domain: (X, cos, sin, position_ids). With positions the tables are
/// [rows, half], without them [batch, length, half].
static void evalRotaryEmbedding(OpContext &context) {
  const Tensor &x = context.input(0);
  const Tensor &cosTable = context.input(1);
  const Tensor &sinTable = context.input(2);
  const Tensor *positions = context.optionalInput(3);
  bool interleaved = context.intAttribute("interleaved", 0) != 0;
  int64_t rotaryDim = context.intAttribute("rotary_embedding_dim", 0);
  std::optional<HeadLayout> layout =
      headLayout(context, x, context.intAttribute("num_heads", 0));
  if (!layout || !context.requireFloat(x, "the operand") ||
      !context.requireSameType(x, "the operand", cosTable, "the tables") ||
      !context.requireSameType(x, "the operand", sinTable, "the tables"))
    return;
  if (rotaryDim == 0)
    rotaryDim = layout->headSize;
  if (rotaryDim < 0 || rotaryDim % 2 != 0 || rotaryDim > layout->headSize)
    return context.fail("cannot rotate ", rotaryDim, " of ", layout->headSize,
                        " elements");
  if (!positions) {
    if (!context.requireShape(cosTable, "the cosine table",
                              {layout->batch, layout->length, rotaryDim / 2}))
      return;
    return rotateAll(
        context, x, *layout, cosTable, sinTable, interleaved,
        [&](int64_t b, int64_t s) { return b * layout->length + s; });
  }
  if (!context.requireRank(cosTable, "the cosine table", 2) ||
      !context.requireShape(cosTable, "the cosine table",
                            {cosTable.dim(0), rotaryDim / 2}) ||
      !context.requireShape(*positions, "position_ids",
                            {layout->batch, layout->length}))
    return;
  std::optional<Tensor> rows = readIndices(context, *positions);
  if (!rows)
    return;
  rotateAll(context, x, *layout, cosTable, sinTable, interleaved,
            [&](int64_t b, int64_t s) {
              return checkedRow(context,
                                rows->data<int64_t>()[b * layout->length + s],
                                cosTable);
            });
}

/// com.microsoft: (input, position_ids, cos, sin). One position is the offset
/// of the first token.
static void evalContribRotaryEmbedding(OpContext &context) {
  const Tensor &x = context.input(0);
  const Tensor &positions = context.input(1);
  const Tensor &cosTable = context.input(2);
  const Tensor &sinTable = context.input(3);
  context.requireAttribute("is_packed_batching", 0);
  if (context.floatAttribute("scale", 1.0f) != 1.0f)
    return context.fail("a scale other than 1 is not supported");
  bool interleaved = context.intAttribute("interleaved", 0) != 0;
  int64_t rotaryDim = context.intAttribute("rotary_embedding_dim", 0);
  int64_t heads = context.intAttribute("num_heads", 0);
  if (!context.requireRank(cosTable, "the cosine table", 2) ||
      !context.requireFloat(x, "the operand"))
    return;
  int64_t half = cosTable.dim(1);
  if (heads == 0 && x.rank() == 3 && half > 0) {
    if (rotaryDim != 0)
      return context.fail("'rotary_embedding_dim' needs 'num_heads'");
    heads = x.dim(2) / (2 * half); // the tables span a whole head
  }
  std::optional<HeadLayout> layout = headLayout(context, x, heads);
  if (!layout)
    return;
  if (half * 2 != (rotaryDim ? rotaryDim : layout->headSize))
    return context.fail("tables of ", half, " columns for heads of ",
                        layout->headSize, " elements of which ",
                        rotaryDim ? rotaryDim : layout->headSize,
                        " are rotated");
  std::optional<Tensor> rows = readIndices(context, positions);
  if (!rows)
    return;
  bool isOffset = positions.numElements() == 1 && positions.rank() <= 1;
  if (!isOffset && !context.requireShape(positions, "position_ids",
                                         {layout->batch, layout->length}))
    return;
  rotateAll(context, x, *layout, cosTable, sinTable, interleaved,
            [&](int64_t b, int64_t s) {
              const int64_t *given = rows->data<int64_t>();
              int64_t position =
                  isOffset ? std::clamp(given[0], -maxElements, maxElements) + s
                           : given[b * layout->length + s];
              return checkedRow(context, position, cosTable);
            });
}

constexpr Operator table[] = {
    {"RotaryEmbedding", 23, 3, 4, 1, evalRotaryEmbedding},
    {"RotaryEmbedding", 1, 4, 4, 1, evalContribRotaryEmbedding,
     microsoftDomain},
};

std::span<const Operator> llq::interp::rotaryOperators() { return table; }
