//===- LinearTerms.cpp - Products with several streams of codes -----------===//
//
// Integer activations times each stream of a weight's codes by itself: exact
// within a block, or a unit where activations have one scale per token.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "LinearEmitter.h"

using namespace mlir;
using namespace llq;

/// Terms that are looked up in turns.
static constexpr size_t kLookUpTerms = 4;

SmallVector<Value> LinearEmitter::sparseProducts(const Strip &strip,
                                                 Value columns, Value block,
                                                 int64_t count) {
  VectorType bytes = b.i8x(4 * lanes);
  SmallVector<Value> tables;
  for (int64_t t = 0; t < count; ++t)
    tables.push_back(
        b.load(b.i8x(kBlockColumns), b.advance(columns, t * xStride)));
  SmallVector<Value> none(2 * count, b.splat(b.i32x(lanes), int64_t(0)));
  Value ones = b.splat(bytes, int64_t(1)), zero = b.splat(bytes, int64_t(0));
  return forSparseCodes(
      b, decoder->getSparseBlock(b, strip.tile, block), 4 * strip.row,
      4 * lanes, none,
      [&](Value isThere, Value codes, Value places, ValueRange carried) {
        KernelBuilder::Carried sums(carried);
        for (int64_t t = 0; t < count; ++t) {
          Value activations = arith::SelectOp::create(
              b, isThere, b.lookUp32(tables[t], places), zero);
          sums[2 * t] = accumulate(sums[2 * t], ones, 1, activations);
          sums[2 * t + 1] =
              accumulate(sums[2 * t + 1], codes, decoder->maxCode, activations);
        }
        return sums;
      });
}

void LinearEmitter::addTermBlock(ArrayRef<Strip> strips, Value x, Value unit,
                                 Value block, bool isFirst, TermSums &sums) {
  VectorType floats = b.f32x(lanes);
  Value columns = b.advance(x, b.mul(block, kBlockColumns));
  Value groups = b.advance(x, b.mul(block, 4));
  SmallVector<Value> scales;
  for (auto [t, sum] : llvm::enumerate(sums.activations())) {
    int64_t at = int64_t(t) * xStride;
    scales.push_back(b.loadBroadcast(floats, groups, at + row.scales));
    Value codes = b.loadBroadcast(floats, groups, at + row.sums);
    sum = b.fma(codes, scales.back(), sum);
  }
  auto addProducts = [&](int64_t strip, int64_t token, int64_t term,
                         Value products) {
    Value &sum = sums.at(strip, token, term);
    sum = scales.empty() ? b.add(sum, products)
                         : b.fma(arith::SIToFPOp::create(b, floats, products),
                                 scales[token], sum);
  };
  // Terms whose products are looked up, and where these belong.
  SmallVector<SmallVector<BitPlane>> planes;
  SmallVector<std::pair<int64_t, int64_t>> places;
  auto lookUpAll = [&] {
    if (planes.empty())
      return;
    SmallVector<ArrayRef<BitPlane>> terms(planes.begin(), planes.end());
    for (auto [place, products] :
         llvm::zip_equal(places, tables->lookUp(terms, block)))
      addProducts(place.first, 0, place.second, products);
    planes.clear();
    places.clear();
  };
  for (auto [s, strip] : llvm::enumerate(strips)) {
    SmallVector<TermCodes> codes = decoder->getTerms(
        b, strip.tile, block, unit, isFirst,
        /*forLookUp=*/tables.has_value(), 4 * strip.row, 4 * lanes);
    bool hasCodes = decoder->hasSparseCodes;
    for (auto [term, one] : llvm::enumerate(codes)) {
      if (one.empty())
        continue;
      if (tables && !one.planes.empty()) {
        planes.push_back(std::move(one.planes));
        places.push_back({s, term});
        continue;
      }
      hasCodes = true;
      if (!one.planes.empty())
        one.codes = expandPlane(b, one.planes.front().bits);
      for (int64_t t = 0; t < sums.tokens; ++t)
        addProducts(s, t, term,
                    dot(one.codes, decoder->getMaxCode(term),
                        b.advance(columns, t * xStride), 0));
    }
    if (decoder->hasSparseCodes) {
      SmallVector<Value> products =
          sparseProducts(strip, columns, block, sums.tokens);
      for (auto [i, product] : llvm::enumerate(products))
        addProducts(s, i / 2, sums.terms - 2 + i % 2, product);
    }
    // Codes fill the registers by themselves.
    if (hasCodes || planes.size() >= kLookUpTerms)
      lookUpAll();
  }
  lookUpAll();
}

/// With activations of one scale, sums of the unit are exact; otherwise the
/// exact sums of a block are scaled by that of its activations. Coefficients
/// come last.
SmallVector<Value> LinearEmitter::addTermUnit(ArrayRef<Strip> strips, Value x,
                                              int64_t count, Value unit,
                                              Value first, Value last,
                                              ValueRange carried) {
  VectorType words = b.i32x(lanes), floats = b.f32x(lanes);
  bool exact = kernel.input.hasOneScale();
  TermSums sums{count,
                decoder->terms,
                int64_t(strips.size()) * count * decoder->terms,
                {}};
  sums.values.assign(sums.ofTerms + (exact ? 0 : count),
                     exact ? b.splat(words, int64_t(0)) : b.splat(floats, 0.0));
  if (decoder->hasFirstBlock)
    addTermBlock(strips, x, unit, first, true, sums);
  if (decoder->unitColumns > kBlockColumns || !decoder->hasFirstBlock)
    sums.values = b.loop(decoder->hasFirstBlock ? b.add(first, 1) : first, last,
                         1, sums.values, [&](Value block, ValueRange partial) {
                           TermSums next = sums;
                           next.values.assign(partial.begin(), partial.end());
                           addTermBlock(strips, x, unit, block, false, next);
                           return next.values;
                         });

  KernelBuilder::Carried result(carried);
  Value begin = b.advance(x, b.mul(first, 4));
  Value end = b.advance(x, b.mul(last, 4));
  for (auto [s, strip] : llvm::enumerate(strips)) {
    SmallVector<Value> coefficients;
    for (int64_t term = 0; term < sums.terms; ++term)
      coefficients.push_back(
          decoder->coefficient(b, strip.tile, unit, term, strip.row, lanes));
    Value offset = decoder->offset(b, strip.tile, unit, strip.row, lanes);
    for (int64_t t = 0; t < count; ++t) {
      Value &sum = result[s * count + t];
      for (auto [term, coefficient] : llvm::enumerate(coefficients)) {
        Value products = sums.at(s, t, term);
        if (exact)
          products = arith::SIToFPOp::create(b, floats, products);
        sum = b.fma(coefficient, products, sum);
      }
      if (!offset)
        continue;
      Value codeSum;
      if (exact) {
        int64_t place = t * xStride + tokenRow.sums;
        Value codes =
            arith::SubIOp::create(b, b.load(b.getI32Type(), end, place),
                                  b.load(b.getI32Type(), begin, place));
        codeSum = arith::SIToFPOp::create(b, floats, b.broadcast(words, codes));
      } else {
        codeSum = sums.activations()[t];
      }
      sum = b.fma(offset, codeSum, sum);
    }
  }
  return result;
}
