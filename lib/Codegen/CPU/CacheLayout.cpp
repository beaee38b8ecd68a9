//===- CacheLayout.cpp - How keys and values are cached -------------------===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "CacheLayout.h"

#include <numeric>

using namespace llq;

CacheFormat CacheFormat::get(CacheType type, int64_t headDim) {
  switch (type) {
  case CacheType::F32:
    return {.bits = 32};
  case CacheType::F16:
    return {.bits = 16};
  case CacheType::Int8:
    return {.bits = 8, .group = headDim};
  case CacheType::Int4:
    // Measured against other groups, symmetric codes and keys as they are:
    // docs/Formats.md.
    return {.bits = 4,
            .group = 32,
            .scaleBits = 16,
            .minimum = true,
            .spreadsKeys = true};
  }
  llvm_unreachable("unknown type of cache");
}

CacheLayout::CacheLayout(CacheType type, int64_t headDim)
    : format(CacheFormat::get(type, headDim)) {
  int64_t size = format.isQuantized() ? format.group : headDim;
  for (int64_t channel = 0; channel < headDim; channel += size) {
    int64_t channels = std::min(size, headDim - channel);
    groups.push_back(
        {channel, channels, cells, channels / format.getCellCodes()});
    cells += groups.back().cells;
    lanes = std::gcd(lanes, groups.back().cells);
  }
  rowBytes = cells * format.getCellBytes();
  values = kCachePositions * rowBytes;
  keyScales = 2 * values;
  int64_t scales = format.isQuantized() ? getScaleOffset(groups.size()) : 0;
  valueScales = keyScales + scales;
  bytes = valueScales + scales;
}

int64_t CacheLayout::getScaleOffset(int64_t group) const {
  int64_t numbers = format.minimum ? 2 : 1;
  return group * numbers * kCachePositions * format.scaleBits / 8;
}

int64_t CacheLayout::getMinimumOffset(int64_t group) const {
  return getScaleOffset(group) + kCachePositions * format.scaleBits / 8;
}
