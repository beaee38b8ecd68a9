//===- CodeObject.h - Native code out of a model file -----------*- C++ -*-===//
//
// Loads the ELF object of the best level that this machine has.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQRT_SRC_CODEOBJECT_H
#define LLQRT_SRC_CODEOBJECT_H

#include "llqrt/Model.h"

#include <cstddef>
#include <span>

namespace llqrt {

/// Owns a loaded shared object.
class CodeObject {
public:
  CodeObject() = default;
  CodeObject(const CodeObject &) = delete;
  CodeObject &operator=(const CodeObject &) = delete;
  ~CodeObject();

  /// Loads the code of `target` (of the file `file`) for the most capable of
  /// the machine's levels and looks up its kernels.
  Status load(std::span<const std::byte> file, const TargetInfo &target);

  const KernelTable &kernels() const { return table; }

private:
  void *handle = nullptr;
  KernelTable table;
};

} // namespace llqrt

#endif // LLQRT_SRC_CODEOBJECT_H
