//===- ActivationStore.h - Activations of all samples -----------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_CALIBRATION_ACTIVATIONSTORE_H
#define LLQ_CALIBRATION_ACTIVATIONSTORE_H

#include "llvm/Support/Error.h"

#include <cstdint>

namespace llq {

/// A matrix of activations, one row for each token of all samples, in memory or
/// in a temporary file that nobody else sees.
class ActivationStore {
public:
  static llvm::Expected<ActivationStore> create(int64_t tokens, int64_t columns,
                                                bool inFile);
  ActivationStore(ActivationStore &&other);
  ActivationStore &operator=(ActivationStore &&other);
  ~ActivationStore();

  int64_t getColumns() const { return columns; }
  int64_t getBytes() const { return bytes; }
  float *getRow(int64_t token) { return data + token * columns; }

  /// Copies `tokens` rows from `from`, `stride` floats apart, to row `token`
  /// on.
  void write(int64_t token, int64_t tokens, const float *from, int64_t stride);
  /// The other way around.
  void read(int64_t token, int64_t tokens, float *to, int64_t stride) const;
  /// Gives back the memory of rows in a file; they stay what they are.
  void release(int64_t token, int64_t tokens) const;

private:
  ActivationStore(float *data, int64_t columns, int64_t bytes, bool inFile)
      : data(data), columns(columns), bytes(bytes), inFile(inFile) {}

  float *data;
  int64_t columns, bytes;
  bool inFile;
};

} // namespace llq

#endif // LLQ_CALIBRATION_ACTIVATIONSTORE_H
