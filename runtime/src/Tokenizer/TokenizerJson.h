//===- TokenizerJson.h - The parts of the tokenizer.json reader -*- C++ -*-===//
//
// What the two source files of the reader share.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQRT_TOKENIZER_TOKENIZERJSON_H
#define LLQRT_TOKENIZER_TOKENIZERJSON_H

#include "Json.h"

namespace llqrt::tok {

/// Reads the normalizer, pre-tokenizer, decoder and post-processor of `root`
/// into `spec`, and with them its alphabet. Throws Error for those that are not
/// supported.
void readTextSteps(const Json &root, TokenizerSpec &spec);

} // namespace llqrt::tok

#endif // LLQRT_TOKENIZER_TOKENIZERJSON_H
