//===- RotaryModel.cpp - Frequencies behind cosines and sines -------------===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "RotaryModel.h"

#include <cmath>
#include <numbers>

using namespace mlir;
using namespace llq;
using namespace llq::raise;

/// Cosines that single precision computes from equal angles.
static constexpr double kTolerance = 1e-5;
/// Relative difference of frequencies that single precision computes.
static constexpr double kFrequencyTolerance = 1e-5;

//===----------------------------------------------------------------------===//
// Formulas
//===----------------------------------------------------------------------===//

static bool isNear(double a, double b, double tolerance = kFrequencyTolerance) {
  return std::abs(a - b) <= tolerance * std::abs(b);
}

/// `value` with as few digits as it allows within `tolerance`.
static double snap(double value, double tolerance) {
  for (int digits = 1; digits <= 6; ++digits) {
    char text[64];
    snprintf(text, sizeof(text), "%.*g", digits, value);
    double rounded = atof(text);
    if (isNear(rounded, value, tolerance))
      return rounded;
  }
  return value;
}

/// The base of frequency `i` out of `half`: f = theta^(-i / half).
static double getTheta(double frequency, int64_t i, int64_t half) {
  return std::exp(-std::log(frequency) * double(half) / double(i));
}

/// The frequencies that Llama 3.1 makes of `theta`.
static double scaleLlama3(double frequency, ArrayRef<double> parameters) {
  double factor = parameters[0], low = parameters[1], high = parameters[2];
  double context = parameters[3];
  double wavelength = 2 * std::numbers::pi / frequency;
  if (wavelength < context / high)
    return frequency;
  if (wavelength > context / low)
    return frequency / factor;
  double smooth = (context / wavelength - low) / (high - low);
  return (1 - smooth) * frequency / factor + smooth * frequency;
}

static std::optional<RotaryFormula> findLlama3(ArrayRef<float> f,
                                               int64_t half) {
  // The highest frequencies are as they were, the lowest divided by a factor.
  double theta = snap(getTheta(f[1], 1, half), 1e-4);
  std::vector<double> plain(half);
  for (int64_t i = 0; i < half; ++i)
    plain[i] = std::pow(theta, -double(i) / double(half));
  double factor = snap(plain[half - 1] / f[half - 1], 1e-4);
  if (!(factor > 1) || !isNear(f[0], 1))
    return std::nullopt;
  for (double context : {8192., 4096., 2048., 16384., 32768., 65536., 131072.})
    for (double low : {1., 2., 0.5})
      for (double high : {4., 2., 8., 16., 32., 3.}) {
        if (high <= low)
          continue;
        double parameters[] = {factor, low, high, context};
        bool fits = true;
        for (int64_t i = 0; i < half && fits; ++i)
          fits = isNear(f[i], scaleLlama3(plain[i], parameters));
        if (fits)
          return RotaryFormula{
              theta, "llama3", {std::begin(parameters), std::end(parameters)}};
      }
  return std::nullopt;
}

RotaryFormula llq::raise::findFormula(ArrayRef<float> f, int64_t headDim) {
  int64_t half = headDim / 2;
  auto count = int64_t(f.size());
  bool positive = llvm::all_of(f, [](float x) { return x > 0; });
  if (count != half || half < 2 || !positive)
    return {};
  // All divided by one factor, which may be 1.
  double factor = isNear(f[0], 1) ? 1 : snap(1 / double(f[0]), 1e-4);
  double theta =
      snap(getTheta(double(f[half - 1]) * factor, half - 1, half), 1e-4);
  bool fits = theta > 1;
  for (int64_t i = 0; i < half && fits; ++i)
    fits = isNear(f[i], std::pow(theta, -double(i) / double(half)) / factor);
  if (fits && factor == 1)
    return {theta, "none", {}};
  if (fits)
    return {theta, "linear", {factor}};
  if (std::optional<RotaryFormula> formula = findLlama3(f, half))
    return *formula;
  return {};
}

//===----------------------------------------------------------------------===//
// Frequencies
//===----------------------------------------------------------------------===//

/// The angle as models compute it, in single precision.
static double getAngle(int64_t position, float frequency) {
  return double(float(position) * frequency);
}

/// Whether `frequencies` give the angles that were seen.
static bool fits(const Rotation &rotation, ArrayRef<float> frequencies) {
  for (const auto &[position, angles] : rotation.angles) {
    if (angles.size() != frequencies.size())
      return false;
    for (auto [angle, frequency] : llvm::zip_equal(angles, frequencies)) {
      double x = getAngle(position, frequency);
      if (std::abs(std::cos(x) - angle.first) > kTolerance ||
          std::abs(std::sin(x) - angle.second) > kTolerance)
        return false;
    }
  }
  return true;
}

/// Frequencies from the angles at position 1, replaced by those of a formula
/// where they follow one: exporters compute them in single precision.
static std::vector<float> deriveFrequencies(const Rotation &rotation,
                                            int64_t headDim) {
  auto one = rotation.angles.find(1);
  std::vector<float> frequencies;
  if (one == rotation.angles.end())
    return frequencies;
  for (auto [cosine, sine] : one->second)
    frequencies.push_back(float(std::atan2(double(sine), double(cosine))));
  RotaryFormula formula = findFormula(frequencies, headDim);
  if (formula.scaling != "none")
    return frequencies;
  for (auto [i, frequency] : llvm::enumerate(frequencies))
    frequency =
        1.0f / std::pow(float(formula.theta), float(2 * i) / float(headDim));
  return frequencies;
}

