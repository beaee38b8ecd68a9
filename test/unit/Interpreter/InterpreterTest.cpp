//===- InterpreterTest.cpp - What the vectors do not cover ----------------===//
//
// Tensors, errors and limits, and semantics checked by hand.
//
// SPDX-License-Identifier: Apache-2.0
//===----------------------------------------------------------------------===//

#include "llq/Interpreter/Interpreter.h"

#include <cmath>
#include <gtest/gtest.h>
#include <limits>

using namespace llq::interp;

namespace {

Tensor floats(Shape shape, std::vector<float> values) {
  return *Tensor::copyRaw(ElementType::Float32, std::move(shape), values.data(),
                          values.size() * sizeof(float));
}

Tensor ints(Shape shape, std::vector<int64_t> values) {
  return *Tensor::ofInts(values).reshaped(std::move(shape));
}

Tensor bytes(ElementType type, Shape shape, std::vector<uint8_t> values) {
  return *Tensor::copyRaw(type, std::move(shape), values.data(), values.size());
}

/// A node with its own operands; null tensors stand for absent ones.
struct Call {
  std::string_view opType;
  std::vector<Tensor> inputs;
  Attributes attributes = {};
  int64_t opset = 18;
  std::string_view domain = "";
  unsigned numOutputs = 1;
  EvalOptions options = {};

  Result<std::vector<Tensor>> run() const {
    std::vector<const Tensor *> operands;
    for (const Tensor &input : inputs)
      operands.push_back(input ? &input : nullptr);
    Node node;
    node.domain = domain;
    node.opType = opType;
    node.opset = opset;
    node.inputs = operands;
    node.attributes = &attributes;
    node.numOutputs = numOutputs;
    return evalNode(node, options);
  }

  /// The first result's values, or nothing with a test failure.
  std::vector<double> values() const {
    Result<std::vector<Tensor>> results = run();
    if (!results) {
      ADD_FAILURE() << results.message();
      return {};
    }
    return (*results)[0].toDoubles();
  }

