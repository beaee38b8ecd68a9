//===- ToolsTest.cpp - llq-run, llq-eval, llq-bench, llq-inspect ----------===//
//
// Runs the tools on the hand-made model: JSON keys, numbers against references,
// exit statuses, one-line errors, no partial output.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "TestModel.h"
#include "TestTokenizer.h"

#include "gtest/gtest.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sys/wait.h>
#include <unistd.h>

using namespace llqrt::test;
using Json = nlohmann::json;
namespace fs = std::filesystem;

namespace {

struct Outcome {
  int status;
  std::string output, errors;

  Json json() const {
    Json value = Json::parse(output, nullptr, false);
    EXPECT_FALSE(value.is_discarded()) << output << errors;
    return value;
  }
};

class ToolsTest : public testing::Test {
protected:
  void SetUp() override {
    folder = fs::path(testing::TempDir()) /
             ("llq-tools-" + std::to_string(getpid()));
    fs::create_directories(folder);
    TestModel parts;
    write("plain.llq", parts.build());
    parts.tokenizer = makeTestTokenizer();
    write("m.llq", parts.build());
  }
  void TearDown() override { fs::remove_all(folder); }

  void write(const std::string &name, const std::vector<std::byte> &bytes) {
    write(name, std::string(reinterpret_cast<const char *>(bytes.data()),
                            bytes.size()));
  }
  void write(const std::string &name, const std::string &text) {
    std::ofstream(folder / name, std::ios::binary) << text;
  }
  std::string read(const std::string &name) {
    std::ifstream file(folder / name, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }

  /// Runs a shell command in the test's folder.
  Outcome run(const std::string &command) {
    std::string shell = "cd '" + folder.string() + "' && PATH='" +
                        LLQ_TOOLS_FOLDER "':$PATH && ( " + command +
                        " ) >out 2>err";
    int status = std::system(shell.c_str());
    return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, read("out"),
            read("err")};
  }
  /// Expects `command` to end with `status` and one line that holds `message`.
  void expectError(const std::string &command, int status,
                   const std::string &message) {
    Outcome outcome = run(command);
    EXPECT_EQ(outcome.status, status) << command << "\n" << outcome.errors;
    EXPECT_NE(outcome.errors.find(": error: "), std::string::npos);
    EXPECT_NE(outcome.errors.find(message), std::string::npos)
        << outcome.errors;
    EXPECT_EQ(std::count(outcome.errors.begin(), outcome.errors.end(), '\n'),
              1);
    EXPECT_EQ(outcome.output, "");
  }

  fs::path folder;
};

} // namespace

/// Greedy continuation of `sequence` by the reference.
static std::vector<int32_t> greedyTokens(std::vector<int32_t> sequence,
                                         size_t count) {
  std::vector<int32_t> tokens;
  while (tokens.size() < count) {
    std::vector<float> logits = referenceLogits(sequence);
    auto row = logits.end() - vocab;
    tokens.push_back(
        static_cast<int32_t>(std::max_element(row, logits.end()) - row));
    sequence.push_back(tokens.back());
  }
  return tokens;
}

TEST_F(ToolsTest, RunGeneratesFromIds) {
  Json result =
      run("llq-run plain.llq --ids '1, 2,3' -n 6 --json --threads 2").json();
  EXPECT_EQ(result["prompt_tokens"], Json({1, 2, 3}));
  EXPECT_EQ(result["tokens"], Json(greedyTokens({1, 2, 3}, 6)));
  EXPECT_EQ(result["finish"], "length");
  EXPECT_GT(result["prefill_tok_s"].get<double>(), 0);
  EXPECT_GT(result["decode_tok_s"].get<double>(), 0);
  EXPECT_EQ(result["kv_cache"]["type"], "f32");
  EXPECT_EQ(result["kv_cache"]["bytes"],
            result["kv_cache"]["tokens"].get<uint64_t>() * hidden * 4);
}

