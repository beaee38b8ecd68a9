//===- Describe.cpp - A model's contents for people and machines ----------===//
//
// Bits per weight come from bytes: codes, scales and all else that decoding
// reads.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "Describe.h"

#include <algorithm>
#include <cinttypes>
#include <cstdio>

using namespace llq::tools;
using namespace llqrt;

static const char *kindName(BufferKind kind) {
  switch (kind) {
  case BufferKind::Input:
    return "input";
  case BufferKind::Output:
    return "output";
  case BufferKind::Temporary:
    return "temporary";
  case BufferKind::Weight:
    return "weight";
  case BufferKind::State:
    return "state";
  }
  return "unknown";
}

static double bitsPerWeight(const LinearInfo &linear) {
  return 8.0 * static_cast<double>(linear.bytes) /
         (static_cast<double>(linear.rows) * linear.columns);
}

/// As config.json of Hugging Face writes it; null without scaling.
static Json describeScaling(const ArchitectureInfo &a) {
  if (a.ropeScaling.empty() || a.ropeScaling == "none")
    return nullptr;
  Json scaling = {{"type", a.ropeScaling}};
  static constexpr const char *llama3[] = {"factor", "low_freq_factor",
                                           "high_freq_factor",
                                           "original_max_position_embeddings"};
  for (size_t i = 0; i < std::min<size_t>(4, a.ropeParameters.size()); ++i)
    scaling[llama3[i]] = a.ropeParameters[i];
  return scaling;
}

static Json describeArchitecture(const ModelInfo &model) {
  const ArchitectureInfo &a = model.architecture;
  return {{"hidden", a.hidden},        {"layers", a.layers},
          {"heads", a.heads},          {"kv_heads", a.kvHeads},
          {"head_dim", a.headDim},     {"ffn", a.ffn},
          {"vocab", a.vocab},          {"context", a.context},
          {"rope_theta", a.ropeTheta}, {"rope_scaling", describeScaling(a)},
          {"norm_eps", a.normEps},     {"tied_embeddings", a.tiedEmbeddings},
          {"kv_cache", model.kvCache}};
}

static Json describeProgram(const TargetInfo &target) {
  const ProgramInfo &program = target.program;
  Json buffers = Json::array(), dispatches = Json::array();
  for (const BufferInfo &buffer : program.buffers) {
    Json entry = {{"name", buffer.name}, {"kind", kindName(buffer.kind)}};
    if (buffer.kind == BufferKind::Weight)
      entry["weight"] = buffer.weight;
    else if (buffer.kind == BufferKind::State)
      entry["bytes_per_position"] = buffer.bytesPerPosition;
    else
      entry["bytes_per_token"] = buffer.bytesPerToken;
    if (buffer.kind == BufferKind::Temporary)
      entry["offset"] = buffer.offset;
    buffers.push_back(std::move(entry));
  }
  for (const DispatchInfo &dispatch : program.dispatches)
    dispatches.push_back({{"kernel", target.kernels[dispatch.kernel]},
                          {"buffers", dispatch.buffers},
                          {"writes", dispatch.numWrites},
                          {"items", dispatch.items},
                          {"items_per_token", dispatch.itemsPerToken},
                          {"outputs_only", dispatch.outputsOnly}});
  return {{"max_tokens", program.maxTokens},
          {"arena_bytes", program.arenaBytes},
          {"scratch_bytes", program.scratchBytes},
          {"scratch_bytes_per_position", program.scratchBytesPerPosition},
          {"buffers", std::move(buffers)},
          {"dispatches", std::move(dispatches)}};
}

Json llq::tools::describe(const ModelInfo &model, bool program) {
  Json linears = Json::array(), targets = Json::array();
  for (const LinearInfo &linear : model.linears)
    linears.push_back({{"name", linear.name},
                       {"shape", {linear.rows, linear.columns}},
                       {"format", linear.format},
                       {"bytes", linear.bytes},
                       {"bits_per_weight", bitsPerWeight(linear)},
                       {"accuracy", linear.accuracy},
                       {"method", parseOrQuote(linear.method)},
                       {"in_block", linear.inBlock}});
  for (const TargetInfo &target : model.targets) {
    Json levels = Json::array();
    for (const CodeInfo &code : target.code)
      levels.push_back({{"machine", code.machine},
                        {"level", code.level},
                        {"bytes", code.region.bytes}});
    Json entry = {
        {"name", target.name},
        {"kernels", target.kernels},
        {"kv_cache_bytes_per_token", cacheBytesPerToken(target.program)},
        {"levels", std::move(levels)}};
    if (program)
      entry["program"] = describeProgram(target);
    targets.push_back(std::move(entry));
  }
  const ProvenanceInfo &p = model.provenance;
  return {{"architecture", describeArchitecture(model)},
          {"bytes",
           {{"file", model.fileBytes},
            {"weights", model.weightBytes()},
            {"code", model.codeBytes()},
            {"tokenizer", model.tokenizer.bytes}}},
          {"bits_per_weight", model.bitsPerWeight(false)},
          {"bits_per_weight_total", model.bitsPerWeight(true)},
          {"linears", std::move(linears)},
          {"targets", std::move(targets)},
          {"provenance",
           {{"source", p.source},
            {"source_sha256", p.sourceSha256},
            {"pipeline", p.pipeline},
            {"calibration", parseOrQuote(p.calibration)},
            {"tool_version", p.toolVersion}}}};
}

