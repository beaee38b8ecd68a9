//===- llq-bench.cpp - Speed of a model on this machine -------------------===//
//
// Prefill and decode rates beside the machine's read bandwidth. The three are
// measured in turn, run by run: on a shared machine only figures of the same
// moment can be compared.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "ReadBandwidth.h"
#include "ShapeModel.h"

#include "support/Json.h"
#include "support/ModelOptions.h"
#include "support/Progress.h"
#include "support/Tool.h"

#include <chrono>
#include <sys/resource.h>

using namespace llq::tools;
using llqrt::Session;
using llqrt::Status;

namespace {

struct BenchOptions {
  ModelOptions model;
  ThreadOptions threads;
  std::string shape, accuracy, kvCache;
  std::string quantize = "rtn(bits=4,group-size=32,head-bits=4,"
                         "embedding-bits=4)";
  uint32_t prompt = 512, generate = 128, depth = 0, runs = 5;
  bool json = false;

  void addTo(CLI::App &app);
};

class Bench {
public:
  explicit Bench(const BenchOptions &options) : options(options) {}

  Status run(std::shared_ptr<const llqrt::Model> model);
  Json json() const;
  void print() const;

private:
  Status prefill(double &seconds);
  Status decode(double &seconds);
  std::vector<int32_t> randomIds(size_t count);

  const BenchOptions &options;
  std::unique_ptr<Session> session;
  uint64_t randomState = 1;
  double bytesPerToken = 0;
  uint64_t cacheBytesPerToken = 0;
  /// Multiplications and additions of the blocks' linear layers per token.
  double operationsPerToken = 0;
  uint64_t peakBytes = 0;
  Rate prefillRate, prefillOps, decodeRate, decodeBytes, bandwidth;
};

} // namespace

void BenchOptions::addTo(CLI::App &app) {
  model.addTo(app, /*required=*/false);
  threads.addTo(app);
  auto count = CLI::Range(0u, 1u << 20);
  app.add_option("-p,--prompt", prompt, "Tokens of the prompt; 0: no prefill")
      ->check(count)
      ->capture_default_str();
  app.add_option("-n,--generate", generate, "Tokens to decode; 0: no decoding")
      ->check(count)
      ->capture_default_str();
  app.add_option("--depth", depth, "Tokens in the cache before decoding starts")
      ->check(count)
      ->capture_default_str();
  app.add_option("--runs", runs, "Measured runs after one that is not")
      ->check(CLI::Range(1u, 1000u))
      ->capture_default_str();
  auto *ofShape = app.add_option(
      "--shape", shape,
      "Instead of a file: a model of this shape with random weights "
      "(llama3.2-1b, llama3-8b; llama3-8b:2 for two of its layers)");
  app.add_option("--quantize", quantize, "How to quantize it")
      ->capture_default_str()
      ->needs(ofShape);
  app.add_option("--accuracy", accuracy, "Its accuracy level: exact or int8")
      ->needs(ofShape);
  app.add_option("--kv-cache", kvCache, "Its KV cache: f32, f16, int8 or int4")
      ->needs(ofShape);
  app.add_flag("--json", json, "Print one JSON object");
}

static double secondsSince(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start)
      .count();
}

/// The same ids in every run of the tool.
std::vector<int32_t> Bench::randomIds(size_t count) {
  uint32_t limit = session->model().info().architecture.tokenLimit;
  std::vector<int32_t> ids(count);
  for (int32_t &id : ids) {
    randomState = randomState * 6364136223846793005u + 1442695040888963407u;
    id = static_cast<int32_t>((randomState >> 33) % limit);
  }
  return ids;
}

Status Bench::prefill(double &seconds) {
  std::vector<int32_t> ids = randomIds(options.prompt);
  LLQRT_RETURN_IF_ERROR(session->truncate(0));
  std::span<const float> logits;
  auto start = std::chrono::steady_clock::now();
  LLQRT_RETURN_IF_ERROR(session->evaluate(ids, 1, logits));
  seconds = secondsSince(start);
  return {};
}

Status Bench::decode(double &seconds) {
  LLQRT_RETURN_IF_ERROR(session->truncate(0));
  std::span<const float> logits;
  if (options.depth)
    LLQRT_RETURN_IF_ERROR(
        session->evaluate(randomIds(options.depth), 0, logits));
  std::vector<int32_t> ids = randomIds(options.generate);
  auto start = std::chrono::steady_clock::now();
  for (size_t i = 0; i < ids.size(); ++i)
    LLQRT_RETURN_IF_ERROR(
        session->evaluate(std::span(ids).subspan(i, 1), 1, logits));
  seconds = secondsSince(start);
  return {};
}