TEST_F(ToolsTest, RunTakesText) {
  Json result =
      run("llq-run m.llq --prompt 'ab' -n 5 --ignore-eos --json").json();
  std::vector<int32_t> prompt = {bosId, letterId('a'), letterId('b')};
  EXPECT_EQ(result["prompt_tokens"], Json(prompt));
  EXPECT_EQ(result["tokens"], Json(greedyTokens(prompt, 5)));
  Outcome text = run("llq-run m.llq --prompt 'ab' -n 5 --ignore-eos");
  EXPECT_EQ(text.output, result["text"].get<std::string>() + "\n");

  write("prompt.txt", "ab");
  EXPECT_EQ(
      run("llq-run m.llq --prompt-file prompt.txt -n 5 --ignore-eos").output,
      text.output);
  result = run("llq-run m.llq --prompt 'ab' --no-bos -n 1 --json").json();
  EXPECT_EQ(result["prompt_tokens"], Json({letterId('a'), letterId('b')}));
}

TEST_F(ToolsTest, RunChatsOnceAndInTurns) {
  Json once = run("llq-run m.llq --chat --prompt 'hi' -n 4 --json").json();
  // <s>user hi<|im_end|>assistant_
  EXPECT_EQ(once["prompt_tokens"].size(), 1u + 7 + 1 + 10);
  EXPECT_EQ(once["prompt_tokens"][8], endOfTurnId);

  Outcome turns = run("printf 'hi\\n\\n/reset\\nhi\\n' | llq-run m.llq --chat "
                      "-n 4");
  EXPECT_EQ(turns.status, 0) << turns.errors;
  std::string answer = once["text"].get<std::string>() + "\n";
  EXPECT_EQ(turns.output, answer + answer);

  // The second turn reuses the cache and must answer as a fresh one would.
  Outcome two = run("printf 'hi\\nyou\\n' | llq-run m.llq --chat -n 4");
  EXPECT_EQ(two.status, 0) << two.errors;
  EXPECT_EQ(two.output.substr(0, answer.size()), answer);
}

TEST_F(ToolsTest, RunErrors) {
  expectError("llq-run m.llq", 2, "--prompt");
  expectError("llq-run", 2, "model");
  expectError("llq-run m.llq --prompt a --ids 1", 2, "--ids");
  expectError("llq-run m.llq --ids 1,x", 2, "byte 3");
  expectError("llq-run m.llq --ids 1,40", 2, "token id 40");
  expectError("llq-run m.llq --ids 1 --threads 0", 2, "--threads");
  expectError("llq-run m.llq --ids 1 --temperature -1", 2, "--temperature");
  expectError("llq-run m.llq --ids 1 --top-p 0", 2, "top");
  expectError("llq-run m.llq --ids 1 --context 101", 2, "context");
  expectError("llq-run m.llq --prompt ''  --no-bos", 2, "no tokens");
  expectError("llq-run m.llq --bogus", 2, "bogus");
  expectError("llq-run '' --ids 1", 2, "give a model file");
  expectError("llq-run plain.llq --prompt a", 1, "no tokenizer");
  expectError("llq-run plain.llq --chat", 1, "no tokenizer");
  expectError("llq-run missing.llq --ids 1", 1, "missing.llq");
  expectError("llq-run m.llq --prompt-file missing.txt", 1, "missing.txt");
  write("bad.llq", read("m.llq").substr(0, 70000));
  expectError("llq-run bad.llq --ids 1", 1, "truncated");
}

TEST_F(ToolsTest, RunRefusesSeedsThatWouldBeOthers) {
  for (const char *seed : {"-1", "18446744073709551616", "1.5", "x"})
    expectError(std::string("llq-run m.llq --ids 1 --seed ") + seed, 2,
                "--seed");
  EXPECT_EQ(
      run("llq-run m.llq --ids 1 -n 1 --seed 18446744073709551615").status, 0);
}

TEST_F(ToolsTest, FoldersInThePlaceOfFilesAreNamed) {
  fs::create_directory(folder / "folder");
  expectError("llq-run folder --ids 1", 1, "folder");
  expectError("llq-run m.llq --prompt-file folder", 1, "folder");
  expectError("llq-eval m.llq --logits folder -o x.npy", 1, "folder");
  expectError("llq-eval m.llq --perplexity a=folder --window 2", 1, "folder");
}

