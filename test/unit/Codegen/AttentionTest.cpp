//===- AttentionTest.cpp - Rotation, cache and attention ------------------===//
//
// A sequence of tokens goes through the kernels that rotate and append and
// through attention, cut into calls in several ways, over a cache that holds
// NaN wherever nothing has been written.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "KernelHarness.h"

#include "llq/Numerics/Float16.h"

#include <cmath>

using namespace mlir;
using namespace llq;
using namespace llq::test;

namespace {

/// One attention, its projections in buffers of their own or parts of one.
struct AttentionCase {
  AttentionShape shape;
  bool interleaved, rotateQuery, rotateKey, fused;

  int64_t getColumns() const { return shape.heads * shape.headDim; }
  int64_t getCacheColumns() const { return shape.kvHeads * shape.headDim; }

  RopeAppendKernel getAppend() const {
    int64_t q = getPaddedRows(getColumns()),
            k = getPaddedRows(getCacheColumns());
    if (fused)
      return {shape, 0,         q + 2 * k,   q,           q + 2 * k,
              q + k, q + 2 * k, interleaved, rotateQuery, rotateKey};
    return {shape, 0, q, 0, k, 0, k, interleaved, rotateQuery, rotateKey};
  }
  AttentionKernel getAttention() const {
    return {shape, float(1 / std::sqrt(double(shape.headDim)))};
  }
};

/// Lengths of the calls that a sequence is cut into.
using Cut = std::vector<int64_t>;

class AttentionRunner {
public:
  AttentionRunner(const KernelModule &module, const AttentionCase &test,
                  int64_t length, std::mt19937 &random);

  /// Runs the sequence in calls of the lengths of `cut`; the items of each in
  /// `parts` ranges.
  void run(const Cut &cut, int64_t parts);
  void checkRotatedQueries() const;
  void checkCache() const;
  /// Compares with f64 over what the cache holds; returns the largest error
  /// relative to the largest value.
  double checkAttention() const;

  std::vector<float> y;

private:
  float q(int64_t t, int64_t c) const { return rows[0][t * qStride + c]; }
  /// Element `d` of a head of row t of `from`, rotated if wanted, in the order
  /// of operations of the kernels.
  float rotated(int64_t t, const std::vector<float> &from, int64_t stride,
                int64_t head, int64_t d, bool rotates) const;
  /// What the cache holds: the stored number times its scale.
  double cached(bool key, int64_t position, int64_t head, int64_t d) const;
  const char *head(int64_t position, int64_t h) const {
    return cache.data() + position / 16 * test.shape.getBlockBytes() +
           h * test.shape.getHeadBytes();
  }
  template <typename T> static T load(const char *from, int64_t index) {
    T value;
    std::memcpy(&value, from + index * sizeof(T), sizeof(T));
    return value;
  }

