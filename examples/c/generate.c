/*===- generate.c - Text from a model file, in C -------------------*- C -*-===
 *
 *   generate model.llq "Once upon a time"
 *   generate model.llq 1 2 3
 *
 * The second form, for models without a tokenizer, takes token ids.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 *===----------------------------------------------------------------------===*/

#include <llqrt/llqrt.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_PROMPT = 4096 };

static int fail(const char *what) {
  fprintf(stderr, "generate: error: %s: %s\n", what, llqrt_last_error());
  return 1;
}

/* Prints text as it comes, or ids if the model has no tokenizer. */
static int print_token(int32_t token, const char *text, void *user_data) {
  const llqrt_model_info *info = user_data;
  if (info->has_tokenizer)
    fputs(text, stdout);
  else
    printf("%d ", (int)token);
  fflush(stdout);
  return 0;
}

int main(int argc, char **argv) {
  if (argc < 3) {
    fprintf(stderr, "usage: generate MODEL.llq PROMPT | MODEL.llq ID...\n");
    return 2;
  }
  llqrt_model *model;
  if (llqrt_model_open(argv[1], NULL, &model) != LLQRT_OK)
    return fail(argv[1]);
  llqrt_model_info info = LLQRT_MODEL_INFO_INIT;
  if (llqrt_model_get_info(model, &info) != LLQRT_OK)
    return fail("model");

  int32_t prompt[MAX_PROMPT];
  size_t count = 0;
  if (info.has_tokenizer) {
    if (llqrt_tokenize(model, argv[2], strlen(argv[2]),
                       LLQRT_TOKENIZE_PARSE_SPECIAL |
                           LLQRT_TOKENIZE_ADD_SPECIAL,
                       prompt, MAX_PROMPT, &count) != LLQRT_OK)
      return fail("prompt");
  } else {
    for (; count < MAX_PROMPT && (int)count < argc - 2; ++count)
      prompt[count] = (int32_t)strtol(argv[count + 2], NULL, 10);
  }

  llqrt_session *session;
  if (llqrt_session_create(model, NULL, &session) != LLQRT_OK)
    return fail("session");
  llqrt_generate_options options = LLQRT_GENERATE_OPTIONS_INIT;
  options.max_tokens = 32;
  llqrt_generate_result result = LLQRT_GENERATE_RESULT_INIT;
  if (llqrt_generate(session, prompt, count, &options, print_token, &info,
                     &result) != LLQRT_OK)
    return fail("generation");
  printf("\n%zu tokens in %.3f s\n", result.tokens,
         result.prefill_seconds + result.decode_seconds);
  llqrt_session_destroy(session);
  llqrt_model_close(model);
  return 0;
}