TEST_F(ToolsTest, MessagesAreOneLineOfBoundedLength) {
  expectError("llq-run m.llq --prompt-file \"$(printf 'a\\nb\\033[31m')\"", 1,
              "a b?[31m");
  Outcome outcome =
      run("llq-run m.llq --ids \"$(yes 1, | head -c 100000)x\" 2>err");
  EXPECT_EQ(outcome.status, 2);
  EXPECT_LT(read("err").size(), 1100u);
}

TEST_F(ToolsTest, EvalMeasuresPerplexity) {
  // Four windows of five tokens, each scored on its own.
  write("text.txt", "the quick brown fox jumps");
  Outcome outcome = run("llq-eval m.llq --perplexity a=text.txt --window 5 "
                        "--json --threads 2");
  Json result = outcome.json()["perplexity"]["a"];
  std::string text = "the quick brown fox jumps";
  std::vector<double> losses;
  for (size_t window = 0; window < 5; ++window) {
    std::vector<int32_t> ids;
    for (char c : text.substr(window * 5, 5))
      ids.push_back(c == ' ' ? spaceId : letterId(c));
    std::vector<float> logits = referenceLogits(ids);
    for (size_t t = 0; t < 4; ++t) {
      double sum = 0, largest = -1e30;
      for (size_t i = 0; i < vocab; ++i)
        largest = std::max<double>(largest, logits[t * vocab + i]);
      for (size_t i = 0; i < vocab; ++i)
        sum += std::exp(logits[t * vocab + i] - largest);
      losses.push_back(std::log(sum) + largest -
                       logits[t * vocab + static_cast<size_t>(ids[t + 1])]);
    }
  }
  double mean = 0, variance = 0;
  for (double loss : losses)
    mean += loss / 20;
  for (double loss : losses)
    variance += (loss - mean) * (loss - mean) / 19;
  EXPECT_NEAR(result["nll"].get<double>(), mean, 1e-6 * mean);
  EXPECT_NEAR(result["stderr"].get<double>(), std::sqrt(variance / 20),
              1e-6 * mean);
  EXPECT_NEAR(result["ppl"].get<double>() / std::exp(mean), 1, 1e-4);
  EXPECT_EQ(result["tokens"], 20);
  EXPECT_EQ(result["windows"], 5);
  EXPECT_NE(result["protocol"].get<std::string>().find(
                "window=5 stride=5 bos=none windows=all"),
            std::string::npos);

  // The same figures for any number of threads.
  EXPECT_EQ(run("llq-eval m.llq --perplexity a=text.txt --window 5 --json "
                "--threads 1")
                .output,
            outcome.output);
}

TEST_F(ToolsTest, EvalPlacesBos) {
  write("text.txt", "abcdefghij");
  auto tokens = [&](const std::string &options) {
    Json all = run("llq-eval m.llq --perplexity a=text.txt --window 5 --json " +
                   options)
                   .json();
    return std::pair<int, int>(all["perplexity"]["a"]["windows"],
                               all["perplexity"]["a"]["tokens"]);
  };
  EXPECT_EQ(tokens(""), (std::pair{2, 8}));
  EXPECT_EQ(tokens("--windows 1"), (std::pair{1, 4}));
  EXPECT_EQ(tokens("--bos stream"), (std::pair{2, 8}));
  EXPECT_EQ(tokens("--bos window"), (std::pair{2, 8}));
  // Eleven tokens with BOS are no third window; four per window would be.
  write("ids.ids", "4 5 6 7 8\n9 10 11 12 13\n1 2\n");
  Json ids =
      run("llq-eval plain.llq --perplexity a=ids.ids --window 5 --json").json();
  EXPECT_EQ(ids["perplexity"]["a"]["windows"], 2);
}

