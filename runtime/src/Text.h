//===- Text.h - Texts for messages ------------------------------*- C++ -*-===//
//
// Names come from files that may be damaged; messages show them on one line.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQRT_SRC_TEXT_H
#define LLQRT_SRC_TEXT_H

#include <string>
#include <string_view>

namespace llqrt {

/// `text` in double quotes; control characters and bytes outside ASCII as \xHH,
/// cut after 80 bytes.
std::string quoted(std::string_view text);

/// The reason of a system call's error number.
std::string systemError(int number);

} // namespace llqrt

#endif // LLQRT_SRC_TEXT_H
