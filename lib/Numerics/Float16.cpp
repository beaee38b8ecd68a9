//===- Float16.cpp - f16 and bf16 conversions of arrays -------------------===//
//
// The loops over the scalar conversions, in a file of their own so that they
// are compiled once, optimised, whatever the build type of their callers.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llq/Numerics/Float16.h"

#include <cassert>
#include <cstddef>

using namespace llq::numerics;

/// Applies `convert` to every element.
template <auto convert, typename From, typename To>
static void convertAll(std::span<const From> from, std::span<To> to) {
  assert(to.size() >= from.size() && "the destination is too short");
  const From *__restrict source = from.data();
  To *__restrict target = to.data();
  for (size_t i = 0, e = from.size(); i != e; ++i)
    target[i] = convert(source[i]);
}

void llq::numerics::encodeF16(std::span<const float> from,
                              std::span<uint16_t> to) {
  convertAll<[](float value) { return encodeF16(value); }>(from, to);
}

void llq::numerics::decodeF16(std::span<const uint16_t> from,
                              std::span<float> to) {
  convertAll<[](uint16_t bits) { return decodeF16(bits); }>(from, to);
}

void llq::numerics::encodeBF16(std::span<const float> from,
                               std::span<uint16_t> to) {
  convertAll<[](float value) { return encodeBF16(value); }>(from, to);
}

void llq::numerics::decodeBF16(std::span<const uint16_t> from,
                               std::span<float> to) {
  convertAll<[](uint16_t bits) { return decodeBF16(bits); }>(from, to);
}
