//===- Pattern.h - Regular expressions of pre-tokenizers --------*- C++ -*-===//
//
// tokenizer.json holds regular expressions in Oniguruma's syntax. They run on
// PCRE2 after a translation that keeps their meaning where the two differ (\s,
// \d, \v, scripts) and refuses what it cannot keep.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQRT_TOKENIZER_PATTERN_H
#define LLQRT_TOKENIZER_PATTERN_H

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

struct pcre2_real_code_8;
struct pcre2_real_match_data_8;

namespace llqrt::tok {

/// Rewrites an Oniguruma pattern for PCRE2 (UTF, UCP). Throws Error naming the
/// construct that has no equal.
std::string translatePattern(std::string_view pattern);

/// Memory that a search needs, one per thread; any pattern may use it.
class PatternState {
public:
  PatternState();

private:
  friend class Pattern;
  struct Release {
    void operator()(pcre2_real_match_data_8 *data) const;
  };
  std::unique_ptr<pcre2_real_match_data_8, Release> data;
};

struct PatternMatch {
  size_t begin, end;
};

/// A compiled pattern, immutable and shared by threads.
class Pattern {
public:
  /// Compiles `pattern`, in Oniguruma's syntax. Throws Error.
  explicit Pattern(std::string_view pattern);

  /// Finds the first match in `text`, which must be UTF-8, at or after `from`,
  /// a character boundary. Throws Error when matching takes too much memory or
  /// time.
  bool search(std::string_view text, size_t from, PatternState &state,
              PatternMatch &match) const;

private:
  struct Release {
    void operator()(pcre2_real_code_8 *code) const;
  };
  std::unique_ptr<pcre2_real_code_8, Release> code;
};

} // namespace llqrt::tok

#endif // LLQRT_TOKENIZER_PATTERN_H
