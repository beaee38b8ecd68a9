//===- AttentionKernel.cpp - Softmax-weighted values ----------------------===//
//
// Softmax runs over the blocks of the cache at absolute positions, so that its
// rounding does not depend on where a prompt was cut. Query heads that share a
// key/value head go together, so that it is decoded once.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "CacheLayout.h"
#include "KernelBuilder.h"
#include "Kernels.h"

#include "llq/Packing/CPULayout.h"

#include <limits>

using namespace mlir;
using namespace llq;

int64_t AttentionShape::getHeadBytes() const {
  return CacheLayout(type, headDim).bytes;
}

std::string AttentionShape::getSuffix() const {
  return std::to_string(heads) + "_" + std::to_string(kvHeads) + "_" +
         std::to_string(headDim) + "_" + stringifyCacheType(type).str();
}

std::string AttentionKernel::getName() const {
  return "attention_" + shape.getSuffix() + "_" +
         llvm::utohexstr(llvm::bit_cast<uint32_t>(scale));
}

/// Largest divisor of `n` up to 4: as many heads have their sums in registers.
static int64_t getHeadsAtOnce(int64_t n) {
  int64_t heads = 4;
  while (n % heads)
    --heads;
  return heads;
}

namespace {

class AttentionEmitter {
public:
  AttentionEmitter(KernelBuilder &b, const AttentionKernel &kernel)
      : b(b), kernel(kernel), shape(kernel.shape),
        layout(shape.type, shape.headDim),
        heads(getHeadsAtOnce(shape.heads / shape.kvHeads)),
        positions(b.f32x(kCachePositions)) {}

  void emit();

private:
  using Group = CacheLayout::Group;
  /// One value for each of the heads.
  using Values = SmallVector<Value>;
  /// `layout.lanes` channels that lie side by side.
  struct Part {
    int64_t group, channel, cell, code;
  };

  /// `heads` query heads of a token, side by side.
  struct Query {
    Value data;
    /// What minimums are multiplied by, in all lanes: [group][head].
    SmallVector<Values> groupSums;
    Value position;
  };

  /// Values weighted over all positions up to `position`.
  void attend(Value q, Value cache, Value position, Value y);
  SmallVector<Values> sumGroups(Value q);
  /// What one block of positions adds. Carried are the largest score of each
  /// head, then sums over blocks, by position in the block, of what `weigh`
  /// returns.
  KernelBuilder::Carried addBlock(const Query &query, Value block, Value first,
                                  ValueRange carried, Value y);
  /// Scaled scores of the 16 positions of a block.
  Values scores(const Query &query, Value block);
  /// Stores the weights of codes, by head and group. Returns exponentials, and
  /// for each group with minimums these times them.
  SmallVector<Values> weigh(Value block, ArrayRef<Value> exponentials,
                            Value visible);
  /// Adds the sums of minimums and divides by those of exponentials.
  void finish(ArrayRef<Value> sums, Value y);
  /// y[head] = factors[head] * y[head] + the first `count` values, each with
  /// its weights[head][group][position] of the scratch memory.
  void addValues(Value block, Value count, ArrayRef<Value> factors, Value y);
  SmallVector<Part> getParts() const;
  /// Numbers, or codes number `code`, of `lanes` cells as f32.
  Value loadCells(int64_t lanes, Value pointer, int64_t cell, int64_t code);
  /// A scale or minimum of the 16 positions of a block.
  Value loadScales(Value block, int64_t offset) {
    return b.loadAsF32(kCachePositions, layout.format.getFloatType(b), block,
                       offset);
  }
  int64_t getWeightOffset(int64_t head, int64_t group) const {
    return (head * layout.groups.size() + group) * kCachePositions * 4;
  }

  KernelBuilder &b;
  const AttentionKernel &kernel;
  const AttentionShape &shape;
  CacheLayout layout;
  int64_t heads;
  VectorType positions;
};

} // namespace

