/*===- llqrt.h - C API of the LLQ runtime --------------------------*- C -*-===
 *
 * Opens .llq model files and evaluates them. Everything that can fail returns
 * an llqrt_status; llqrt_last_error() has the one-line explanation. No function
 * throws, exits or prints. Texts are UTF-8.
 *
 * A model is immutable and may be used by several threads at once. A session
 * (a KV cache, working memory and threads of its own) belongs to one thread at
 * a time; any number of sessions may run on one model.
 *
 *   llqrt_model *model;
 *   if (llqrt_model_open("model.llq", NULL, &model) != LLQRT_OK)
 *     fprintf(stderr, "%s\n", llqrt_last_error());
 *
 * Structures that callers fill in begin with their size, which the *_INIT
 * macros set: fields are only ever added at their ends.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 *===----------------------------------------------------------------------===*/

#ifndef LLQRT_LLQRT_H
#define LLQRT_LLQRT_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define LLQRT_API __attribute__((visibility("default")))

/** What became of a call. */
typedef enum {
  LLQRT_OK = 0,
  /** A value that the caller passed is out of range. */
  LLQRT_INVALID_ARGUMENT = 1,
  /** A file could not be opened, read or mapped. */
  LLQRT_FILE_ERROR = 2,
  /** Not a model file, or a damaged one. */
  LLQRT_BAD_FILE = 3,
  /** The model or this machine lacks what the call needs. */
  LLQRT_UNSUPPORTED = 4,
  LLQRT_OUT_OF_MEMORY = 5,
  /** The session's cache has no room for these tokens. */
  LLQRT_OUT_OF_CONTEXT = 6,
  /** The caller's array is too small; the count says what it needs. */
  LLQRT_BUFFER_TOO_SMALL = 7,
  /** A defect of the runtime. */
  LLQRT_INTERNAL_ERROR = 8
} llqrt_status;

/** Explains the last failure of a call in this thread; never NULL. Valid until
 * the next call of this API in this thread. */
LLQRT_API const char *llqrt_last_error(void);

/** The runtime's version, "major.minor.patch". */
LLQRT_API const char *llqrt_version(void);

/*===-- Models ------------------------------------------------------------===*/

typedef struct llqrt_model llqrt_model;

typedef enum {
  /** Header, program, tables and code against their checksums. */
  LLQRT_VERIFY_HEADER = 0,
  /** All of that and the weights: reads the whole file. */
  LLQRT_VERIFY_FULL = 1
} llqrt_verify;

typedef enum {
  /** Weights stay in the mapped file, shared with other processes. */
  LLQRT_WEIGHTS_MAP = 0,
  /** Weights are copied to huge pages: slower to open, sometimes faster to
   * run. */
  LLQRT_WEIGHTS_COPY = 1
} llqrt_weights;

typedef struct {
  size_t struct_size;
  /** An llqrt_verify. */
  int verify;
  /** An llqrt_weights. */
  int weights;
} llqrt_open_options;

#define LLQRT_OPEN_OPTIONS_INIT                                                \
  {sizeof(llqrt_open_options), LLQRT_VERIFY_HEADER, LLQRT_WEIGHTS_MAP}

/** Opens the model file at `path`. `options` may be NULL. No code of the file
 * runs before all its checksums and tables have been verified. The file must
 * not be shortened or rewritten in place while the model is open. */
LLQRT_API llqrt_status llqrt_model_open(const char *path,
                                        const llqrt_open_options *options,
                                        llqrt_model **model);

/** Closes a model; NULL is ignored. Sessions of the model stay usable. */
LLQRT_API void llqrt_model_close(llqrt_model *model);

typedef struct {
  size_t struct_size;
  uint32_t hidden, layers, heads, kv_heads, head_dim, ffn;
  /** Values per token that llqrt_evaluate() gives: logits of the vocabulary, or
   * the hidden state of a model without a head (vocab is 0 then). */
  uint32_t output_width;
  uint32_t vocab;
  /** Token ids are below this. */
  uint32_t token_limit;
  /** Longest sequence, in tokens. */
  uint32_t context;
  /** Most outputs that one llqrt_evaluate() gives. */
  uint32_t max_outputs;
  /** Bytes of the file and of the weights in it. */
  uint64_t file_bytes, weight_bytes;
  /** 1 if the file contains a tokenizer, and a chat template. */
  int has_tokenizer, has_chat_template;
} llqrt_model_info;

#define LLQRT_MODEL_INFO_INIT                                                  \
  {sizeof(llqrt_model_info), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}

/** Fills in `info`, whose struct_size is set. */
LLQRT_API llqrt_status llqrt_model_get_info(const llqrt_model *model,
                                            llqrt_model_info *info);

/*===-- Text and tokens ---------------------------------------------------===*/

enum {
  /** Text such as "<|eot_id|>" becomes the special token of that name. */
  LLQRT_TOKENIZE_PARSE_SPECIAL = 1,
  /** Adds the tokens that the tokenizer puts around a text (BOS for LLAMA3). */
  LLQRT_TOKENIZE_ADD_SPECIAL = 2
};

/** Writes the tokens of `text` (`bytes` long) to `ids`, which has room for
 * `capacity`, and their number to `count`. With LLQRT_BUFFER_TOO_SMALL, `count`
 * says how many there are; `ids` may be NULL if `capacity` is 0. */
LLQRT_API llqrt_status llqrt_tokenize(const llqrt_model *model,
                                      const char *text, size_t bytes,
                                      unsigned flags, int32_t *ids,
                                      size_t capacity, size_t *count);