Status Bench::run(std::shared_ptr<const llqrt::Model> model) {
  const llqrt::ModelInfo &info = model->info();
  llqrt::SessionOptions sessionOptions;
  options.threads.apply(sessionOptions);
  sessionOptions.capacity =
      std::max(options.prompt, options.depth + options.generate);
  LLQRT_RETURN_IF_ERROR(
      Session::create(std::move(model), sessionOptions, session));
  const llqrt::ProgramInfo &program = info.findTarget("cpu")->program;
  bytesPerToken = static_cast<double>(weightBytesPerToken(info, program));
  cacheBytesPerToken = llqrt::cacheBytesPerToken(program);
  for (const llqrt::LinearInfo &linear : info.linears)
    if (linear.inBlock)
      operationsPerToken += 2.0 * linear.rows * linear.columns;

  Progress progress("measuring", options.runs + 1);
  ReadBandwidth reader;
  for (uint32_t run = 0; run <= options.runs; ++run) {
    double seconds = 0;
    if (options.prompt) {
      LLQRT_RETURN_IF_ERROR(prefill(seconds));
      if (run) {
        prefillRate.add(options.prompt / seconds);
        prefillOps.add(options.prompt * operationsPerToken / seconds / 1e9);
      }
    }
    if (options.generate) {
      LLQRT_RETURN_IF_ERROR(decode(seconds));
      if (run) {
        decodeRate.add(options.generate / seconds);
        decodeBytes.add(options.generate * bytesPerToken / seconds / 1e9);
      }
    }
    if (run == 0) {
      // Later runs need no more; the buffer of the bandwidth is not the
      // model's.
      rusage usage;
      getrusage(RUSAGE_SELF, &usage);
      peakBytes = static_cast<uint64_t>(usage.ru_maxrss) * 1024;
      LLQRT_RETURN_IF_ERROR(reader.prepare(session->threads()));
    } else {
      bandwidth.add(reader.measure(session->threads()));
    }
    progress.advance();
  }
  return {};
}

Json Bench::json() const {
  Json decode = nullptr, prefill = nullptr;
  if (options.generate)
    decode = {
        {"tok_s", decodeRate.json()},
        {"bytes_per_token", static_cast<uint64_t>(bytesPerToken)},
        {"gb_s", decodeBytes.json()},
        {"share_of_bandwidth", decodeBytes.median() / bandwidth.median()}};
  if (options.prompt)
    prefill = {{"tok_s", prefillRate.json()}, {"gop_s", prefillOps.json()}};
  return {{"model", options.shape.empty() ? options.model.path : options.shape},
          {"bits_per_weight",
           session->model().info().bitsPerWeight(/*total=*/false)},
          {"level", session->level()},
          {"threads", session->threads().size()},
          {"prompt", options.prompt},
          {"generate", options.generate},
          {"depth", options.depth},
          {"decode", decode},
          {"prefill", prefill},
          {"kv_cache",
           {{"type", session->model().info().kvCache},
            {"bytes_per_token", cacheBytesPerToken}}},
          {"read_bandwidth_gb_s", bandwidth.json()},
          {"peak_rss_bytes", peakBytes}};
}

/// "median unit [min .. max]"
static std::string formatRate(const Rate &rate, const char *unit) {
  Json json = rate.json();
  char text[96];
  std::snprintf(text, sizeof(text), "%.2f %s [%.2f .. %.2f]",
                json["median"].get<double>(), unit, json["min"].get<double>(),
                json["max"].get<double>());
  return text;
}

void Bench::print() const {
  std::printf(
      "%s: %s, %u threads, %u runs\n",
      (options.shape.empty() ? options.model.path : options.shape).c_str(),
      session->level().c_str(), session->threads().size(), options.runs);
  if (options.prompt)
    std::printf("  prefill %u: %s, %s\n", options.prompt,
                formatRate(prefillRate, "tok/s").c_str(),
                formatRate(prefillOps, "Gop/s").c_str());
  if (options.generate)
    std::printf("  decode %u: %s, %s: %.1f %% of the read bandwidth, %.1f MB "
                "per token\n",
                options.generate, formatRate(decodeRate, "tok/s").c_str(),
                formatRate(decodeBytes, "GB/s").c_str(),
                100 * decodeBytes.median() / bandwidth.median(),
                bytesPerToken / 1e6);
  std::printf("  read bandwidth: %s\n", formatRate(bandwidth, "GB/s").c_str());
  std::printf("  peak memory: %.1f MB; cache %s: %.1f KB per token\n",
              static_cast<double>(peakBytes) / 1e6,
              session->model().info().kvCache.c_str(),
              static_cast<double>(cacheBytesPerToken) / 1e3);
}

int main(int argc, char **argv) {
  Tool tool("llq-bench",
            "Measures prefill and decode speed and the share of the machine's "
            "read bandwidth that decoding reaches.",
            "  llq-bench model.llq -p 512 -n 128 --threads 2\n"
            "  llq-bench model.llq --json | jq .decode.tok_s.median\n"
            "  llq-bench --shape llama3.2-1b --quantize "
            "'rtn(bits=3,group-size=64)'");
  BenchOptions options;
  options.addTo(tool.app);
  return tool.run(argc, argv, [&]() -> Status {
    if (options.model.path.empty() == options.shape.empty())
      return usageError("give either a model file or --shape");
    if (options.prompt == 0 && options.generate == 0)
      return usageError("-p 0 and -n 0 leave nothing to measure");
    std::shared_ptr<const llqrt::Model> model;
    {
      ShapeModel shapeModel;
      ModelOptions source = options.model;
      if (!options.shape.empty()) {
        std::vector<std::string> arguments = {"--quantize", options.quantize};
        if (!options.accuracy.empty())
          arguments.insert(arguments.end(), {"--accuracy", options.accuracy});
        if (!options.kvCache.empty())
          arguments.insert(arguments.end(), {"--kv-cache", options.kvCache});
        LLQRT_RETURN_IF_ERROR(shapeModel.compile(options.shape, arguments));
        source.path = shapeModel.path();
      }
      LLQRT_RETURN_IF_ERROR(source.open(model));
      // The mapped file outlives its name.
    }
    Bench bench(options);
    LLQRT_RETURN_IF_ERROR(bench.run(std::move(model)));
    if (options.json)
      return printJson(bench.json());
    bench.print();
    return {};
  });
}