Value AttentionEmitter::loadCells(int64_t lanes, Value pointer, int64_t cell,
                                  int64_t code) {
  const CacheFormat &format = layout.format;
  int64_t offset = cell * format.getCellBytes();
  if (!format.isQuantized())
    return b.loadAsF32(lanes, format.getFloatType(b), pointer, offset);
  VectorType wide = b.i32x(lanes);
  Value codes = b.load(b.i8x(lanes), pointer, offset);
  if (format.minimum)
    codes = arith::ExtUIOp::create(b, wide, codes);
  else
    codes = arith::ExtSIOp::create(b, wide, codes);
  if (code)
    codes = arith::ShRUIOp::create(b, codes, b.splat(wide, code * format.bits));
  if (code + 1 < format.getCellCodes())
    codes =
        arith::AndIOp::create(b, codes, b.splat(wide, format.getLargestCode()));
  return arith::SIToFPOp::create(b, b.f32x(lanes), codes);
}

SmallVector<AttentionEmitter::Values> AttentionEmitter::sumGroups(Value q) {
  SmallVector<Values> sums;
  if (!layout.format.minimum)
    return sums;
  for (const Group &group : layout.groups) {
    Values &ofHeads = sums.emplace_back();
    for (int64_t h = 0; h < heads; ++h) {
      Value sum;
      for (int64_t c = 0; c < group.channels; c += layout.lanes) {
        int64_t channel = h * shape.headDim + group.channel + c;
        Value part = b.load(b.f32x(layout.lanes), q, 4 * channel);
        sum = sum ? b.addf(sum, part) : part;
      }
      ofHeads.push_back(b.broadcast(positions, b.sumLanes(sum)));
    }
  }
  return sums;
}

AttentionEmitter::Values AttentionEmitter::scores(const Query &query,
                                                  Value block) {
  const CacheFormat &format = layout.format;
  // Enough sums that additions need not wait for each other.
  int64_t chains = 4 / heads;
  Values totals(heads);
  for (auto [g, group] : llvm::enumerate(layout.groups)) {
    SmallVector<Values> sums(heads, Values(chains, b.splat(positions, 0.0)));
    int64_t chain = 0;
    for (int64_t i = 0; i < group.cells; ++i)
      for (int64_t n = 0; n < format.getCellCodes(); ++n) {
        Value keys = loadCells(kCachePositions, block,
                               (group.cell + i) * kCachePositions, n);
        int64_t channel = group.channel + n * group.cells + i;
        for (int64_t h = 0; h < heads; ++h) {
          Value x = b.loadBroadcast(positions, query.data,
                                    4 * (h * shape.headDim + channel));
          sums[h][chain] = b.fma(keys, x, sums[h][chain]);
        }
        chain = (chain + 1) % chains;
      }
    Value scale, minimum;
    if (format.isQuantized())
      scale = loadScales(block, layout.keyScales + layout.getScaleOffset(g));
    if (format.minimum)
      minimum =
          loadScales(block, layout.keyScales + layout.getMinimumOffset(g));
    for (int64_t h = 0; h < heads; ++h) {
      Value sum = sums[h][0];
      for (int64_t c = 1; c < chains; ++c)
        sum = b.addf(sum, sums[h][c]);
      if (scale)
        sum = b.mulf(sum, scale);
      if (minimum)
        sum = b.fma(minimum, query.groupSums[g][h], sum);
      totals[h] = totals[h] ? b.addf(totals[h], sum) : sum;
    }
  }
  for (Value &total : totals)
    total = b.mulf(total, b.splat(positions, double(kernel.scale)));
  return totals;
}

SmallVector<AttentionEmitter::Part> AttentionEmitter::getParts() const {
  SmallVector<Part> parts;
  for (auto [g, group] : llvm::enumerate(layout.groups))
    for (int64_t i = 0; i < group.cells; i += layout.lanes)
      for (int64_t n = 0; n < layout.format.getCellCodes(); ++n)
        parts.push_back({int64_t(g), group.channel + n * group.cells + i,
                         group.cell + i, n});
  return parts;
}

