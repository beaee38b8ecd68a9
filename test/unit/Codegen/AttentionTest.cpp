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
  /// A head of row t as `rotated` gives it; with an int4 cache, after the
  /// transform that spreads outliers.
  std::vector<float> spread(int64_t t, const std::vector<float> &from,
                            int64_t stride, int64_t head, bool rotates,
                            bool key) const;
  /// What the cache holds: the stored number times its scale.
  double cached(bool key, int64_t position, int64_t head, int64_t d) const;
  double cachedInt4(bool key, int64_t position, int64_t head, int64_t d) const;
  /// A head of keys or values rounded to what the cache can hold.
  std::vector<double> rounded(const std::vector<float> &head) const;
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
    // Tokens without a range.
    int64_t stride = i == 0 ? qStride : kStride;
    for (int64_t t = 3; t < length; t += 7)
      std::fill_n(rows[i].begin() + t * stride, stride, t % 2 ? 3.25f : 0.0f);
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
                 append.getScratchBytes()};
    if (test.fused)
      call.buffers[0] = call.buffers[1] = call.buffers[2] = &all;
    call.run(0, count, parts);
    call.kernel = module.find(attention.getName());
    call.buffers = {&turned, &cache, &out};
    call.scratchBytes = attention.getScratchBytes();
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

std::vector<float> AttentionRunner::spread(int64_t t,
                                           const std::vector<float> &from,
                                           int64_t stride, int64_t h,
                                           bool rotates, bool key) const {
  int64_t dim = test.shape.headDim;
  std::vector<float> x;
  for (int64_t d = 0; d < dim; ++d)
    x.push_back(rotated(t, from, stride, h, d, rotates));
  if (test.shape.type != CacheType::Int4)
    return x;
  // Hadamard transform of `size` channels at a time; together the two factors
  // are 1 / size.
  int64_t size = dim & -dim, log = 0;
  for (int64_t step = 1; step < size; step *= 2, ++log) {
    std::vector<float> last = x;
    for (int64_t d = 0; d < dim; ++d)
      x[d] = d & step ? last[d ^ step] - last[d] : last[d ^ step] + last[d];
  }
  for (float &value : x)
    value /= float(1 << (key ? log - log / 2 : log / 2));
  return x;
}

void AttentionRunner::checkRotatedQueries() const {
  int64_t dim = test.shape.headDim;
  for (int64_t t = 0; t < length; ++t)
    for (int64_t h = 0; h < test.shape.heads; ++h) {
      std::vector<float> expected =
          spread(t, rows[0], qStride, h, test.rotateQuery, /*key=*/false);
      for (int64_t d = 0; d < dim; ++d)
        ASSERT_EQ(rotatedQueries[t * padded + h * dim + d], expected[d])
            << "token " << t << ", head " << h << ", element " << d;
    }
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
  case CacheType::Int4:
    return cachedInt4(key, position, h, d);
  }
  llvm_unreachable("unknown type of cache");
}

/// Groups of 32 channels, of which the first half are the low bits of as many
/// bytes; then for each group 16 scales and 16 minimums.
double AttentionRunner::cachedInt4(bool key, int64_t position, int64_t h,
                                   int64_t d) const {
  int64_t dim = test.shape.headDim, slot = position % 16, bytes = dim / 2;
  int64_t group = d / 32, half = std::min<int64_t>(32, dim - group * 32) / 2;
  int64_t byte = group * 16 + d % 32 % half;
  const char *block = head(position, h);
  int code = load<uint8_t>(block, key ? byte * 16 + slot
                                      : 16 * bytes + slot * bytes + byte);
  code = d % 32 < half ? code % 16 : code / 16;
  const char *scales = block + 32 * bytes;
  if (!key)
    scales += (dim + 31) / 32 * 64;
  auto number = [&](int64_t n) {
    return double(numerics::decodeF16(
        load<uint16_t>(scales, (2 * group + n) * 16 + slot)));
  };
  return number(1) + number(0) * code;
}

