//===- ShapeModel.h - A model of a known shape to bench ---------*- C++ -*-===//
//
// Only the compiler can make one: `llq-compile --shape`, which stands beside
// this tool, compiles random weights block by block, so that the source weights
// never exist as a whole.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_TOOLS_BENCH_SHAPEMODEL_H
#define LLQ_TOOLS_BENCH_SHAPEMODEL_H

#include "support/Signals.h"

#include "llqrt/Status.h"

#include <optional>
#include <string>
#include <vector>

namespace llq::tools {

/// A compiled model in a temporary file that goes with the object.
class ShapeModel {
public:
  ShapeModel() = default;
  ShapeModel(const ShapeModel &) = delete;
  ShapeModel &operator=(const ShapeModel &) = delete;
  ~ShapeModel();

  /// Runs `llq-compile --shape SHAPE ARGUMENTS... -o path()`. Its errors become
  /// those of this call.
  llqrt::Status compile(const std::string &shape,
                        const std::vector<std::string> &arguments);

  const std::string &path() const { return file; }

private:
  std::string folder, file;
  std::optional<RemovedOnSignal> folderRemoval, fileRemoval;
};

} // namespace llq::tools

#endif // LLQ_TOOLS_BENCH_SHAPEMODEL_H