  const KernelModule &module;
  const AttentionCase &test;
  int64_t length;
  int64_t qStride, kStride, padded, half, tableStride;
  /// Queries, keys, values [length, stride], unfused.
  std::vector<float> rows[3];
  std::vector<float> table;
  std::vector<float> rotatedQueries;
  Guarded cache;
};

AttentionRunner::AttentionRunner(const KernelModule &module,
                                 const AttentionCase &test, int64_t length,
                                 std::mt19937 &random)
    : module(module), test(test), length(length),
      qStride(getPaddedRows(test.getColumns())),
      kStride(getPaddedRows(test.getCacheColumns())),
      padded(getPaddedColumns(test.getColumns())), half(test.shape.headDim / 2),
      tableStride((half + 15) / 16 * 32),
      cache((length + 15) / 16 * test.shape.getBlockBytes(), 0xff) {
  std::normal_distribution<float> normal;
  for (int i = 0; i < 3; ++i) {
    rows[i].resize(length * (i == 0 ? qStride : kStride));
    for (float &value : rows[i])
      value = normal(random) * (random() % 16 == 0 ? 8 : 1);
  }
  // Padding of the tables must not be read.
  table.assign(length * tableStride, std::nanf(""));
  for (int64_t t = 0; t < length; ++t)
    for (int64_t i = 0; i < half; ++i) {
      table[t * tableStride + i] = std::cos(t * std::pow(0.7, i));
      table[t * tableStride + tableStride / 2 + i] =
          std::sin(t * std::pow(0.7, i));
    }
}

void AttentionRunner::run(const Cut &cut, int64_t parts) {
  RopeAppendKernel append = test.getAppend();
  AttentionKernel attention = test.getAttention();
  cache.fill(0xff);
  y.assign(length * padded, 0);
  rotatedQueries.assign(length * padded, 0);
  int64_t past = 0;
  for (int64_t count : cut) {
    auto slice = [&](const std::vector<float> &from, int64_t stride) {
      return std::vector<float>(from.begin() + past * stride,
                                from.begin() + (past + count) * stride);
    };
    Guarded queries(slice(rows[0], qStride)), keys(slice(rows[1], kStride));
    Guarded values(slice(rows[2], kStride)), all(4 * count * append.qStride);
    Guarded angles(slice(table, tableStride));
    if (test.fused)
      for (int64_t t = 0; t < count; ++t) {
        float *to = all.as<float>() + t * append.qStride;
        std::memcpy(to, queries.as<float>() + t * qStride, 4 * qStride);
        std::memcpy(to + append.kOffset, keys.as<float>() + t * kStride,
                    4 * kStride);
        std::memcpy(to + append.vOffset, values.as<float>() + t * kStride,
                    4 * kStride);
      }
    Guarded turned(4 * count * padded, 0xff), out(4 * count * padded, 0xff);
    Call call = {module.find(append.getName()),
                 {&queries, &keys, &values, &angles, &turned, &cache},
                 {0, test.shape.kvHeads},
                 count,
                 past,
                 4 * test.shape.headDim};
    if (test.fused)
      call.buffers[0] = call.buffers[1] = call.buffers[2] = &all;
    call.run(0, count, parts);
    call.kernel = module.find(attention.getName());
    call.buffers = {&turned, &cache, &out};
    call.scratchBytes = 64;
    call.run(0, count, parts);
    // Asking for the last tokens only gives the same rows.
    std::vector<float> expected(out.as<float>(),
                                out.as<float>() + count * padded);
    out.fill(0xff);
    call.run(count / 2, count, parts);
    call.run(0, count / 2, 1);
    EXPECT_EQ(std::memcmp(expected.data(), out.data(), out.size()), 0);
    std::copy_n(out.as<float>(), count * padded, y.begin() + past * padded);
    std::copy_n(turned.as<float>(), count * padded,
                rotatedQueries.begin() + past * padded);
    past += count;
  }
}

float AttentionRunner::rotated(int64_t t, const std::vector<float> &from,
                               int64_t stride, int64_t head, int64_t d,
                               bool rotates) const {
  int64_t dim = test.shape.headDim;
  const float *x = from.data() + t * stride + head * dim;
  if (!rotates)
    return x[d];
  int64_t i = test.interleaved ? d / 2 : d % half;
  bool second = test.interleaved ? d % 2 : d >= half;
  float a = x[test.interleaved ? 2 * i : i];
  float b = x[test.interleaved ? 2 * i + 1 : i + half];
  float cosine = table[t * tableStride + i];
  float sine = table[t * tableStride + tableStride / 2 + i];
  // Apart, so that no multiply-add is formed.
  float left = (second ? b : a) * cosine;
  float right = (second ? a : b) * sine;
  return second ? left + right : left - right;
}

void AttentionRunner::checkRotatedQueries() const {
  for (int64_t t = 0; t < length; ++t)
    for (int64_t c = 0; c < test.getColumns(); ++c)
      ASSERT_EQ(rotatedQueries[t * padded + c],
                rotated(t, rows[0], qStride, c / test.shape.headDim,
                        c % test.shape.headDim, test.rotateQuery))
          << "token " << t << ", column " << c;
}

double AttentionRunner::cached(bool key, int64_t position, int64_t h,
                               int64_t d) const {
  int64_t dim = test.shape.headDim, slot = position % 16;
  // Keys are transposed; values follow the 16 * dim keys.
  int64_t index = key ? d * 16 + slot : 16 * dim + slot * dim + d;
  const char *block = head(position, h);
  switch (test.shape.type) {
  case CacheType::F32:
    return load<float>(block, index);
  case CacheType::F16:
    return numerics::decodeF16(load<uint16_t>(block, index));
  case CacheType::Int8:
    return double(load<float>(block + 32 * dim, key ? slot : 16 + slot)) *
           load<int8_t>(block, index);
  }
  llvm_unreachable("unknown type of cache");
}

/// Every position holds exactly what was appended, rounded to the cache's type.
void AttentionRunner::checkCache() const {
  int64_t dim = test.shape.headDim;
  for (int64_t t = 0; t < length; ++t)
    for (int64_t h = 0; h < test.shape.kvHeads; ++h)
      for (bool key : {true, false}) {
        std::vector<float> expected;
        float largest = 0;
        for (int64_t d = 0; d < dim; ++d) {
          expected.push_back(
              key ? rotated(t, rows[1], kStride, h, d, test.rotateKey)
                  : rows[2][t * kStride + h * dim + d]);
          largest = std::max(largest, std::fabs(expected.back()));
        }
        for (int64_t d = 0; d < dim; ++d) {
          double value = expected[d];
          if (test.shape.type == CacheType::F16)
            value = numerics::decodeF16(numerics::encodeF16(expected[d]));
          if (test.shape.type == CacheType::Int8) {
            float scale = largest / 127;
            value = double(scale) * std::nearbyint(expected[d] / scale);
          }
          ASSERT_EQ(cached(key, t, h, d), value)
              << (key ? "key" : "value") << " of position " << t << ", head "
              << h << ", element " << d;
        }
      }
}

double AttentionRunner::checkAttention() const {
  int64_t dim = test.shape.headDim;
  int64_t group = test.shape.heads / test.shape.kvHeads;
  double worst = 0;
  for (int64_t t = 0; t < length; ++t) {
    for (int64_t h = 0; h < test.shape.heads; ++h) {
      std::vector<double> weights;
      double largest = -INFINITY, sum = 0;
      for (int64_t p = 0; p <= t; ++p) {
        double score = 0;
        for (int64_t d = 0; d < dim; ++d)
          score += rotatedQueries[t * padded + h * dim + d] *
                   cached(true, p, h / group, d);
        weights.push_back(score * test.getAttention().scale);
        largest = std::max(largest, weights.back());
      }
      for (double &weight : weights)
        sum += weight = std::exp(weight - largest);
      for (int64_t d = 0; d < dim; ++d) {
        double expected = 0, size = 0;
        for (int64_t p = 0; p <= t; ++p) {
          double value = cached(false, p, h / group, d);
          expected += weights[p] / sum * value;
          size = std::max(size, std::fabs(value));
        }
        float found = y[t * padded + h * dim + d];
        double error = std::fabs(found - expected);
        if (error > 0)
          worst = std::max(worst, error / size);
        // Scores of up to about 100 carry an error of about 100 ulp of 1 into
        // the exponential.
        if (!(error <= 2e-5 * size)) {
          ADD_FAILURE() << "token " << t << ", head " << h << ", element " << d
                        << ": expected " << expected << ", found " << found;
          return worst;
        }
      }
    }
    for (int64_t c = test.getColumns(); c < padded; ++c)
      EXPECT_EQ(y[t * padded + c], 0) << "padding of token " << t;
  }
  return worst;
}

class Attention : public LevelTest {
protected:
  /// Runs every case over sequences of up to `length` tokens.
  double check(ArrayRef<AttentionCase> cases, int64_t length) {
    KernelModule module(level());
    for (const AttentionCase &test : cases) {
      module.add(test.getAppend());
      module.add(test.getAttention());
    }
    module.compile();
    if (HasFatalFailure())
      return 0;
    double worst = 0;
    for (const AttentionCase &test : cases) {
      SCOPED_TRACE(test.getAppend().getName());
      AttentionRunner runner(module, test, length, random);
      runner.run({length}, 1);
      runner.checkRotatedQueries();
      runner.checkCache();
      worst = std::max(worst, runner.checkAttention());
      std::vector<float> expected = runner.y;
      // The same bits however the sequence is cut.
      Cut cuts[] = {Cut(length, 1), {5, 11, 1, length - 17}, {16, length - 16}};
      for (const Cut &cut : cuts) {
        runner.run(cut, 3);
        EXPECT_EQ(
            std::memcmp(runner.y.data(), expected.data(), 4 * expected.size()),
            0)
            << "cut into " << cut.size() << " calls";
        runner.checkCache();
      }
    }
    return worst;
  }

