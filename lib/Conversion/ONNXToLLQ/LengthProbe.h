//===- LengthProbe.h - Masks and angles of long sequences -------*- C++ -*-===//
//
// Raising runs a graph for a few tokens. A sliding window of thousands, or
// frequencies that change with the length, do not show there: they hang on a
// number in the graph. The probe finds such numbers and evaluates masks and
// angles, which are functions of lengths only, just beyond them.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_LIB_CONVERSION_ONNXTOLLQ_LENGTHPROBE_H
#define LLQ_LIB_CONVERSION_ONNXTOLLQ_LENGTHPROBE_H

#include "RotaryModel.h"

namespace llq::raise {

/// Checks that the masks of `raised` stay causal, and its angles those of
/// `rotary`, for lengths that the graph could treat differently. The reason of
/// a failure, or nothing.
std::optional<Reason> probeLengths(mlir::func::FuncOp graph,
                                   const RaisedGraph &raised,
                                   const RotaryModel &rotary,
                                   WeightReader &reader);

} // namespace llq::raise

#endif // LLQ_LIB_CONVERSION_ONNXTOLLQ_LENGTHPROBE_H