std::vector<double>
AttentionRunner::rounded(const std::vector<float> &head) const {
  std::vector<double> result(head.begin(), head.end());
  auto roundF16 = [](float value) {
    return numerics::decodeF16(numerics::encodeF16(value));
  };
  if (test.shape.type == CacheType::F16)
    for (double &value : result)
      value = roundF16(value);
  if (test.shape.type == CacheType::Int8) {
    float largest = 0;
    for (float value : head)
      largest = std::max(largest, std::fabs(value));
    float scale = largest / 127;
    for (double &value : result)
      value =
          scale == 0 ? 0 : double(scale) * std::nearbyint(float(value) / scale);
  }
  if (test.shape.type == CacheType::Int4)
    for (size_t first = 0; first < head.size(); first += 32) {
      size_t end = std::min(first + 32, head.size());
      auto [low, high] =
          std::minmax_element(head.begin() + first, head.begin() + end);
      float minimum = roundF16(*low);
      float scale = roundF16((*high - minimum) / 15);
      for (size_t d = first; d < end; ++d) {
        float code =
            scale == 0 ? 0 : std::nearbyint((head[d] - minimum) / scale);
        result[d] =
            double(minimum) + double(scale) * std::clamp(code, 0.0f, 15.0f);
      }
    }
  return result;
}

/// Every position holds exactly what was appended, rounded to the cache's type.
void AttentionRunner::checkCache() const {
  int64_t dim = test.shape.headDim;
  for (int64_t t = 0; t < length; ++t)
    for (int64_t h = 0; h < test.shape.kvHeads; ++h)
      for (bool key : {true, false}) {
        const float *value = rows[2].data() + t * kStride + h * dim;
        std::vector<double> expected = rounded(
            key ? spread(t, rows[1], kStride, h, test.rotateKey, /*key=*/true)
                : std::vector<float>(value, value + dim));
        for (int64_t d = 0; d < dim; ++d)
          ASSERT_EQ(cached(key, t, h, d), expected[d])
              << (key ? "key" : "value") << " of position " << t << ", head "
              << h << ", element " << d;
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
      std::vector<double> expected(dim), sizes(dim);
      for (int64_t d = 0; d < dim; ++d)
        for (int64_t p = 0; p <= t; ++p) {
          double value = cached(false, p, h / group, d);
          expected[d] += weights[p] / sum * value;
          sizes[d] = std::max(sizes[d], std::fabs(value));
        }
      for (int64_t d = 0; d < dim; ++d) {
        double size = sizes[d];
        // Minimums and codes are summed apart, and round as numbers of the size
        // of their group do.
        if (test.shape.type == CacheType::Int4)
          size = *std::max_element(sizes.begin() + d / 32 * 32,
                                   sizes.begin() +
                                       std::min(d / 32 * 32 + 32, dim));
        float found = y[t * padded + h * dim + d];
        double error = std::fabs(found - expected[d]);
        if (error > 0)
          worst = std::max(worst, error / size);
        // Scores of up to about 100 carry an error of about 100 ulp of 1 into
        // the exponential.
        if (!(error <= 2e-5 * size)) {
          ADD_FAILURE() << "token " << t << ", head " << h << ", element " << d
                        << ": expected " << expected[d] << ", found " << found;
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
                                    CacheType::Int8, CacheType::Int4};

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

/// Levels that round products and sums at once differ in registers only.
TEST(AttentionLevels, EqualBitsWithFMA) {
  AttentionCase cases[] = {{{8, 2, 80, CacheType::F16}, 0, 1, 1, 1},
                           {{6, 2, 64, CacheType::Int8}, 0, 1, 1, 1},
                           {{8, 2, 64, CacheType::Int4}, 0, 1, 1, 1},
                           {{3, 1, 80, CacheType::Int4}, 1, 1, 1, 0}};
  std::vector<std::vector<float>> expected;
  for (const CPULevel *level : getRunnableLevels()) {
    if (!level->hasFMA)
      continue;
    KernelModule module(*level);
    for (const AttentionCase &test : cases) {
      module.add(test.getAppend());
      module.add(test.getAttention());
    }
    module.compile();
    if (HasFatalFailure())
      return;
    std::mt19937 random(5);
    std::vector<std::vector<float>> found;
    for (const AttentionCase &test : cases) {
      AttentionRunner runner(module, test, 40, random);
      runner.run({33, 7}, 2);
      found.push_back(runner.y);
    }
    if (expected.empty())
      expected = found;
    for (size_t i = 0; i < found.size(); ++i)
      EXPECT_EQ(
          std::memcmp(found[i].data(), expected[i].data(), 4 * found[i].size()),
          0)
          << level->name.str() << ", " << cases[i].getAppend().getName();
  }
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