void AttentionEmitter::addValues(Value block, Value count,
                                 ArrayRef<Value> factors, Value y) {
  VectorType type = b.f32x(layout.lanes);
  SmallVector<Part> all = getParts();
  // As many sums of 16 lanes as leave room in the registers (with AVX-512 32 of
  // them, otherwise 16 smaller ones); the order of additions does not change.
  int64_t sumsAtOnce = b.level.vectorBytes == 64 ? 16 : 4;
  int64_t most = std::max<int64_t>(sumsAtOnce / heads, 1);
  for (ArrayRef<Part> rest = all; !rest.empty();) {
    ArrayRef<Part> parts = rest.take_front(most);
    rest = rest.drop_front(parts.size());
    auto place = [&](const Part &part, int64_t h) {
      return 4 * (h * shape.headDim + part.channel);
    };
    Values sums;
    for (const Part &part : parts)
      for (int64_t h = 0; h < heads; ++h)
        sums.push_back(b.mulf(b.load(type, y, place(part, h)),
                              b.broadcast(type, factors[h])));
    sums = b.loop(b.i64(0), count, 1, sums, [&](Value i, ValueRange carried) {
      Value row =
          b.advance(b.advance(block, layout.values), b.mul(i, layout.rowBytes));
      Value weights = b.advance(b.scratch(), b.mul(i, 4));
      KernelBuilder::Carried next;
      for (const Part &part : parts) {
        Value values = loadCells(layout.lanes, row, part.cell, part.code);
        for (int64_t h = 0; h < heads; ++h) {
          Value weight =
              b.loadBroadcast(type, weights, getWeightOffset(h, part.group));
          next.push_back(b.fma(values, weight, carried[next.size()]));
        }
      }
      return next;
    });
    size_t next = 0;
    for (const Part &part : parts)
      for (int64_t h = 0; h < heads; ++h)
        b.store(sums[next++], y, place(part, h));
  }
}

/// Which of the 16 positions from `first` on are at most `position`.
static Value getVisible(KernelBuilder &b, Value first, Value position) {
  VectorType words = VectorType::get(kCachePositions, b.getI64Type());
  auto indices = llvm::to_vector(llvm::seq<int64_t>(0, kCachePositions));
  Value lane = arith::ConstantOp::create(
      b, DenseElementsAttr::get(words, ArrayRef<int64_t>(indices)));
  Value here = b.add(lane, b.broadcast(words, first));
  return arith::CmpIOp::create(b, arith::CmpIPredicate::sle, here,
                               b.broadcast(words, position));
}

KernelBuilder::Carried AttentionEmitter::addBlock(const Query &query,
                                                  Value block, Value first,
                                                  ValueRange carried, Value y) {
  Value visible = getVisible(b, first, query.position);
  Value hidden =
      b.splat(positions, -double(std::numeric_limits<float>::infinity()));
  Values largest, exponentials, differences;
  for (auto [h, score] : llvm::enumerate(scores(query, block))) {
    score = arith::SelectOp::create(b, visible, score, hidden);
    largest.push_back(b.maxf(carried[h], b.maxLanes(score)));
    exponentials.push_back(
        b.exp(b.subf(score, b.broadcast(positions, largest[h]))));
    differences.push_back(b.subf(carried[h], largest[h]));
  }
  // One vector: scalar exponentials would call the C library.
  Value shrinks = b.exp(vector::FromElementsOp::create(
      b, b.f32x(heads), ValueRange(differences)));
  Values factors;
  for (int64_t h = 0; h < heads; ++h)
    factors.push_back(
        vector::ExtractOp::create(b, shrinks, ArrayRef<int64_t>{h}));
  KernelBuilder::Carried next = largest;
  for (const Values &terms : weigh(block, exponentials, visible))
    for (int64_t h = 0; h < heads; ++h)
      next.push_back(b.fma(carried[next.size()],
                           b.broadcast(positions, factors[h]), terms[h]));
  Value behind = b.sub(b.add(query.position, 1), first);
  addValues(block, b.min(behind, b.i64(kCachePositions)), factors, y);
  return next;
}

SmallVector<AttentionEmitter::Values>
AttentionEmitter::weigh(Value block, ArrayRef<Value> exponentials,
                        Value visible) {
  SmallVector<Values> sums = {Values(exponentials)};
  for (int64_t g = 0; g < int64_t(layout.groups.size()); ++g) {
    Values weights(exponentials);
    if (layout.format.isQuantized()) {
      int64_t offset = layout.valueScales + layout.getScaleOffset(g);
      Value scale = loadScales(block, offset);
      for (Value &weight : weights)
        weight = b.mulf(weight, scale);
    }
    for (int64_t h = 0; h < heads; ++h)
      b.store(weights[h], b.scratch(), getWeightOffset(h, g));
    if (!layout.format.minimum)
      continue;
    int64_t offset = layout.valueScales + layout.getMinimumOffset(g);
    Value minimum = loadScales(block, offset);
    // Memory behind the last position may hold anything, NaN too.
    minimum =
        arith::SelectOp::create(b, visible, minimum, b.splat(positions, 0.0));
    Values &ofHeads = sums.emplace_back();
    for (Value exponential : exponentials)
      ofHeads.push_back(b.mulf(exponential, minimum));
  }
  return sums;
}

