//===- RoundToType.h - Signed values as they are stored ---------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_LIB_NUMERICS_ROUNDTOTYPE_H
#define LLQ_LIB_NUMERICS_ROUNDTOTYPE_H

#include "llq/Numerics/Float16.h"
#include "llq/Numerics/UniformGrid.h"

#include <algorithm>
#include <limits>

namespace llq::numerics {

/// `value`, of any sign and possibly 0, as it is stored in `type`: never
/// infinite, the largest number of the type instead.
inline float roundToType(float value, ScaleType type) {
  const float largest = type == ScaleType::F16
                            ? decodeF16(kLargestF16)
                            : std::numeric_limits<float>::max();
  const float clamped = std::clamp(value, -largest, largest);
  return type == ScaleType::F16 ? decodeF16(encodeF16(clamped)) : clamped;
}

} // namespace llq::numerics

#endif // LLQ_LIB_NUMERICS_ROUNDTOTYPE_H
