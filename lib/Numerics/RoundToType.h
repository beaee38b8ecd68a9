//===- RoundToType.h - Signed values as they are stored ---------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_LIB_NUMERICS_ROUNDTOTYPE_H
#define LLQ_LIB_NUMERICS_ROUNDTOTYPE_H

#include "llq/Numerics/Float16.h"
#include "llq/Numerics/UniformGrid.h"

#include <limits>

namespace llq::numerics {

/// `value`, of any sign and possibly 0, as it is stored in `type`: never
/// infinite, the largest number of the type instead; NaN becomes minus that.
inline float roundToType(float value, ScaleType type) {
  const float largest = type == ScaleType::F16
                            ? decodeF16(kLargestF16)
                            : std::numeric_limits<float>::max();
  value = value > -largest ? value : -largest;
  value = value < largest ? value : largest;
  return type == ScaleType::F16 ? decodeF16(encodeF16(value)) : value;
}

} // namespace llq::numerics

#endif // LLQ_LIB_NUMERICS_ROUNDTOTYPE_H