/// `text` with control characters as '?': names come from files.
static std::string printable(const std::string &text) {
  std::string result = text;
  for (char &c : result)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f)
      c = '?';
  return result;
}

static std::string formatBytes(uint64_t bytes) {
  static constexpr const char *units[] = {"B", "KB", "MB", "GB", "TB"};
  auto value = static_cast<double>(bytes);
  size_t unit = 0;
  for (; value >= 1000 && unit < 4; ++unit)
    value /= 1000;
  char text[32];
  std::snprintf(text, sizeof(text), unit ? "%.2f %s" : "%.0f %s", value,
                units[unit]);
  return text;
}

/// `value[key]` if it is text, or empty: what a file says may be anything.
static std::string getText(const Json &value, const char *key) {
  if (!value.is_object() || !value.contains(key) || !value[key].is_string())
    return {};
  return value[key].get<std::string>();
}

/// What made a layer's weights: `awq, gptq`, or `-` for those of the source.
static std::string getMethodNames(const Json &method) {
  std::string names;
  if (method.is_object() && method.contains("prepared"))
    for (const Json &entry : method["prepared"])
      names += getText(entry, "name") + ", ";
  std::string name = getText(method, "name");
  return name.empty() ? "-" : names + name;
}

/// The error of the weights relative to the source's, which is not known of
/// weights that are the source's.
static std::string getErrorText(const Json &method) {
  if (!method.is_object() || !method.contains("relative_error") ||
      !method["relative_error"].is_number())
    return "-";
  char text[32];
  std::snprintf(text, sizeof(text), "%.4f",
                method["relative_error"].get<double>());
  return text;
}

/// Methods with their options, and how many layers have these.
static void printSettings(const std::vector<Json> &methods) {
  std::vector<std::pair<std::string, int>> settings;
  for (const Json &method : methods) {
    std::string options = getText(method, "options");
    if (options.empty())
      continue;
    std::string text = printable(getText(method, "name") + ": " + options);
    auto known = std::find_if(settings.begin(), settings.end(),
                              [&](auto &each) { return each.first == text; });
    if (known == settings.end())
      known = settings.insert(settings.end(), {text, 0});
    ++known->second;
  }
  for (const auto &[text, count] : settings)
    std::printf("  method        %s (%d layers)\n", text.c_str(), count);
}

/// `methods` are those of the layers.
static void printLinears(const ModelInfo &model,
                         const std::vector<Json> &methods) {
  std::vector<std::string> names;
  size_t nameWidth = 5, methodWidth = 6;
  for (size_t i = 0; i < methods.size(); ++i) {
    names.push_back(printable(getMethodNames(methods[i])));
    nameWidth = std::max(nameWidth, model.linears[i].name.size());
    methodWidth = std::max(methodWidth, names[i].size());
  }
  int nameColumn = static_cast<int>(std::min<size_t>(nameWidth, 60));
  int methodColumn = static_cast<int>(std::min<size_t>(methodWidth, 40));
  std::printf("\n%-*s %15s %11s %8s %8s  %-*s  %-8s %s\n", nameColumn, "layer",
              "shape", "bytes", "bits/w", "error", methodColumn, "method",
              "accuracy", "format");
  for (size_t i = 0; i < methods.size(); ++i) {
    const LinearInfo &linear = model.linears[i];
    std::string shape =
        std::to_string(linear.rows) + " x " + std::to_string(linear.columns);
    std::printf("%-*s %15s %11s %8.3f %8s  %-*s  %-8s %s\n", nameColumn,
                printable(linear.name).c_str(), shape.c_str(),
                formatBytes(linear.bytes).c_str(), bitsPerWeight(linear),
                getErrorText(methods[i]).c_str(), methodColumn,
                names[i].c_str(), printable(linear.accuracy).c_str(),
                printable(linear.format).c_str());
  }
}

