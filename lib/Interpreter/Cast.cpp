//===- Cast.cpp - Cast and CastLike ---------------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0
//===----------------------------------------------------------------------===//

#include "Convert.h"
#include "Operators.h"

using namespace llq::interp;

static void castTo(OpContext &context, ElementType type) {
  // Both speak of float8 targets only.
  context.ignoreAttribute("saturate");
  context.ignoreAttribute("round_mode");
  Result<Tensor> result = convert(context.input(0), type);
  if (!result)
    return context.fail(result.message());
  context.setOutput(0, std::move(*result));
}

static void evalCast(OpContext &context) {
  if (std::optional<ElementType> type = context.typeAttribute("to"))
    castTo(context, *type);
}

static void evalCastLike(OpContext &context) {
  castTo(context, context.input(1).type());
}

constexpr Operator table[] = {
    {"Cast", 6, 1, 1, 1, evalCast},
    {"CastLike", 15, 2, 2, 1, evalCastLike},
};

std::span<const Operator> llq::interp::castOperators() { return table; }
