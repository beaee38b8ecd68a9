//===- WeightBlob.cpp - Memory of new weights -----------------------------===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llq/Support/WeightBlob.h"

#include "mlir/IR/BuiltinTypes.h"
#include "llvm/ADT/STLExtras.h"

#include <cassert>
#include <cstddef>
#include <cstdlib>

using namespace mlir;

llvm::Expected<AsmResourceBlob> llq::allocateBlob(int64_t bytes) {
  static_assert(alignof(std::max_align_t) >= kBlobAlignment);
  // The system zeroes large blocks as they are touched. And unlike operator new
  // this tells if there is no memory, as a wrong shape may ask for any amount.
  void *data = std::calloc(bytes, 1);
  if (!data)
    return llvm::createStringError("needs %lld bytes of memory for its weight",
                                   static_cast<long long>(bytes));
  return AsmResourceBlob(
      ArrayRef<char>(static_cast<char *>(data), bytes), kBlobAlignment,
      [](void *memory, size_t, size_t) { std::free(memory); },
      /*dataIsMutable=*/true);
}

DenseResourceElementsAttr llq::makeResource(MLIRContext *context,
                                            ArrayRef<int64_t> shape,
                                            ArrayRef<float> values,
                                            StringRef name) {
  assert(int64_t(values.size()) == llvm::product_of(shape));
  ArrayRef<char> bytes(reinterpret_cast<const char *>(values.data()),
                       values.size() * sizeof(float));
  return DenseResourceElementsAttr::get(
      RankedTensorType::get(shape, Float32Type::get(context)), name,
      HeapAsmResourceBlob::allocateAndCopyWithAlign(bytes, kBlobAlignment,
                                                    /*dataIsMutable=*/false));
}