TEST_F(ToolsTest, EvalWritesAndComparesLogits) {
  write("ids.txt", "1 2 3 4 5 6 7 8 9 10 11\n\n12,13\n");
  Outcome written = run("llq-eval plain.llq --logits ids.txt -o logits.npy");
  ASSERT_EQ(written.status, 0) << written.errors;
  std::string file = read("logits.npy");
  std::vector<float> expected =
      referenceLogits({1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11});
  std::vector<float> second = referenceLogits({12, 13});
  expected.insert(expected.end(), second.begin(), second.end());
  size_t bytes = expected.size() * sizeof(float);
  ASSERT_EQ((file.size() - bytes) % 64, 0u);
  EXPECT_NE(file.find("'shape': (13, 40)"), std::string::npos);
  EXPECT_EQ(
      std::memcmp(file.data() + file.size() - bytes, expected.data(), bytes),
      0);

  std::string compare =
      "llq-eval plain.llq --logits ids.txt --reference logits.npy --json";
  Json same = run(compare).json();
  EXPECT_EQ(same["kl"]["mean"], 0);
  EXPECT_EQ(same["top1_agreement"], 1);
  EXPECT_EQ(same["max_abs_error"], 0);

  // One logit of the reference moved by 0.5.
  float value;
  std::memcpy(&value, file.data() + file.size() - 4, 4);
  value += 0.5f;
  std::memcpy(file.data() + file.size() - 4, &value, 4);
  write("logits.npy", file);
  Json moved = run(compare).json();
  EXPECT_NEAR(moved["max_abs_error"].get<double>(), 0.5, 1e-4);
  EXPECT_GE(moved["kl"]["max"].get<double>(),
            moved["kl"]["mean"].get<double>());
}

TEST_F(ToolsTest, EvalErrors) {
  write("text.txt", "abc");
  write("ids.txt", "1 2 3\n");
  write("bad.txt", "1 2\n3 99\n");
  std::string base = "llq-eval m.llq ";
  expectError(base, 2, "--perplexity");
  expectError(base + "--perplexity text.txt", 2, "NAME=FILE");
  expectError(base + "--perplexity a=text.txt", 2, "--window");
  expectError(base + "--perplexity a=text.txt --window 50", 1, "text.txt");
  expectError(base + "--perplexity a=text.txt --bos x --window 2", 2, "--bos");
  expectError(base + "--logits ids.txt", 2, "-o");
  expectError(base + "-o x.npy", 2, "--logits");
  expectError(base + "--logits bad.txt -o x.npy", 1, "bad.txt:2");
  expectError(base + "--logits ids.txt --reference text.txt", 1, "text.txt");
  ASSERT_EQ(run(base + "--logits ids.txt -o v.npy").status, 0);
  std::string array = read("v.npy");
  array[6] = 9;
  write("v.npy", array);
  expectError(base + "--logits ids.txt --reference v.npy", 1, "version 9");
  expectError(base + "--logits ids.txt -o missing/x.npy", 1, "missing/x.npy");
  // No output is left behind by a failure half way.
  ASSERT_EQ(run(base + "--logits ids.txt -o l.npy").status, 0);
  write("l.npy", read("l.npy").substr(0, 300));
  expectError(base + "--logits ids.txt --reference l.npy -o new.npy", 1,
              "truncated");
  for (const auto &entry : fs::directory_iterator(folder))
    EXPECT_EQ(entry.path().filename().string().find("new.npy"),
              std::string::npos);
}

TEST_F(ToolsTest, OutputsAreRefusedBeforeTheWork) {
  write("ids.txt", "1 2 3\n");
  std::string model = read("m.llq");
  std::string base = "llq-eval m.llq --logits ids.txt -o ";
  fs::create_directory(folder / "folder");
  expectError(base + "folder", 1, "folder");
  ASSERT_EQ(run("mkfifo pipe").status, 0);
  expectError(base + "pipe", 1, "pipe");
  // What is read as well would be gone.
  fs::create_symlink("ids.txt", folder / "link.txt");
  for (const char *input : {"m.llq", "./m.llq", "ids.txt", "link.txt"})
    expectError(base + input, 2, input);
  EXPECT_EQ(read("ids.txt"), "1 2 3\n");
  EXPECT_EQ(read("m.llq"), model);
}

