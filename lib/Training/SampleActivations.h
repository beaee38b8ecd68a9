//===- SampleActivations.h - Hidden states of all samples -------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_LIB_TRAINING_SAMPLEACTIVATIONS_H
#define LLQ_LIB_TRAINING_SAMPLEACTIVATIONS_H

#include "llq/Calibration/ActivationStore.h"
#include "llq/Calibration/Samples.h"

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/STLExtras.h"

#include <vector>

namespace llq::training {

/// Activations x[tokens, columns] of each sample, in memory or in a file.
class SampleActivations {
public:
  static llvm::Expected<SampleActivations>
  create(const Samples &samples, int64_t columns, bool inFile) {
    auto store = ActivationStore::create(samples.tokens, columns, inFile);
    if (!store)
      return store.takeError();
    SampleActivations result(std::move(*store));
    int64_t token = 0;
    for (llvm::ArrayRef<int32_t> ids : samples.sequences) {
      result.places.push_back({token, int64_t(ids.size())});
      token += ids.size();
    }
    return result;
  }

  size_t size() const { return places.size(); }
  int64_t getColumns() const { return store.getColumns(); }
  int64_t getTokens(size_t sample) const { return places[sample].tokens; }

  /// Valid until the sample is released or set.
  llvm::ArrayRef<float> get(size_t sample) {
    auto [first, tokens] = places[sample];
    return {store.getRow(first), size_t(tokens * getColumns())};
  }
  void set(size_t sample, llvm::ArrayRef<float> rows) {
    auto [first, tokens] = places[sample];
    store.write(first, tokens, rows.data(), getColumns());
    release(sample);
  }
  /// Gives back memory, if the rows are in a file.
  void release(size_t sample) {
    store.release(places[sample].first, places[sample].tokens);
  }

private:
  struct Place {
    int64_t first, tokens;
  };
  explicit SampleActivations(ActivationStore store) : store(std::move(store)) {}

  ActivationStore store;
  std::vector<Place> places;
};

} // namespace llq::training

#endif // LLQ_LIB_TRAINING_SAMPLEACTIVATIONS_H