void AttentionEmitter::finish(ArrayRef<Value> sums, Value y) {
  VectorType type = b.f32x(layout.lanes);
  auto sumOf = [&](int64_t n, int64_t h) {
    return b.broadcast(type, b.sumLanes(sums[n * heads + h]));
  };
  for (int64_t h = 0; h < heads; ++h) {
    Value total = sumOf(0, h);
    for (auto [g, group] : llvm::enumerate(layout.groups)) {
      Value minimum = layout.format.minimum ? sumOf(1 + g, h) : Value();
      for (int64_t c = 0; c < group.channels; c += layout.lanes) {
        int64_t place = 4 * (h * shape.headDim + group.channel + c);
        Value value = b.load(type, y, place);
        if (minimum)
          value = b.addf(value, minimum);
        b.store(b.divf(value, total), y, place);
      }
    }
  }
}

void AttentionEmitter::attend(Value q, Value cache, Value position, Value y) {
  Query query = {q, sumGroups(q), position};
  VectorType type = b.f32x(layout.lanes);
  for (int64_t c = 0; c < heads * shape.headDim; c += layout.lanes)
    b.store(b.splat(type, 0.0), y, 4 * c);
  Values init(heads, b.f32(-3.0e38));
  init.append(heads * (1 + query.groupSums.size()), b.splat(positions, 0.0));
  Values state = b.loop(
      b.i64(0), b.add(position, 1), kCachePositions, init,
      [&](Value first, ValueRange carried) {
        Value block = b.advance(
            cache, b.mul(b.div(first, kCachePositions), shape.getBlockBytes()));
        return addBlock(query, block, first, carried, y);
      });
  finish(ArrayRef(state).drop_front(heads), y);
}

void AttentionEmitter::emit() {
  Value q = b.buffer(0), cache = b.buffer(1), y = b.buffer(2);
  int64_t group = shape.heads / shape.kvHeads, dim = shape.headDim;
  int64_t columns = shape.heads * dim, padded = getPaddedColumns(columns);
  Value tokens = b.sub(b.tokenEnd(), b.tokenBegin());
  b.loop(b.itemBegin(), b.itemEnd(), 1, [&](Value item) {
    // Heads are the outer dimension: threads then share the long and the short
    // rows of a causal prompt.
    Value head = b.div(item, tokens);
    Value token = b.add(b.tokenBegin(), b.rem(item, tokens));
    Value position = b.add(b.past(), token);
    Value row = b.mul(token, 4 * padded);
    Value block = b.advance(cache, b.mul(head, shape.getHeadBytes()));
    Value out = b.advance(y, row);
    b.loop(b.i64(0), b.i64(group), heads, [&](Value g) {
      Value offset = b.mul(b.add(b.mul(head, group), g), 4 * dim);
      attend(b.advance(b.advance(q, row), offset), block, position,
             b.advance(out, offset));
    });
    if (columns == padded)
      return;
    Value last = arith::CmpIOp::create(b, arith::CmpIPredicate::eq, head,
                                       b.i64(shape.kvHeads - 1));
    b.ifThen(last, [&] {
      for (int64_t c = columns; c < padded; ++c)
        b.store(b.f32(0), out, 4 * c);
    });
  });
}

int64_t AttentionKernel::getScratchBytes() const {
  int64_t groups = CacheLayout(shape.type, shape.headDim).groups.size();
  return 4 * kCachePositions * groups *
         getHeadsAtOnce(shape.heads / shape.kvHeads);
}

void AttentionKernel::emit(ModuleOp module, const CPULevel &level) const {
  KernelBuilder b(module, getName(), level);
  AttentionEmitter(b, *this).emit();
  b.finish();
}
