//===- HQQ.h - Types of the options of HQQ -----------------------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_LIB_QUANTIZE_HQQ_H
#define LLQ_LIB_QUANTIZE_HQQ_H

#include "llq/Numerics/HQQ.h"
#include "llq/Quantize/Method.h"

#endif // LLQ_LIB_QUANTIZE_HQQ_H
