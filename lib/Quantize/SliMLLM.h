//===- SliMLLM.h - Types of the options of SliM-LLM -------------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_LIB_QUANTIZE_SLIMLLM_H
#define LLQ_LIB_QUANTIZE_SLIMLLM_H

#include "llq/Numerics/GroupWidths.h"
#include "llq/Quantize/Method.h"

#endif // LLQ_LIB_QUANTIZE_SLIMLLM_H
