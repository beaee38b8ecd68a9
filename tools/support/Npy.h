//===- Npy.h - Arrays in NumPy's file format --------------------*- C++ -*-===//
//
// float32, two dimensions, C order, format version 1: what `np.save` writes and
// `np.load` reads.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_TOOLS_SUPPORT_NPY_H
#define LLQ_TOOLS_SUPPORT_NPY_H

#include "llqrt/Status.h"

#include <cstdint>
#include <fstream>
#include <span>
#include <string>

namespace llq::tools {

/// What an array [rows, columns] of float32 begins with in a file.
std::string npyHeader(uint64_t rows, uint64_t columns);

/// Reads an array row by row.
class NpyReader {
public:
  /// Opens the file at `path`, which must hold a float32 array [rows, columns].
  llqrt::Status open(const std::string &path, uint64_t rows, uint64_t columns);

  /// The next values.
  llqrt::Status read(std::span<float> values);

private:
  std::string path;
  std::ifstream file;
};

} // namespace llq::tools

#endif // LLQ_TOOLS_SUPPORT_NPY_H
