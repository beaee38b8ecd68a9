//===- WeightReferences.cpp - Free weights that nothing uses --------------===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llq/Support/WeightReferences.h"
#include "llq/Support/WeightData.h"

#include "mlir/IR/DialectResourceBlobManager.h"

using namespace mlir;
using namespace llq;

void WeightReferences::forEach(
    Operation *op, function_ref<void(DenseResourceElementsAttr)> visit) {
  op->getAttrDictionary().walk(
      [&](DenseResourceElementsAttr attr) { visit(attr); });
}

void WeightReferences::add(Operation *op) {
  forEach(op, [&](DenseResourceElementsAttr attr) {
    ++counts[attr.getRawHandle().getResource()];
  });
}

WeightReferences::WeightReferences(ModuleOp module) {
  module.walk([&](Operation *op) { add(op); });
}

void WeightReferences::erase(Operation *op) {
  SmallVector<DenseResourceElementsAttr> unused;
  forEach(op, [&](DenseResourceElementsAttr attr) {
    if (--counts[attr.getRawHandle().getResource()] == 0)
      unused.push_back(attr);
  });
  op->erase();
  for (DenseResourceElementsAttr attr : unused)
    releaseWeight(attr);
}