  std::mt19937 random{17};
};

constexpr CacheType cacheTypes[] = {CacheType::F32, CacheType::F16,
                                    CacheType::Int8};

TEST_P(Attention, MatchesF64OverAnyCut) {
  std::vector<AttentionCase> cases;
  int i = 0;
  for (int64_t dim : {8, 24, 64, 80})
    for (CacheType type : cacheTypes) {
      const int64_t groups[] = {1, 3, 4, 8};
      int64_t kvHeads = 1 + i % 3;
      cases.push_back({{kvHeads * groups[i % 4], kvHeads, dim, type},
                       i % 2 == 1,
                       i % 5 != 4,
                       i % 7 != 6,
                       i % 3 != 0});
      ++i;
    }
  check(cases, 35);
}

/// Every head size with every type of cache and every group, to 70 positions.
TEST_P(Attention, ThoroughShapes) {
  double worst = 0;
  for (int64_t dim : {2, 8, 16, 24, 32, 64, 80, 96, 128}) {
    std::vector<AttentionCase> cases;
    for (CacheType type : cacheTypes)
      for (int64_t group : {1, 3, 4, 8})
        for (bool interleaved : {false, true})
          cases.push_back(
              {{2 * group, 2, dim, type}, interleaved, true, true, group != 3});
    worst = std::max(worst, check(cases, 70));
  }
  std::printf("%s: largest error %.2g of the largest value\n",
              level().name.data(), worst);
}

} // namespace

LLQ_TEST_ALL_LEVELS(Attention);
