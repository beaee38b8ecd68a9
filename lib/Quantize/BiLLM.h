//===- BiLLM.h - Types of the options of BiLLM ------------------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_LIB_QUANTIZE_BILLM_H
#define LLQ_LIB_QUANTIZE_BILLM_H

#include "llq/Numerics/ResidualBinarization.h"
#include "llq/Quantize/Method.h"

#endif // LLQ_LIB_QUANTIZE_BILLM_H
