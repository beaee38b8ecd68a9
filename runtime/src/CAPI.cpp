//===- CAPI.cpp - The C API over the C++ runtime --------------------------===//
//
// Turns pointers and sizes into checked C++ values and every failure,
// exceptions of the standard library included, into a status and a message of
// the thread.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llqrt/Generate.h"
#include "llqrt/Session.h"
#include "llqrt/Tokenizer.h"

#include <algorithm>
#include <cstring>
#include <new>

using namespace llqrt;

struct llqrt_model {
  std::shared_ptr<const Model> model;
};

struct llqrt_session {
  std::unique_ptr<Session> session;
};

static thread_local std::string lastError;

static llqrt_status record(const Status &status) {
  lastError = status.message();
  return status.code();
}

/// Calls `body` and records its status; nothing is thrown from here.
template <typename Body> static llqrt_status guarded(Body body) noexcept {
  try {
    return record(body());
  } catch (const std::bad_alloc &) {
    lastError.clear();
    lastError.shrink_to_fit();
    try {
      lastError = "not enough memory";
    } catch (...) {
    }
    return LLQRT_OUT_OF_MEMORY;
  } catch (const std::exception &error) {
    try {
      lastError = error.what();
    } catch (...) {
    }
    return LLQRT_INTERNAL_ERROR;
  } catch (...) {
    return LLQRT_INTERNAL_ERROR;
  }
}

static Status nullArgument(const char *name) {
  return Status::invalidArgument(std::string(name) + " is NULL");
}

/// Copies the caller's structure, which may be older and shorter than ours,
/// over the defaults in `to`.
template <typename T> static Status readStruct(const T *from, T &to) {
  if (!from)
    return {};
  if (from->struct_size < sizeof(size_t) || from->struct_size > sizeof(T))
    return Status::invalidArgument(
        "struct_size is " + std::to_string(from->struct_size) + ", at most " +
        std::to_string(sizeof(T)) +
        " is known: start from the structure's INIT macro");
  std::memcpy(static_cast<void *>(&to), from, from->struct_size);
  return {};
}

/// Copies as much of `from` as the caller's structure has room for.
template <typename T> static Status writeStruct(const T &from, T *to) {
  size_t size = to->struct_size;
  if (size < sizeof(size_t) || size > sizeof(T))
    return Status::invalidArgument(
        "struct_size is " + std::to_string(size) + ", at most " +
        std::to_string(sizeof(T)) +
        " is known: start from the structure's INIT macro");
  std::memcpy(static_cast<void *>(to), &from, size);
  to->struct_size = size;
  return {};
}

/// Gives `text` and a final zero byte to the caller.
static Status writeText(const std::string &from, char *text, size_t capacity,
                        size_t *bytes) {
  *bytes = from.size();
  if (from.size() >= capacity)
    return {LLQRT_BUFFER_TOO_SMALL,
            "the text needs room for " + std::to_string(from.size() + 1) +
                " bytes, there is room for " + std::to_string(capacity)};
  std::memcpy(text, from.c_str(), from.size() + 1);
  return {};
}

const char *llqrt_last_error(void) { return lastError.c_str(); }

const char *llqrt_version(void) { return LLQRT_VERSION; }

//===----------------------------------------------------------------------===//
// Models
//===----------------------------------------------------------------------===//

llqrt_status llqrt_model_open(const char *path,
                              const llqrt_open_options *options,
                              llqrt_model **model) {
  return guarded([&]() -> Status {
    if (!path || !model)
      return nullArgument(path ? "model" : "path");
    *model = nullptr;
    llqrt_open_options values = LLQRT_OPEN_OPTIONS_INIT;
    LLQRT_RETURN_IF_ERROR(readStruct(options, values));
    if (values.verify != LLQRT_VERIFY_HEADER &&
        values.verify != LLQRT_VERIFY_FULL)
      return Status::invalidArgument("verify is none of llqrt_verify");
    if (values.weights != LLQRT_WEIGHTS_MAP &&
        values.weights != LLQRT_WEIGHTS_COPY)
      return Status::invalidArgument("weights is none of llqrt_weights");
    auto result = std::make_unique<llqrt_model>();
    LLQRT_RETURN_IF_ERROR(
        Model::open(path,
                    {static_cast<llqrt_verify>(values.verify),
                     static_cast<llqrt_weights>(values.weights)},
                    result->model));
    *model = result.release();
    return {};
  });
}