TEST_F(ToolsTest, OutputsGoWhereALinkLeads) {
  write("ids.txt", "1 2 3\n");
  write("old.npy", std::string("old"));
  fs::create_symlink("old.npy", folder / "link.npy");
  ASSERT_EQ(run("llq-eval m.llq --logits ids.txt -o link.npy").status, 0);
  EXPECT_TRUE(fs::is_symlink(folder / "link.npy"));
  EXPECT_EQ(read("old.npy").substr(1, 5), "NUMPY");
}

TEST_F(ToolsTest, InspectShowsTheModel) {
  Json result = run("llq-inspect m.llq --json --program").json();
  EXPECT_EQ(result["architecture"]["hidden"], hidden);
  EXPECT_EQ(result["architecture"]["vocab"], vocab);
  EXPECT_EQ(result["architecture"]["rope_scaling"], nullptr);
  EXPECT_EQ(result["bytes"]["file"], fs::file_size(folder / "m.llq"));
  EXPECT_EQ(result["bits_per_weight"], 4.0);
  EXPECT_EQ(result["linears"][1]["shape"], Json({vocab, hidden}));
  EXPECT_EQ(result["linears"][1]["bits_per_weight"], 32.0);
  EXPECT_EQ(result["targets"][0]["name"], "cpu");
  EXPECT_EQ(result["targets"][0]["kernels"].size(), 4u);
  EXPECT_EQ(result["targets"][0]["kv_cache_bytes_per_token"], hidden * 4);
  EXPECT_EQ(result["targets"][0]["program"]["dispatches"].size(), 4u);
  EXPECT_EQ(result["provenance"]["source"], "test.onnx");
  Outcome table = run("llq-inspect m.llq --program");
  EXPECT_NE(table.output.find("lm_head"), std::string::npos);
  EXPECT_NE(table.output.find("kv cache f32, 64 B per token"),
            std::string::npos);
  EXPECT_NE(table.output.find("attend(%3, %2 -> %4)"), std::string::npos);
  expectError("llq-inspect nothing.llq", 1, "nothing.llq");
}

TEST_F(ToolsTest, BenchMeasures) {
  Json result =
      run("llq-bench plain.llq -p 16 -n 8 --threads 1 --runs 3 --json").json();
  for (const Json &rate :
       {result["decode"]["tok_s"], result["decode"]["gb_s"],
        result["prefill"]["tok_s"], result["prefill"]["gop_s"],
        result["read_bandwidth_gb_s"]}) {
    EXPECT_EQ(rate["runs"], 3);
    EXPECT_GT(rate["median"].get<double>(), 0);
    EXPECT_LE(rate["min"], rate["median"]);
    EXPECT_LE(rate["median"], rate["max"]);
  }
  EXPECT_EQ(result["decode"]["bytes_per_token"],
            hidden * 4 + vocab * hidden * 4);
  EXPECT_GT(result["peak_rss_bytes"].get<double>(), 0);
  EXPECT_GT(result["decode"]["share_of_bandwidth"].get<double>(), 0);
  expectError("llq-bench", 2, "--shape");
  expectError("llq-bench plain.llq --quantize 'rtn(bits=4)'", 2, "--shape");
  expectError("llq-bench plain.llq -p 0 -n 0", 2, "nothing to measure");
  expectError("llq-bench plain.llq -p 200", 2, "context");
}

TEST_F(ToolsTest, HelpAndVersion) {
  for (const char *tool : {"llq-run", "llq-eval", "llq-bench", "llq-inspect"}) {
    Outcome help = run(std::string(tool) + " --help");
    EXPECT_EQ(help.status, 0);
    EXPECT_NE(help.output.find("Examples:"), std::string::npos);
    Outcome version = run(std::string(tool) + " --version");
    EXPECT_EQ(version.status, 0);
    EXPECT_EQ(version.output.find(tool), 0u);
  }
}
