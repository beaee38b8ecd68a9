//===- OutputMetric.h - What an error in weights costs ----------*- C++ -*-===//
//
// The mean over calibration tokens of the squared change of a layer's output,
// |delta x|^2, for an error delta of its weights. It follows from the second
// moment of the inputs alone, delta H delta^T, exactly for all tokens; or from
// a sample of the inputs, which is faster while there are fewer tokens than
// input channels.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_NUMERICS_OUTPUTMETRIC_H
#define LLQ_NUMERICS_OUTPUTMETRIC_H

#include <cstdint>
#include <span>

namespace llq {
class ThreadPool;
} // namespace llq

namespace llq::numerics {

/// A weight matrix[rows, K] that reads the inputs of a site, a place in the
/// model whose value goes to one or several layers (q, k, v; gate, up).
struct SiteLayer {
  const float *weights;
  int64_t rows;
};

/// The metric of one site's inputs. Refers to its data and does not own it.
class OutputMetric {
public:
  /// Rows that are measured at a time.
  static constexpr int64_t kStrip = 256;

  /// From a symmetric H[K, K] = mean_t x_t^T x_t (SecondMoment::meanMatrix).
  static OutputMetric ofSecondMoment(std::span<const float> secondMoment,
                                     int64_t channels);
  /// From inputs[tokens, K], at least one token.
  static OutputMetric ofInputs(std::span<const float> inputs, int64_t channels);

  int64_t channels() const { return width; }

  /// sum over rows of mean_t (delta x_t)^2 for delta[rows, K]. Equal bits for
  /// any number of threads.
  double cost(const float *delta, int64_t rows, ThreadPool &pool) const;

  /// costs[r] = mean_t (sum_j delta[r, j] x[t, begin + j])^2 for
  /// delta[kStrip, count], errors of the channels [begin, begin + count) alone;
  /// rows from `rows` on are filling. On the calling thread.
  void stripCosts(const float *delta, int64_t rows, int64_t begin,
                  int64_t count, double *costs) const;

private:
  OutputMetric(const float *data, int64_t tokens, int64_t width)
      : data(data), tokens(tokens), width(width) {}

  const float *data;
  int64_t tokens; ///< 0: `data` is a second moment
  int64_t width;
};

} // namespace llq::numerics

#endif // LLQ_NUMERICS_OUTPUTMETRIC_H