void llqrt_model_close(llqrt_model *model) { delete model; }

llqrt_status llqrt_model_get_info(const llqrt_model *model,
                                  llqrt_model_info *info) {
  return guarded([&]() -> Status {
    if (!model || !info)
      return nullArgument(model ? "info" : "model");
    const ModelInfo &from = model->model->info();
    const ArchitectureInfo &a = from.architecture;
    llqrt_model_info to = LLQRT_MODEL_INFO_INIT;
    to.hidden = a.hidden;
    to.layers = a.layers;
    to.heads = a.heads;
    to.kv_heads = a.kvHeads;
    to.head_dim = a.headDim;
    to.ffn = a.ffn;
    to.output_width = a.outputWidth();
    to.vocab = a.vocab;
    to.token_limit = a.tokenLimit;
    to.context = a.context;
    if (const TargetInfo *target = from.findTarget("cpu"))
      to.max_outputs = target->program.maxTokens;
    to.file_bytes = from.fileBytes;
    to.weight_bytes = from.weightBytes();
    if (from.tokenizer.bytes) {
      const Tokenizer *tokenizer;
      LLQRT_RETURN_IF_ERROR(model->model->tokenizer(tokenizer));
      to.has_tokenizer = 1;
      to.has_chat_template = !tokenizer->chatTemplate().empty();
    }
    return writeStruct(to, info);
  });
}

//===----------------------------------------------------------------------===//
// Text and tokens
//===----------------------------------------------------------------------===//

llqrt_status llqrt_tokenize(const llqrt_model *model, const char *text,
                            size_t bytes, unsigned flags, int32_t *ids,
                            size_t capacity, size_t *count) {
  return guarded([&]() -> Status {
    if (!model || !count || (!text && bytes) || (!ids && capacity))
      return nullArgument("model, text, ids or count");
    *count = 0;
    const Tokenizer *tokenizer;
    LLQRT_RETURN_IF_ERROR(model->model->tokenizer(tokenizer));
    EncodeOptions options;
    options.parseSpecial = flags & LLQRT_TOKENIZE_PARSE_SPECIAL;
    options.addSpecial = flags & LLQRT_TOKENIZE_ADD_SPECIAL
                             ? SpecialTokens::Template
                             : SpecialTokens::None;
    std::vector<int32_t> tokens;
    std::string error;
    if (!tokenizer->encode({text ? text : "", bytes}, options, tokens, error))
      return Status::invalidArgument(error);
    *count = tokens.size();
    if (tokens.size() > capacity)
      return {LLQRT_BUFFER_TOO_SMALL,
              "the text has " + std::to_string(tokens.size()) +
                  " tokens, there is room for " + std::to_string(capacity)};
    std::copy(tokens.begin(), tokens.end(), ids);
    return {};
  });
}

llqrt_status llqrt_detokenize(const llqrt_model *model, const int32_t *ids,
                              size_t count, int skip_special, char *text,
                              size_t capacity, size_t *bytes) {
  return guarded([&]() -> Status {
    if (!model || !bytes || (!ids && count) || (!text && capacity))
      return nullArgument("model, ids, text or bytes");
    *bytes = 0;
    const Tokenizer *tokenizer;
    LLQRT_RETURN_IF_ERROR(model->model->tokenizer(tokenizer));
    return writeText(tokenizer->decode({ids, count}, skip_special != 0), text,
                     capacity, bytes);
  });
}

llqrt_status llqrt_apply_chat_template(const llqrt_model *model,
                                       const llqrt_chat_message *messages,
                                       size_t count, int add_generation_prompt,
                                       char *text, size_t capacity,
                                       size_t *bytes) {
  return guarded([&]() -> Status {
    if (!model || !bytes || (!messages && count) || (!text && capacity))
      return nullArgument("model, messages, text or bytes");
    *bytes = 0;
    const Tokenizer *tokenizer;
    LLQRT_RETURN_IF_ERROR(model->model->tokenizer(tokenizer));
    std::vector<ChatMessage> conversation;
    for (size_t i = 0; i < count; ++i) {
      if (!messages[i].role || !messages[i].content)
        return nullArgument("a message's role or content");
      conversation.push_back({messages[i].role, messages[i].content});
    }
    ChatOptions options;
    options.addGenerationPrompt = add_generation_prompt != 0;
    std::string prompt, error;
    if (!tokenizer->applyChatTemplate(conversation, options, prompt, error))
      return Status::unsupported(error);
    return writeText(prompt, text, capacity, bytes);
  });
}