//===----------------------------------------------------------------------===//
// Tables
//===----------------------------------------------------------------------===//

namespace {
/// A constant of the graph that holds cosines or sines of positions.
struct Table {
  WeightView view; // [C, D/2]
  std::vector<float> values;
  int64_t rows = 0;
};
} // namespace

/// How far a table may be from its formula: rounding of its element type, of
/// single-precision cosines, and of the angles.
static double getTableTolerance(ElementType type, double angle) {
  double rounding = type == ElementType::Float16    ? 5e-4
                    : type == ElementType::BFloat16 ? 4e-3
                                                    : 0;
  return kTolerance + rounding + angle * 0x1p-23;
}

/// The table of cosines (or sines) among the constants of the graph.
static std::optional<Table> findTable(const Rotation &rotation, int64_t half,
                                      bool cosine, func::FuncOp graph,
                                      WeightReader &reader) {
  constexpr int64_t minRows = 16, maxRows = 1 << 22;
  std::optional<Table> found;
  graph.walk([&](onnx::ConstantOp constant) {
    auto type = cast<RankedTensorType>(constant.getResult().getType());
    std::optional<ElementType> element =
        getInterpreterType(type.getElementType());
    if (found || !element || !type.getElementType().isFloat() ||
        type.getElementType().isF64() || type.getRank() < 2)
      return;
    int64_t width = type.getShape().back();
    int64_t rows = width ? type.getNumElements() / width : 0;
    if ((width != half && width != 2 * half) || rows < minRows ||
        rows > maxRows ||
        llvm::count_if(type.getShape(), [](int64_t d) { return d != 1; }) != 2)
      return;
    Shape shape(type.getShape().begin(), type.getShape().end());
    WeightView view = *WeightView::of(constant.getValue(), *element, shape)
                           .reshaped({rows, width});
    llvm::Expected<std::vector<float>> all =
        reader.readAll(constant.getValue());
    if (!all)
      return llvm::consumeError(all.takeError());
    for (const auto &[position, angles] : rotation.angles) {
      if (position >= rows)
        continue;
      for (int64_t i = 0; i < half; ++i) {
        float seen = cosine ? angles[i].first : angles[i].second;
        if (std::abs((*all)[position * width + i] - seen) > 1e-6)
          return;
      }
    }
    Table table;
    table.view = view.sliced(1, 0, half);
    table.rows = rows;
    for (int64_t row = 0; row < rows; ++row)
      table.values.insert(table.values.end(), all->begin() + row * width,
                          all->begin() + row * width + half);
    found = std::move(table);
  });
  return found;
}

static bool followsFrequencies(const Table &table, ArrayRef<float> frequencies,
                               bool cosine) {
  int64_t half = int64_t(frequencies.size());
  for (int64_t row = 0; row < table.rows; ++row)
    for (int64_t i = 0; i < half; ++i) {
      double angle = getAngle(row, frequencies[i]);
      double value = cosine ? std::cos(angle) : std::sin(angle);
      if (!(std::abs(table.values[row * half + i] - value) <=
            getTableTolerance(table.view.type, angle)))
        return false;
    }
  return true;
}

Result<RotaryModel> llq::raise::findRotaryModel(const Rotation &rotation,
                                                int64_t headDim,
                                                ArrayRef<Tensor> vectors,
                                                func::FuncOp graph,
                                                WeightReader &reader) {
  RotaryModel model;
  int64_t half = headDim / 2;
  std::optional<Table> cosines =
      findTable(rotation, half, /*cosine=*/true, graph, reader);
  std::optional<Table> sines =
      findTable(rotation, half, /*cosine=*/false, graph, reader);
  if (cosines && sines && cosines->rows == sines->rows)
    model.tableSize = cosines->rows;

  // The graph's own numbers if it has them, else what the angles say.
  std::vector<float> frequencies;
  for (const Tensor &vector : vectors) {
    if (vector.type() != ElementType::Float32 || vector.numElements() != half)
      continue;
    ArrayRef<float> candidate(vector.data<float>(), half);
    if (fits(rotation, candidate)) {
      frequencies = candidate.vec();
      break;
    }
  }
  if (frequencies.empty())
    frequencies = deriveFrequencies(rotation, headDim);
  bool known = fits(rotation, frequencies);
  if (model.tableSize && known)
    known = followsFrequencies(*cosines, frequencies, true) &&
            followsFrequencies(*sines, frequencies, false);
  if (known) {
    model.frequencies = std::move(frequencies);
    model.formula = findFormula(model.frequencies, headDim);
    return model;
  }
  if (!model.tableSize)
    return Error{"rotates by angles that are neither multiples of the position "
                 "nor rows of a table"};
  model.cosines = cosines->view;
  model.sines = sines->view;
  return model;
}
