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

void WeightReferences::add(Operation *op) {
  op->getAttrDictionary().walk([&](DenseResourceElementsAttr attr) {
    ++counts[attr.getRawHandle().getResource()];
  });
}

WeightReferences::WeightReferences(ModuleOp module) {
  module.walk([&](Operation *op) { add(op); });
}

void WeightReferences::forget(Attribute attribute) {
  SmallVector<DenseResourceElementsAttr> unused;
  attribute.walk([&](DenseResourceElementsAttr attr) {
    if (--counts[attr.getRawHandle().getResource()] == 0)
      unused.push_back(attr);
  });
  for (DenseResourceElementsAttr attr : unused)
    releaseWeight(attr);
}

void WeightReferences::erase(Operation *op) {
  Attribute attributes = op->getAttrDictionary();
  op->erase();
  forget(attributes);
}

void WeightReferences::removeAttr(Operation *op, StringRef name) {
  if (Attribute attribute = op->removeAttr(name))
    forget(attribute);
}
