//===- SecondMoment.h - Statistics of a layer's inputs ----------*- C++ -*-===//
//
// What calibrated methods need to know of the inputs X[T, K] of a linear layer:
// the second moment X^T X, and per channel the largest magnitude, the mean and
// the mean magnitude. Inputs arrive batch by batch and are not kept.
//
// Products of up to 512 tokens are formed in f32 and added up in f64, slab by
// slab in the order of arrival: equal calls give equal bits for any number of
// threads.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_NUMERICS_SECONDMOMENT_H
#define LLQ_NUMERICS_SECONDMOMENT_H

#include <cstdint>
#include <optional>
#include <vector>

namespace llq {
class ThreadPool;
} // namespace llq

namespace llq::numerics {

/// An activation that is NaN or infinite; `token` counts from the start of the
/// batch.
struct NonFiniteActivation {
  int64_t token, channel;
  float value;
};

/// Per-channel statistics of inputs x[t, k], t over all tokens seen.
class ChannelStatistics {
public:
  explicit ChannelStatistics(int64_t channels);

  /// Adds x[tokens, channels], row-major. On a value that is not finite nothing
  /// is added, and the first one in row-major order is returned.
  [[nodiscard]] std::optional<NonFiniteActivation>
  add(const float *x, int64_t tokens, ThreadPool &pool);

  int64_t channels() const { return static_cast<int64_t>(maxima.size()); }
  int64_t tokens() const { return count; }
  /// max_t |x[t, k]|; all of these are 0 of no tokens.
  const std::vector<float> &absMax() const { return maxima; }
  /// mean_t x[t, k].
  std::vector<float> mean() const { return divided(sums); }
  /// mean_t |x[t, k]|, AWQ's measure of a channel.
  std::vector<float> meanAbs() const { return divided(absSums); }
  /// mean_t x[t, k]^2, the importance of importance-weighted rounding.
  std::vector<float> meanSquare() const { return divided(squareSums); }

private:
  std::vector<float> divided(const std::vector<double> &sum) const;

  std::vector<float> maxima;
  std::vector<double> sums, absSums, squareSums;
  int64_t count = 0;
};

/// Accumulates H = sum_t x[t, :]^T x[t, :] besides the statistics per channel.
/// Holds half of H: 4 K^2 bytes.
class SecondMoment {
public:
  explicit SecondMoment(int64_t channels);

  /// Adds x[tokens, channels], row-major, of one calibration sequence or a part
  /// of it. On a value that is not finite nothing is added.
  [[nodiscard]] std::optional<NonFiniteActivation>
  add(const float *x, int64_t tokens, ThreadPool &pool);

  /// Weighs x[tokens, channels], all of which has been added, more: together
  /// with `share`, 0 to below 1, of the weight of all tokens. Does nothing if
  /// they have that much. Statistics per channel stay.
  void raiseShare(const float *x, int64_t tokens, double share,
                  ThreadPool &pool);

  const ChannelStatistics &channelStatistics() const { return statistics; }
  int64_t channels() const { return statistics.channels(); }
  int64_t tokens() const { return statistics.tokens(); }

  /// H / weight (of a token: 1) as a full symmetric matrix[K, K] in f32; zeros
  /// of no tokens. GPTQ's own 2 / sequences differs by a factor, which changes
  /// nothing.
  std::vector<float> meanMatrix(ThreadPool &pool) const;

private:
  /// Adds factor * x^T x.
  void accumulate(const float *x, int64_t tokens, double factor,
                  ThreadPool &pool);
  /// First element of tile (row, column), row <= column.
  int64_t tileOffset(int64_t row, int64_t column) const;

  ChannelStatistics statistics;
  int64_t tilesPerSide;
  double weight = 0;
  std::vector<double> tiles; ///< upper tiles, each [512, 512]
};

} // namespace llq::numerics

#endif // LLQ_NUMERICS_SECONDMOMENT_H