  /// The error, or an empty string with a test failure.
  std::string error() const {
    Result<std::vector<Tensor>> results = run();
    if (!results)
      return results.message();
    ADD_FAILURE() << "no error";
    return {};
  }
};

using Values = std::vector<double>;

//===----------------------------------------------------------------------===//
// Tensors
//===----------------------------------------------------------------------===//

TEST(TensorTest, BorrowsAlignedBytesAndKeepsTheOwner) {
  auto owner =
      std::make_shared<std::vector<float>>(std::vector<float>{1, 2, 3, 4});
  std::weak_ptr<std::vector<float>> watch = owner;
  Result<Tensor> tensor =
      Tensor::fromRaw(ElementType::Float32, {2, 2}, owner->data(), 16, owner);
  ASSERT_TRUE(tensor) << tensor.message();
  EXPECT_EQ(tensor->data<float>(), owner->data());
  Tensor copy = *tensor;
  owner.reset();
  tensor = Error{};
  EXPECT_FALSE(watch.expired());
  EXPECT_EQ(copy.toDoubles(), (Values{1, 2, 3, 4}));
  copy = Tensor();
  EXPECT_TRUE(watch.expired());
}

TEST(TensorTest, CopiesMisalignedBytes) {
  alignas(4) char memory[9] = {};
  float value = 2.5f;
  std::copy_n(reinterpret_cast<const char *>(&value), 4, memory + 1);
  Result<Tensor> tensor =
      Tensor::fromRaw(ElementType::Float32, {2}, memory + 1, 8, nullptr);
  ASSERT_TRUE(tensor) << tensor.message();
  EXPECT_EQ(reinterpret_cast<uintptr_t>(tensor->data<float>()) % 4, 0u);
  EXPECT_EQ(tensor->toDoubles(), (Values{2.5, 0}));
}

TEST(TensorTest, UnpacksSubByteTypes) {
  EXPECT_EQ(bytes(ElementType::Int4, {3}, {0x8f, 0x07}).toDoubles(),
            (Values{-1, -8, 7}));
  EXPECT_EQ(bytes(ElementType::UInt4, {3}, {0x8f, 0x07}).toDoubles(),
            (Values{15, 8, 7}));
  EXPECT_EQ(bytes(ElementType::Int2, {5}, {0b11100100, 0b10}).toDoubles(),
            (Values{0, 1, -2, -1, -2}));
}

TEST(TensorTest, RefusesWrongSizes) {
  float value = 0;
  Result<Tensor> tensor =
      Tensor::copyRaw(ElementType::Float32, {2, 3}, &value, 4);
  ASSERT_FALSE(tensor);
  EXPECT_EQ(tensor.message(),
            "a tensor of type f32 and shape [2, 3] needs 24 bytes, found 4");
  EXPECT_FALSE(countElements({-1}));
  EXPECT_FALSE(countElements({int64_t(1) << 33, int64_t(1) << 33}));
  EXPECT_FALSE(countElements({0, INT64_MAX, INT64_MAX}));
  EXPECT_FALSE(countElements(Shape(65, 1)));
  EXPECT_EQ(*countElements({3, 0, 5}), 0);
  EXPECT_EQ(*countElements({}), 1);
}

TEST(TensorTest, KnowsONNXDataTypes) {
  for (int i = 0; i < 17; ++i) {
    ElementType type = ElementType(i);
    EXPECT_EQ(fromONNXDataType(toONNXDataType(type)), type);
  }
  EXPECT_FALSE(fromONNXDataType(8));  // string
  EXPECT_FALSE(fromONNXDataType(17)); // float8
}

//===----------------------------------------------------------------------===//
// The driver
//===----------------------------------------------------------------------===//

TEST(InterpreterTest, NamesUnknownOperatorsAndVersions) {
  EXPECT_EQ(Call({"Conv", {}}).error(),
            "operator 'Conv' is not supported by the interpreter");
  EXPECT_EQ(Call({"Attention", {}, {}, 18}).error(),
            "operator 'Attention' is supported for operator set versions 23 "
            "to 28, found 18");
  EXPECT_EQ(Call({"Add", {}, {}, 99}).error(),
            "operator 'Add' is supported for operator set versions 7 to 28, "
            "found 99");
  EXPECT_TRUE(isSupported("ai.onnx", "Add", 13));
  EXPECT_TRUE(isSupported("com.microsoft", "MatMulNBits", 1));
  EXPECT_FALSE(isSupported("com.microsoft", "Add", 1));
}

TEST(InterpreterTest, ListsOperatorsOnce) {
  std::vector<OperatorInfo> all = supportedOperators();
  EXPECT_GT(all.size(), 120u);
  for (size_t i = 1; i < all.size(); ++i) {
    const OperatorInfo &a = all[i - 1];
    const OperatorInfo &b = all[i];
    ASSERT_LE(std::pair(a.domain, a.opType), std::pair(b.domain, b.opType));
    if (a.domain == b.domain && a.opType == b.opType)
      EXPECT_LT(a.lastOpset, b.firstOpset) << a.opType;
  }
}

TEST(InterpreterTest, RefusesWhatItDoesNotUnderstand) {
  Tensor x = floats({2}, {1, 2});
  EXPECT_EQ(Call({"Add", {x}}).error(), "Add: operand 1 is missing");
  EXPECT_EQ(Call({"Add", {x, Tensor()}}).error(), "Add: operand 1 is missing");
  EXPECT_EQ(Call({"Add", {x, x, x}}).error(),
            "Add: has 3 operands, at most 2 expected");
  EXPECT_EQ(Call({"Add", {x, x}, {{"broadcast", int64_t(1)}}}).error(),
            "Add: attribute 'broadcast' is not supported");
  EXPECT_EQ(Call({"Add", {x, x}, {}, 18, "", 2}).error(),
            "Add: has 2 outputs, at most 1 expected");
  EXPECT_EQ(Call({"Softmax", {x}, {{"axis", 1.0f}}}).error(),
            "Softmax: attribute 'axis' must be an integer");
  EXPECT_EQ(Call({"Softmax", {x}, {{"axis", int64_t(3)}}}).error(),
            "Softmax: axis 3 is out of range for rank 1");
  EXPECT_EQ(Call({"Cast", {x}, {{"to", int64_t(8)}}}).error(),
            "Cast: attribute 'to' = 8 is not an element type that is "
            "supported");
}

TEST(InterpreterTest, NamesTypesAndShapesThatDoNotFit) {
  EXPECT_EQ(Call({"Add", {floats({2}, {1, 2}), ints({2}, {1, 2})}}).error(),
            "Add: the first operand and the second must have the same type, "
            "found f32 and i64");
  EXPECT_EQ(
      Call({"Add", {floats({2}, {1, 2}), floats({3}, {1, 2, 3})}}).error(),
      "Add: shapes [2] and [3] do not broadcast");
  EXPECT_EQ(
      Call({"MatMul", {floats({1, 2}, {1, 2}), floats({3, 1}, {1, 2, 3})}})
          .error(),
      "MatMul: cannot multiply shapes [1, 2] and [3, 1]");
  EXPECT_EQ(
      Call({"Reshape", {floats({2}, {1, 2}), ints({2}, {-1, 3})}}).error(),
      "Reshape: cannot reshape [2] to [-1, 3]");
  EXPECT_EQ(Call({"Gather", {floats({2}, {1, 2}), ints({1}, {2})}}).error(),
            "Gather: index 2 is out of range for a dimension of 2");
}

TEST(InterpreterTest, RefusesHostileSizes) {
  Tensor one = floats({1}, {1});
  int64_t huge = int64_t(1) << 62;
  for (const Tensor &shape :
       {ints({2}, {huge, huge}), ints({1}, {huge}), ints({1}, {-5}),
        ints({2}, {int64_t(1) << 30, int64_t(1) << 30})}) {
    EXPECT_NE(Call({"Expand", {one, shape}}).error(), "");
    EXPECT_NE(Call({"ConstantOfShape", {shape}}).error(), "");
    EXPECT_NE(Call({"Reshape", {one, shape}}).error(), "");
  }
  EXPECT_NE(Call({"Tile", {one, ints({1}, {huge})}}).error(), "");
  EXPECT_NE(Call({"Pad", {one, ints({2}, {huge, huge})}}).error(), "");
  EXPECT_NE(Call({"Range",
                  {Tensor::ofInt(INT64_MIN), Tensor::ofInt(INT64_MAX),
                   Tensor::ofInt(1)}})
                .error(),
            "");
  EXPECT_NE(
      Call({"OneHot", {ints({1}, {0}), ints({1}, {huge}), floats({2}, {0, 1})}})
          .error(),
      "");
}

TEST(InterpreterTest, KeepsTheLimitOnResults) {
  Call call{"Expand", {floats({1}, {1}), ints({1}, {1000})}};
  call.options.maxResultBytes = 4000;
  EXPECT_EQ(call.values().size(), 1000u);
  call.options.maxResultBytes = 3999;
  EXPECT_EQ(call.error(), "Expand: a result of shape [1000] and type f32 is "
                          "above the limit of 3999 bytes");
}

TEST(InterpreterTest, WidensHalfPrecision) {
  // 1 + 2^-12 is not a half; 65504 + 65504 is infinite in half.
  Tensor half = bytes(ElementType::Float16, {2}, {0xff, 0x7b, 0x00, 0x3c});
  Call sum{"Add", {half, half}};
  EXPECT_EQ(sum.values(), (Values{INFINITY, 2}));
  sum.options.widenHalf = true;
  EXPECT_EQ(sum.values(), (Values{131008, 2}));
  Call cast{"Cast", {floats({1}, {1.0f + 0x1p-12f})}, {{"to", int64_t(10)}}};
  EXPECT_EQ(cast.values(), (Values{1}));
  cast.options.widenHalf = true;
  EXPECT_EQ((*cast.run())[0].type(), ElementType::Float32);
  EXPECT_EQ(cast.values(), (Values{1 + 0x1p-12}));
  Call constant{"Constant", {}, {{"value", half}}};
  constant.options.widenHalf = true;
  EXPECT_EQ((*constant.run())[0].type(), ElementType::Float32);
}

//===----------------------------------------------------------------------===//
// Semantics by hand
//===----------------------------------------------------------------------===//

TEST(InterpreterTest, IntegersWrapAround) {
  int64_t low = INT64_MIN;
  int64_t high = INT64_MAX;
  auto binary = [](std::string_view op, int64_t a, int64_t b) {
    return (*(*Call({op, {Tensor::ofInt(a), Tensor::ofInt(b)}}).run())[0]
                 .toInts())[0];
  };
  EXPECT_EQ(binary("Add", high, 1), low);
  EXPECT_EQ(binary("Sub", low, 1), high);
  EXPECT_EQ(binary("Mul", low, -1), low);
  EXPECT_EQ(binary("Div", low, -1), low);
  EXPECT_EQ(binary("Div", -7, 2), -3);
  EXPECT_EQ(binary("Mod", low, -1), 0);
  EXPECT_EQ(binary("Mod", -7, 3), 2);
  EXPECT_EQ(binary("Pow", 3, 41), -420491770248316829);
  EXPECT_EQ(Call({"Div", {Tensor::ofInt(1), Tensor::ofInt(0)}}).error(),
            "Div: integer division by zero");
}

TEST(InterpreterTest, CastsSaturateFromFloatsOnly) {
  float big = 1e30f;
  Call cast{"Cast",
            {floats({5}, {big, -big, NAN, -1.5f, 3e9f})},
            {{"to", int64_t(6)}}};
  EXPECT_EQ(cast.values(),
            (Values{2147483647, -2147483648.0, 0, -1, 2147483647}));
  Call narrow{"Cast", {ints({2}, {257, -1})}, {{"to", int64_t(2)}}};
  EXPECT_EQ(narrow.values(), (Values{1, 255}));
}

TEST(InterpreterTest, RoundsHalvesOnce) {
  // Just above the midpoint of two halves, by less than an f32 can tell:
  // rounding to f32 first would fall back to the midpoint and to even.
  double value = 1 + 0x1p-11 + 0x1p-40;
  Tensor tensor =
      *Tensor::copyRaw(ElementType::Float64, {1}, &value, sizeof(value));
  EXPECT_EQ(Call({"Cast", {tensor}, {{"to", int64_t(10)}}}).values(),
            (Values{1 + 0x1p-10}));
  double tiny = 0x1p-25 + 0x1p-60; // rounds up to the least subnormal
  tensor = *Tensor::copyRaw(ElementType::Float64, {1}, &tiny, sizeof(tiny));
  EXPECT_EQ(Call({"Cast", {tensor}, {{"to", int64_t(10)}}}).values(),
            (Values{0x1p-24}));
}

TEST(InterpreterTest, SliceClampsAnyPosition) {
  Tensor x = ints({5}, {0, 1, 2, 3, 4});
  auto slice = [&](int64_t start, int64_t end, int64_t step) {
    return Call({"Slice",
                 {x, ints({1}, {start}), ints({1}, {end}), ints({1}, {0}),
                  ints({1}, {step})}})
        .values();
  };
  EXPECT_EQ(slice(INT64_MIN, INT64_MAX, 2), (Values{0, 2, 4}));
  EXPECT_EQ(slice(INT64_MAX, INT64_MIN, -2), (Values{4, 2, 0}));
  EXPECT_EQ(slice(INT64_MAX, INT64_MIN, INT64_MIN), (Values{4}));
  EXPECT_EQ(slice(1, -1, INT64_MAX), (Values{1}));
  EXPECT_EQ(slice(3, 1, 1), (Values{}));
}

TEST(InterpreterTest, MatMulAddsUpInDouble) {
  // In f32 the one would be lost beside 2^24.
  Tensor a = floats({1, 3}, {16777216, 1, -16777216});
  Tensor b = floats({3, 1}, {1, 1, 1});
  EXPECT_EQ(Call({"MatMul", {a, b}}).values(), (Values{1}));
}

TEST(InterpreterTest, MatMulCrossesBlocks) {
  // Larger than every block of the kernel, with odd rests; exact in integers.
  int64_t m = 37, n = 71, k = 300;
  std::vector<float> a(size_t(m * k)), b(size_t(k * n));
  for (size_t i = 0; i < a.size(); ++i)
    a[i] = float(int(i * 7 % 11) - 5);
  for (size_t i = 0; i < b.size(); ++i)
    b[i] = float(int(i * 5 % 13) - 6);
  Values expected(size_t(m * n), 0);
  for (int64_t i = 0; i < m; ++i)
    for (int64_t j = 0; j < n; ++j)
      for (int64_t l = 0; l < k; ++l)
        expected[size_t(i * n + j)] +=
            double(a[size_t(i * k + l)]) * double(b[size_t(l * n + j)]);
  EXPECT_EQ(Call({"MatMul", {floats({m, k}, a), floats({k, n}, b)}}).values(),
            expected);
  // The same through transposed operands.
  Tensor at = (*Call({"Transpose", {floats({m, k}, a)}}).run())[0];
  Tensor bt = (*Call({"Transpose", {floats({k, n}, b)}}).run())[0];
  EXPECT_EQ(
      Call({"Gemm", {at, bt}, {{"transA", int64_t(1)}, {"transB", int64_t(1)}}})
          .values(),
      expected);
}

TEST(InterpreterTest, MatMulNBitsFollowsGroupIndex) {
  // K = 4, two blocks of 2 codes of 4 bits; columns 0 and 3 use block 1.
  Tensor a = floats({1, 4}, {1, 10, 100, 1000});
  Tensor codes = bytes(ElementType::UInt8, {1, 2, 1}, {0x21, 0x43});
  Tensor scales = floats({1, 2}, {1, 0.5f});
  Tensor zeros = bytes(ElementType::UInt8, {1, 1}, {0x10}); // 0 and 1
  int32_t order[] = {1, 0, 0, 1};
  Tensor groups = *Tensor::copyRaw(ElementType::Int32, {4}, order, 16);
  Attributes attributes = {{"K", int64_t(4)},
                           {"N", int64_t(1)},
                           {"bits", int64_t(4)},
                           {"block_size", int64_t(2)}};
  Call call{"MatMulNBits",
            {a, codes, scales, zeros, groups},
            attributes,
            1,
            "com.microsoft"};
  // (1-1)*.5*1 + (2-0)*10 + (3-0)*100 + (4-1)*.5*1000
  EXPECT_EQ(call.values(), (Values{1820}));
  call.inputs[4] = Tensor();
  // (1-0)*1 + (2-0)*10 + (3-1)*.5*100 + (4-1)*.5*1000
  EXPECT_EQ(call.values(), (Values{1621}));
}

TEST(InterpreterTest, AttentionCapsBeforeMasking) {
  // Scores 0 and 4 (scale 1), capped to 0 and 2 tanh(2), then masked.
  Tensor q = floats({1, 1, 1, 1}, {4});
  Tensor k = floats({1, 1, 2, 1}, {0, 1});
  Tensor v = floats({1, 1, 2, 1}, {10, 20});
  Tensor mask = floats({1, 2}, {0.5f, -INFINITY});
  double capped = 2 * std::tanh(2.0);
  auto scores = [&](int64_t mode) {
    Call call{
        "Attention",
        {q, k, v, mask},
        {{"softcap", 2.0f}, {"scale", 1.0f}, {"qk_matmul_output_mode", mode}},
        23,
        "",
        4};
    Result<std::vector<Tensor>> results = call.run();
    EXPECT_TRUE(results);
    EXPECT_EQ((*results)[0].toDoubles(), (Values{10}));
    return (*results)[3].toDoubles();
  };
  EXPECT_EQ(scores(0), (Values{0, 4}));
  EXPECT_EQ(scores(1), (Values{0, double(float(capped))}));
  EXPECT_EQ(scores(2), (Values{0.5, -INFINITY}));
  EXPECT_EQ(scores(3), (Values{1, 0}));
}

TEST(InterpreterTest, FullyMaskedRowsAreZero) {
  Tensor q = floats({1, 1, 2, 1}, {1, 1});
  Tensor v = floats({1, 1, 2, 1}, {10, 20});
  Tensor mask = bytes(ElementType::Bool, {2, 2}, {0, 0, 0, 1});
  EXPECT_EQ(Call({"Attention", {q, q, v, mask}, {}, 23}).values(),
            (Values{0, 20}));
}

TEST(InterpreterTest, AttentionWindowsAndExternalCaches) {
  // Equal scores: a row is the mean of the values it sees.
  Tensor q = floats({1, 1, 2, 1}, {0, 0});
  Tensor k = floats({1, 1, 4, 1}, {0, 0, 0, 0});
  Tensor v = floats({1, 1, 4, 1}, {1, 2, 4, 100});
  Tensor valid = ints({1}, {3});
  Call call{"Attention",
            {q, k, v, Tensor(), Tensor(), Tensor(), valid},
            {{"is_causal", int64_t(1)}},
            25};
  // Three valid keys: the queries are at positions 1 and 2.
  EXPECT_EQ(call.values(), (Values{1.5, double(float(7.0 / 3))}));
  call.attributes["left_window_size"] = int64_t(1);
  EXPECT_EQ(call.values(), (Values{1.5, 3}));
  call.attributes["is_causal"] = int64_t(0);
  call.attributes["left_window_size"] = int64_t(0);
  call.attributes["right_window_size"] = int64_t(1);
  EXPECT_EQ(call.values(), (Values{3, 4}));
}

TEST(InterpreterTest, MultiHeadAttentionUnpacks) {
  // One batch, two tokens, two heads of one element.
  std::vector<float> q = {1, 2, 3, 4}, k = {5, 6, 7, 8}, v = {9, 10, 11, 12};
  std::vector<float> qkv, kv;
  for (size_t i = 0; i < 4; ++i) {
    qkv.insert(qkv.end(), {q[i], k[i], v[i]});
    kv.insert(kv.end(), {k[i], v[i]});
  }
  auto attend = [](std::vector<Tensor> inputs) {
    return Call({"MultiHeadAttention",
                 std::move(inputs),
                 {{"num_heads", int64_t(2)}, {"scale", 0.1f}},
                 1,
                 "com.microsoft"})
        .values();
  };
  Values expected = attend(
      {floats({1, 2, 2}, q), floats({1, 2, 2}, k), floats({1, 2, 2}, v)});
  EXPECT_EQ(attend({floats({1, 2, 2, 3, 1}, qkv)}), expected);
  EXPECT_EQ(attend({floats({1, 2, 2}, q), floats({1, 2, 2, 2, 1}, kv)}),
            expected);
}

TEST(InterpreterTest, GroupQueryAttentionNormalizesHeads) {
  // q = k = (3, 4): unit root mean square after the norm, whatever the length.
  Tensor qk = floats({1, 1, 2}, {3, 4});
  Tensor weight = floats({2}, {1, 2});
  int32_t zero = 0, one = 1;
  Tensor last = *Tensor::copyRaw(ElementType::Int32, {1}, &zero, 4);
  Tensor total = *Tensor::copyRaw(ElementType::Int32, {1}, &one, 4);
  std::vector<Tensor> inputs(16);
  inputs[0] = inputs[1] = inputs[2] = qk;
  inputs[5] = last;
  inputs[6] = total;
  inputs[14] = inputs[15] = weight;
  Call call{"GroupQueryAttention",
            inputs,
            {{"num_heads", int64_t(1)},
             {"kv_num_heads", int64_t(1)},
             {"qk_norm_epsilon", 0.0f}},
            1,
            "com.microsoft",
            2};
  Result<std::vector<Tensor>> results = call.run();
  ASSERT_TRUE(results) << results.message();
  double rms = std::sqrt(12.5);
  std::vector<double> key = (*results)[1].toDoubles();
  EXPECT_FLOAT_EQ(float(key[0]), float(3 / rms));
  EXPECT_FLOAT_EQ(float(key[1]), float(8 / rms));
}

TEST(InterpreterTest, GatherBlockQuantizedZeroFillsBadIndices) {
  Tensor data = bytes(ElementType::UInt8, {2, 1}, {0x98, 0xba});
  Tensor scales = floats({2, 1}, {1, 2});
  Call call{"GatherBlockQuantized",
            {data, ints({3}, {1, 2, -2}), scales},
            {{"bits", int64_t(4)},
             {"block_size", int64_t(16)},
             {"quantize_axis", int64_t(1)}},
            1,
            "com.microsoft"};
  EXPECT_EQ(call.values(), (Values{4, 6, 0, 0, 0, 1}));
}

} // namespace
