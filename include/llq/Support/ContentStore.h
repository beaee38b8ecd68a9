//===- ContentStore.h - Results of long computations in files ---*- C++ -*-===//
//
// A file for each result, under the hash of all that the result was made from
// and of the version of LLQ. So a result is never stale, whoever asks for it:
// another run, or the same one after a kill; only who changes how results are
// computed within a version removes the folder.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_SUPPORT_CONTENTSTORE_H
#define LLQ_SUPPORT_CONTENTSTORE_H

#include "llq/Support/SHA256.h"
#include "llq/Support/WeightData.h"

#include "mlir/IR/BuiltinAttributes.h"
#include "llvm/Support/Error.h"

#include <string>

namespace llq {

/// Hashes what a result is made from. Parts do not run into each other.
class ContentKey {
public:
  ContentKey &add(llvm::StringRef text);
  ContentKey &add(int64_t number);
  ContentKey &addBytes(llvm::ArrayRef<char> bytes);
  /// The type and the values of `llq.weight` or `llq.quantized_weight`,
  /// wherever they are.
  llvm::Error addWeight(mlir::Operation *weight, WeightReader &reader);

  /// 64 hexadecimal digits. Nothing may be added behind it.
  std::string finish() { return sha.finish(); }

private:
  SHA256 sha;
};

class ContentStore {
public:
  /// In `folder`, which is made if it is not there (its parent has to be).
  static llvm::Expected<ContentStore> open(llvm::StringRef folder);

  /// Removes the results in `folder`, and the folder if nothing else is in it.
  static void remove(llvm::StringRef folder);

  /// The result under `key`, or null if there is none, or none that is whole.
  /// Tensors in it are new resource blobs.
  mlir::DictionaryAttr load(llvm::StringRef key,
                            mlir::MLIRContext *context) const;

  /// Keeps `value` under `key`. A reader sees all of it or nothing.
  llvm::Error save(llvm::StringRef key, mlir::DictionaryAttr value) const;

private:
  explicit ContentStore(llvm::StringRef folder) : folder(folder) {}
  std::string getPath(llvm::StringRef key) const;

  std::string folder;
};

} // namespace llq

#endif // LLQ_SUPPORT_CONTENTSTORE_H