//===----------------------------------------------------------------------===//
// Sessions
//===----------------------------------------------------------------------===//

llqrt_status llqrt_session_create(const llqrt_model *model,
                                  const llqrt_session_options *options,
                                  llqrt_session **session) {
  return guarded([&]() -> Status {
    if (!model || !session)
      return nullArgument(model ? "session" : "model");
    *session = nullptr;
    llqrt_session_options values = LLQRT_SESSION_OPTIONS_INIT;
    LLQRT_RETURN_IF_ERROR(readStruct(options, values));
    SessionOptions to;
    to.threads = values.threads;
    to.pinThreads = values.pin_threads != 0;
    to.capacity = values.capacity;
    auto result = std::make_unique<llqrt_session>();
    LLQRT_RETURN_IF_ERROR(Session::create(model->model, to, result->session));
    *session = result.release();
    return {};
  });
}

void llqrt_session_destroy(llqrt_session *session) { delete session; }

llqrt_status llqrt_evaluate(llqrt_session *session, const int32_t *ids,
                            size_t count, size_t outputs,
                            const float **values) {
  return guarded([&]() -> Status {
    if (!session || (!ids && count) || (!values && outputs))
      return nullArgument("session, ids or values");
    std::span<const float> result;
    Status status = session->session->evaluate({ids, count}, outputs, result);
    if (values)
      *values = status.ok() && outputs ? result.data() : nullptr;
    return status;
  });
}

uint64_t llqrt_session_position(const llqrt_session *session) {
  return session ? session->session->position() : 0;
}

uint64_t llqrt_session_capacity(const llqrt_session *session) {
  return session ? session->session->capacity() : 0;
}

llqrt_status llqrt_session_truncate(llqrt_session *session, uint64_t position) {
  return guarded([&]() -> Status {
    if (!session)
      return nullArgument("session");
    return session->session->truncate(position);
  });
}

//===----------------------------------------------------------------------===//
// Generation
//===----------------------------------------------------------------------===//

llqrt_status llqrt_generate(llqrt_session *session, const int32_t *prompt,
                            size_t prompt_count,
                            const llqrt_generate_options *options,
                            llqrt_token_callback callback, void *user_data,
                            llqrt_generate_result *result) {
  return guarded([&]() -> Status {
    if (!session || (!prompt && prompt_count))
      return nullArgument("session or prompt");
    llqrt_generate_options values = LLQRT_GENERATE_OPTIONS_INIT;
    LLQRT_RETURN_IF_ERROR(readStruct(options, values));
    GenerateOptions to;
    to.maxTokens = values.max_tokens;
    to.sampling.temperature = values.temperature;
    to.sampling.topK = values.top_k;
    to.sampling.topP = values.top_p;
    to.sampling.minP = values.min_p;
    to.sampling.repeatPenalty = values.repeat_penalty;
    to.sampling.seed = values.seed;
    to.ignoreEos = values.ignore_eos != 0;
    to.chat = values.chat != 0;
    GenerateResult generated;
    LLQRT_RETURN_IF_ERROR(generate(
        *session->session, {prompt, prompt_count}, to,
        [&](int32_t token, const std::string &text) {
          return !callback || callback(token, text.c_str(), user_data) == 0;
        },
        generated));
    if (!result)
      return {};
    llqrt_generate_result from = LLQRT_GENERATE_RESULT_INIT;
    from.finish = generated.finish;
    from.tokens = generated.tokens.size();
    from.prefill_seconds = generated.prefillSeconds;
    from.decode_seconds = generated.decodeSeconds;
    from.decode_tokens = generated.decodeTokens;
    return writeStruct(from, result);
  });
}
