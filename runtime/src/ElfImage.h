//===- ElfImage.h - Look into a shared object without loading it -*- C++
//-*-===//
//
// Checks native code of a model file before the dynamic loader sees it: a
// self-contained ELF object for this kind of machine that runs nothing when it
// is loaded and exports the kernels that the program names.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQRT_SRC_ELFIMAGE_H
#define LLQRT_SRC_ELFIMAGE_H

#include "llqrt/Status.h"

#include <cstddef>
#include <span>
#include <string>
#include <vector>

namespace llqrt {

/// Fails if `image` is not a 64-bit little-endian ELF shared object for
/// `machine` (x86-64 or aarch64), if it needs other objects or has code to run
/// at loading, or if one of `functions` is not a function that it defines.
Status checkElfImage(std::span<const std::byte> image,
                     const std::string &machine,
                     const std::vector<std::string> &functions);

} // namespace llqrt

#endif // LLQRT_SRC_ELFIMAGE_H
