//===- AWQ.h - Types of AWQ's options ---------------------------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_LIB_QUANTIZE_AWQ_H
#define LLQ_LIB_QUANTIZE_AWQ_H

namespace llq {
/// Where the error of a choice of scales is measured.
enum class AWQLoss {
  Part,  ///< at the output of the attention or feed-forward part
  Layer, ///< at the outputs of the layers that read the scaled value
};

/// What becomes of scaled and clipped weights.
enum class AWQRounding {
  Nearest, ///< they are rounded to the nearest codes
  None,    ///< they stay source weights, for a method that follows
};
} // namespace llq

#endif // LLQ_LIB_QUANTIZE_AWQ_H
