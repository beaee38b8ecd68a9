//===- Pattern.cpp - Regular expressions on PCRE2 -------------------------===//
//
// Owns the PCRE2 objects. Patterns are compiled to machine code where PCRE2 can
// do that; a match that overflows its small stack is repeated by the
// interpreter, which has the heap.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "Pattern.h"

#include "TokenizerSpec.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <new>

namespace llqrt::tok {

static std::string pcreMessage(int code) {
  PCRE2_UCHAR buffer[256];
  pcre2_get_error_message(code, buffer, sizeof(buffer));
  return reinterpret_cast<const char *>(buffer);
}

PatternState::PatternState() : data(pcre2_match_data_create(1, nullptr)) {
  if (!data)
    throw std::bad_alloc();
}

void PatternState::Release::operator()(pcre2_match_data *data) const {
  pcre2_match_data_free(data);
}

void Pattern::Release::operator()(pcre2_code *code) const {
  pcre2_code_free(code);
}

Pattern::Pattern(std::string_view pattern) {
  std::string translated = translatePattern(pattern);
  std::unique_ptr<pcre2_compile_context, decltype(&pcre2_compile_context_free)>
      context(pcre2_compile_context_create(nullptr),
              pcre2_compile_context_free);
  if (!context)
    throw std::bad_alloc();
  pcre2_set_newline(context.get(), PCRE2_NEWLINE_LF);

  int status = 0;
  PCRE2_SIZE offset = 0;
  code.reset(pcre2_compile(
      reinterpret_cast<PCRE2_SPTR>(translated.data()), translated.size(),
      PCRE2_UTF | PCRE2_UCP | PCRE2_NO_AUTO_CAPTURE | PCRE2_NEVER_BACKSLASH_C,
      &status, &offset, context.get()));
  if (!code)
    throw Error("pattern '" + excerpt(pattern) +
                "' is not a valid regular expression: " + pcreMessage(status));
  // Without machine code the interpreter does the same, only more slowly.
  (void)pcre2_jit_compile(code.get(), PCRE2_JIT_COMPLETE);
}

bool Pattern::search(std::string_view text, size_t from, PatternState &state,
                     PatternMatch &match) const {
  auto subject = reinterpret_cast<PCRE2_SPTR>(text.data());
  int status = pcre2_match(code.get(), subject, text.size(), from,
                           PCRE2_NO_UTF_CHECK, state.data.get(), nullptr);
  if (status == PCRE2_ERROR_JIT_STACKLIMIT)
    status = pcre2_match(code.get(), subject, text.size(), from,
                         PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, state.data.get(),
                         nullptr);
  if (status == PCRE2_ERROR_NOMATCH)
    return false;
  if (status < 0)
    throw Error("the pre-tokenizer's pattern cannot be matched: " +
                pcreMessage(status));
  const PCRE2_SIZE *offsets = pcre2_get_ovector_pointer(state.data.get());
  match = {offsets[0], offsets[1]};
  return true;
}

} // namespace llqrt::tok
