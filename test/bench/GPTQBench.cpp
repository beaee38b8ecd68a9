//===- GPTQBench.cpp - Seconds to quantize one layer with GPTQ ------------===//
//
// llq-gptq-bench N K GROUP THREADS: a layer W[N, K] of normal weights, its
// second moment from random inputs with channels of different size, neither of
// them timed; then the factorization and the rounding, timed. gptq_bench.py
// runs this beside the published algorithm in NumPy.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llq/Numerics/GPTQ.h"
#include "llq/Numerics/Random.h"
#include "llq/Numerics/SecondMoment.h"
#include "llq/Support/ParallelFor.h"

#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>

using namespace llq;
using namespace llq::numerics;

static double seconds() {
  return std::chrono::duration<double>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

/// Writes `values` to `path` as raw f32; exits on failure.
static void write(const char *directory, const char *name,
                  const std::vector<float> &values) {
  std::string path = std::string(directory) + "/" + name;
  std::FILE *file = std::fopen(path.c_str(), "wb");
  if (!file || std::fwrite(values.data(), sizeof(float), values.size(), file) !=
                   values.size()) {
    std::fprintf(stderr, "llq-gptq-bench: error: cannot write %s\n",
                 path.c_str());
    std::exit(1);
  }
  std::fclose(file);
}

int main(int argc, char **argv) {
  if (argc < 5) {
    std::fprintf(stderr, "usage: llq-gptq-bench N K GROUP THREADS [DIRECTORY]\n"
                         "DIRECTORY receives weights.f32 and moment.f32\n");
    return 2;
  }
  const int64_t rows = std::atoll(argv[1]), columns = std::atoll(argv[2]);
  GPTQOptions options;
  UniformGridOptions grid;
  grid.groupSize = options.groupSize = std::atoll(argv[3]);
  ThreadPool pool(static_cast<unsigned>(std::atoi(argv[4])));

  std::vector<float> weights(rows * columns), sizes(columns);
  Random(1).fillNormal(0, weights, 0.02f);
  Random(2).fillNormal(0, sizes);
  const int64_t tokens = 2048;
  std::vector<float> inputs(tokens * columns);
  double begin = seconds();
  SecondMoment moment(columns);
  for (int batch = 0; batch != 2; ++batch) {
    Random(3 + batch).fillNormal(0, inputs);
    // A part that all channels share makes them correlated.
    for (int64_t t = 0; t != tokens; ++t)
      for (int64_t k = 0; k != columns; ++k)
        inputs[t * columns + k] =
            std::exp(sizes[k]) *
            (inputs[t * columns + k] + inputs[t * columns + k % 64]);
    double start = seconds();
    if (moment.add(inputs.data(), tokens, pool))
      return 1;
    if (batch == 1)
      std::printf("second_moment_seconds %.3f tokens %ld\n", seconds() - start,
                  static_cast<long>(tokens));
  }
  std::vector<float> matrix = moment.meanMatrix(pool);
  std::printf("setup_seconds %.1f\n", seconds() - begin);
  if (argc > 5) {
    write(argv[5], "weights.f32", weights);
    write(argv[5], "moment.f32", matrix);
  }

  begin = seconds();
  auto factor = GPTQFactor::create(matrix, columns, options, pool);
  if (!factor)
    return 1;
  double factored = seconds();
  std::vector<uint8_t> codes(weights.size());
  const size_t groups = rows * grid.groupsPerRow(columns);
  std::vector<float> scales(groups);
  std::vector<uint8_t> zeros(groups);
  CompensatedLoss loss;
  if (quantizeGPTQ(weights.data(), rows, *factor, grid,
                   {codes.data(), scales.data(), zeros.data()}, loss, pool))
    return 1;
  double end = seconds();
  std::printf("factor_seconds %.3f\nround_seconds %.3f\nseconds %.3f\n",
              factored - begin, end - factored, end - begin);
  std::printf("double_precision %d damp %g\nsquared_errors %.9g\n"
              "output_error %.9g\n",
              factor->usedDoublePrecision(), factor->damp(), loss.squaredErrors,
              loss.outputError);

  // How the loss compares with its definition, and with plain rounding.
  std::vector<float> delta(weights.size());
  dequantizeRows(codes.data(), scales.data(), zeros.data(), rows, columns, grid,
                 delta.data());
  for (size_t i = 0; i != delta.size(); ++i)
    delta[i] = weights[i] - delta[i];
  std::printf("output_error_measured %.9g\n",
              factor->outputError(delta.data(), rows, pool));
  if (quantizeRows(weights.data(), rows, columns, grid,
                   {codes.data(), scales.data(), zeros.data()}))
    return 1;
  dequantizeRows(codes.data(), scales.data(), zeros.data(), rows, columns, grid,
                 delta.data());
  for (size_t i = 0; i != delta.size(); ++i)
    delta[i] = weights[i] - delta[i];
  std::printf("output_error_rtn %.9g\n",
              factor->outputError(delta.data(), rows, pool));
}