void llq::tools::printSummary(const std::string &path, const ModelInfo &model) {
  const ArchitectureInfo &a = model.architecture;
  std::printf("%s\n", path.c_str());
  std::printf("  architecture  hidden %u, layers %u, heads %u (%u kv) of %u, "
              "ffn %u, vocab %u, context %u\n",
              a.hidden, a.layers, a.heads, a.kvHeads, a.headDim, a.ffn, a.vocab,
              a.context);
  std::printf("                rope theta %g, scaling %s, norm eps %g, %s "
              "embeddings\n",
              a.ropeTheta, printable(describeScaling(a).dump()).c_str(),
              a.normEps, a.tiedEmbeddings ? "tied" : "untied");
  std::printf("  bytes         file %s, weights %s, code %s, tokenizer %s\n",
              formatBytes(model.fileBytes).c_str(),
              formatBytes(model.weightBytes()).c_str(),
              formatBytes(model.codeBytes()).c_str(),
              formatBytes(model.tokenizer.bytes).c_str());
  std::printf("  bits/weight   %.3f in the blocks, %.3f with embedding and "
              "head\n",
              model.bitsPerWeight(false), model.bitsPerWeight(true));
  for (const TargetInfo &target : model.targets) {
    std::string levels;
    for (const CodeInfo &code : target.code)
      levels += (levels.empty() ? "" : ", ") + code.level;
    std::printf(
        "  target        %s (%s): %zu kernels, %zu dispatches, up to %u "
        "tokens at once\n",
        printable(target.name).c_str(), printable(levels).c_str(),
        target.kernels.size(), target.program.dispatches.size(),
        target.program.maxTokens);
    std::printf("                kv cache %s, %s per token\n",
                printable(model.kvCache).c_str(),
                formatBytes(cacheBytesPerToken(target.program)).c_str());
  }
  const ProvenanceInfo &p = model.provenance;
  std::printf("  source        %s, sha256 %s\n", printable(p.source).c_str(),
              p.sourceSha256.empty() ? "unknown"
                                     : printable(p.sourceSha256).c_str());
  std::printf("  pipeline      %s\n", printable(p.pipeline).c_str());
  if (!p.calibration.empty())
    std::printf("  calibration   %s\n", printable(p.calibration).c_str());
  std::printf("  made by       %s\n", printable(p.toolVersion).c_str());
  std::vector<Json> methods;
  for (const LinearInfo &linear : model.linears)
    methods.push_back(parseOrQuote(linear.method));
  printSettings(methods);
  printLinears(model, methods);
}

void llq::tools::printPrograms(const ModelInfo &model) {
  for (const TargetInfo &target : model.targets) {
    const ProgramInfo &program = target.program;
    std::printf("\nprogram for %s: up to %u tokens, arena %s, scratch %s per "
                "thread + %" PRIu64 " B per position\n",
                printable(target.name).c_str(), program.maxTokens,
                formatBytes(program.arenaBytes).c_str(),
                formatBytes(program.scratchBytes).c_str(),
                program.scratchBytesPerPosition);
    for (size_t i = 0; i < program.buffers.size(); ++i) {
      const BufferInfo &buffer = program.buffers[i];
      std::printf("  %%%zu = %s \"%s\"", i, kindName(buffer.kind),
                  printable(buffer.name).c_str());
      if (buffer.kind == BufferKind::Weight)
        std::printf(
            ", %s\n",
            formatBytes(model.weights[buffer.weight].region.bytes).c_str());
      else if (buffer.kind == BufferKind::State)
        std::printf(", %" PRIu64 " B per position\n", buffer.bytesPerPosition);
      else if (buffer.kind == BufferKind::Temporary)
        std::printf(", %" PRIu64 " B per token at %" PRIu64 "\n",
                    buffer.bytesPerToken, buffer.offset);
      else
        std::printf(", %" PRIu64 " B per token\n", buffer.bytesPerToken);
    }
    for (size_t i = 0; i < program.dispatches.size(); ++i) {
      const DispatchInfo &dispatch = program.dispatches[i];
      std::printf("  %3zu: %s(", i,
                  printable(target.kernels[dispatch.kernel]).c_str());
      size_t firstWrite = dispatch.buffers.size() - dispatch.numWrites;
      for (size_t b = 0; b < dispatch.buffers.size(); ++b)
        std::printf("%s%%%u",
                    b == 0 && b == firstWrite ? "-> "
                    : b == firstWrite         ? " -> "
                    : b                       ? ", "
                                              : "",
                    dispatch.buffers[b]);
      std::printf(") items %u + %u per token%s\n", dispatch.items,
                  dispatch.itemsPerToken,
                  dispatch.outputsOnly ? ", outputs only" : "");
    }
  }
}