/** Writes the text of `ids` and a final zero byte to `text`, which has room for
 * `capacity` bytes; `bytes` is the length without that zero.
 * LLQRT_BUFFER_TOO_SMALL unless bytes < capacity. */
LLQRT_API llqrt_status llqrt_detokenize(const llqrt_model *model,
                                        const int32_t *ids, size_t count,
                                        int skip_special, char *text,
                                        size_t capacity, size_t *bytes);

typedef struct {
  /** "system", "user" or "assistant". */
  const char *role;
  const char *content;
} llqrt_chat_message;

/** Writes the conversation in the model's own chat format, as
 * llqrt_detokenize() does; tokenize it with LLQRT_TOKENIZE_PARSE_SPECIAL alone.
 * `add_generation_prompt` opens the assistant's answer. */
LLQRT_API llqrt_status llqrt_apply_chat_template(
    const llqrt_model *model, const llqrt_chat_message *messages, size_t count,
    int add_generation_prompt, char *text, size_t capacity, size_t *bytes);

/*===-- Sessions ----------------------------------------------------------===*/

typedef struct llqrt_session llqrt_session;

typedef struct {
  size_t struct_size;
  /** Threads including the caller's; 0: one per physical core. */
  uint32_t threads;
  /** Keeps each thread on one core. */
  int pin_threads;
  /** Tokens that the cache holds; 0: the model's context. Memory is committed
   * as it is used. */
  uint64_t capacity;
} llqrt_session_options;

#define LLQRT_SESSION_OPTIONS_INIT {sizeof(llqrt_session_options), 0, 0, 0}

/** Starts an empty sequence. `options` may be NULL. */
LLQRT_API llqrt_status llqrt_session_create(
    const llqrt_model *model, const llqrt_session_options *options,
    llqrt_session **session);

/** Ends a session; NULL is ignored. */
LLQRT_API void llqrt_session_destroy(llqrt_session *session);

/** Appends `count` tokens to the sequence and evaluates them. `values` then
 * points at the outputs of the last `outputs` of them: `outputs` rows of
 * output_width floats, valid until the next call on the session. `outputs` may
 * be 0 (then `values` may be NULL) and is at most `count` and max_outputs.
 * After a failure the sequence is as it was before. Results do not depend on
 * the number of threads or on how a sequence is cut into calls. */
LLQRT_API llqrt_status llqrt_evaluate(llqrt_session *session,
                                      const int32_t *ids, size_t count,
                                      size_t outputs, const float **values);

/** Tokens in the sequence. */
LLQRT_API uint64_t llqrt_session_position(const llqrt_session *session);

/** Tokens that the session's cache holds at most. */
LLQRT_API uint64_t llqrt_session_capacity(const llqrt_session *session);

/** Forgets all tokens from `position` on; 0 starts anew. */
LLQRT_API llqrt_status llqrt_session_truncate(llqrt_session *session,
                                              uint64_t position);

/*===-- Generation --------------------------------------------------------===*/

typedef struct {
  size_t struct_size;
  /** Tokens to generate at most. */
  size_t max_tokens;
  /** 0: greedy. */
  float temperature;
  /** Keep the k most likely tokens; 0: all. */
  uint32_t top_k;
  /** Keep the most likely tokens whose probabilities reach this sum; 1: all. */
  float top_p;
  /** Keep tokens with at least this share of the best one's probability. */
  float min_p;
  /** Above 1: makes tokens that occurred in this call's prompt and text less
   * likely. */
  float repeat_penalty;
  uint64_t seed;
  /** 1: goes on after a token that ends the text. */
  int ignore_eos;
  /** 1: tokens that end an answer in a chat end the text too. */
  int chat;
} llqrt_generate_options;

#define LLQRT_GENERATE_OPTIONS_INIT                                            \
  {sizeof(llqrt_generate_options), 64, 0.0f, 0, 1.0f, 0.0f, 1.0f, 0, 0, 0}

typedef enum {
  /** max_tokens or the end of the cache was reached. */
  LLQRT_FINISH_LENGTH = 0,
  /** The model ended the text. */
  LLQRT_FINISH_STOP = 1,
  /** The callback ended it. */
  LLQRT_FINISH_CANCELLED = 2
} llqrt_finish;

typedef struct {
  size_t struct_size;
  llqrt_finish finish;
  /** Tokens generated, without the one that ended the text. */
  size_t tokens;
  /** Time of evaluating the prompt. */
  double prefill_seconds;
  /** Time of evaluating tokens one by one and choosing their successors, and
   * how many they were. */
  double decode_seconds;
  size_t decode_tokens;
} llqrt_generate_result;

#define LLQRT_GENERATE_RESULT_INIT                                             \
  {sizeof(llqrt_generate_result), LLQRT_FINISH_LENGTH, 0, 0, 0, 0}

/** Called with each generated token and the text that it completes: whole UTF-8
 * characters, possibly none, ended by a zero byte. A last call with token -1
 * passes text that was held back, if there is any. A result other than 0 ends
 * the generation. */
typedef int (*llqrt_token_callback)(int32_t token, const char *text,
                                    void *user_data);

/** Appends the prompt (at least one token) to the session's sequence and
 * generates from there. `options`, `callback` and `result` may be NULL. The
 * sequence then ends before the last generated token, which was not yet
 * evaluated. */
LLQRT_API llqrt_status llqrt_generate(
    llqrt_session *session, const int32_t *prompt, size_t prompt_count,
    const llqrt_generate_options *options, llqrt_token_callback callback,
    void *user_data, llqrt_generate_result *result);

#ifdef __cplusplus
}
#endif

#endif /* LLQRT_LLQRT_H */
