//===- JinjaText.h - Python's string functions ------------------*- C++ -*-===//
//
// Strings as Python sees them: sequences of code points. Text is stored as
// UTF-8, so that indices are converted where they are used.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQRT_TOKENIZER_JINJATEXT_H
#define LLQRT_TOKENIZER_JINJATEXT_H

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace llqrt::tok::jinja {

/// Number of code points.
size_t textLength(std::string_view text);
/// The code points, each as a string of its own.
std::vector<std::string_view> characters(std::string_view text);

/// str.strip(): white space, or the characters of `chars` if it is given.
std::string_view strip(std::string_view text, const std::string *chars,
                       bool left, bool right);
/// str.split() and str.rsplit(); no separator means runs of white space.
std::vector<std::string_view> split(std::string_view text,
                                    const std::string *separator, int64_t limit,
                                    bool fromRight);
/// str.splitlines().
std::vector<std::string_view> splitLines(std::string_view text, bool keepEnds);
/// str.replace(); a negative `limit` replaces all.
std::string replace(std::string_view text, std::string_view from,
                    std::string_view to, int64_t limit);

enum class Case { Upper, Lower, Title, Capitalize };
/// str.upper() and so on. Error for text that is not ASCII: the tables for it
/// would be larger than this library.
std::string changeCase(std::string_view text, Case to);

/// repr() of a string and of a float.
std::string quoted(std::string_view text);
std::string floatText(double value);

} // namespace llqrt::tok::jinja

#endif // LLQRT_TOKENIZER_JINJATEXT_H
