//===- TestProgram.cpp - A small model in program form --------------------===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "TestProgram.h"

#include "llq/Codegen/Passes.h"

#include "mlir/IR/DialectResourceBlobManager.h"
#include "mlir/Parser/Parser.h"

#include <fstream>
#include <gtest/gtest.h>

using namespace mlir;
using namespace llq;
using namespace llq::test;

/// $FILE and $BYTES are the external weight's.
static constexpr const char *kSource = R"(
!w = !llq.quantized<70x40, #llq.uniform<bits = 3, group = 20, zero = int, scale = f16>>
!x = !llq.quantized<?x40, #llq.dynamic<bits = 8, group = 32>>
module attributes {llq.architecture = #llq.architecture<
    hidden = 40, layers = 1, heads = 1, kv_heads = 1, head_dim = 40, ffn = 70,
    vocab = 40, context_length = 64, rope_theta = 5.0e+05 : f64,
    rope_scaling = "none", rope_parameters = [], norm_eps = 1.0e-05 : f64,
    tied_embeddings = false>} {
  func.func @forward(%ids: tensor<?xi32>, %past: index) -> tensor<?x40xf32> {
    %table = llq.weight dense_resource<table> : tensor<20000x40xf16>
    %norm = llq.weight dense_resource<norm> : tensor<40xf32>
    %wg = llq.quantized_weight {codes = dense_resource<gc> : tensor<70x15xi8>,
        scales = dense_resource<gs> : tensor<70x2xf16>,
        zeros = dense_resource<gz> : tensor<70x1xi8>} : !w
    %wu = llq.quantized_weight {codes = dense_resource<uc> : tensor<70x15xi8>,
        scales = dense_resource<us> : tensor<70x2xf16>,
        zeros = dense_resource<uz> : tensor<70x1xi8>} : !w
    %wd = llq.weight #llq.external<"$FILE", offset = 8, strides = [1, 40],
        fileSize = $BYTES, modified = 0> : tensor<40x70xf32>
    %x = llq.embedding %ids, %table : tensor<?xi32>, tensor<20000x40xf16> -> tensor<?x40xf32>
    %h = llq.rms_norm %x, %norm {epsilon = 1.0e-05 : f32} : tensor<?x40xf32>, tensor<40xf32>
    %q = llq.quantize_activation %h : tensor<?x40xf32> -> !x
    %g = llq.linear "layers.0.mlp.gate_proj" %q, %wg {method = {name = "rtn"}} : !x, !w -> tensor<?x70xf32>
    %u = llq.linear "layers.0.mlp.up_proj" %q, %wu : !x, !w -> tensor<?x70xf32>
    %s = llq.swiglu %g, %u : tensor<?x70xf32>
    %d = llq.linear "layers.0.mlp.down_proj" %s, %wd : tensor<?x70xf32>, tensor<40x70xf32> -> tensor<?x40xf32>
    %y = llq.add %d, %x : tensor<?x40xf32>
    return %y : tensor<?x40xf32>
  }
})";

TestProgram::TestProgram(std::string folder)
    : externalPath(folder + "/weights.data") {
  std::mt19937 random(5);
  Builder b(&getContext());
  auto format =
      UniformAttr::get(&getContext(), 3, 20, ZeroPoint::Int, ScaleType::F16);
  table = makeWeight(getTensor(20000, 40, b.getF16Type()), random);
  gate = makeWeight(getQuantized(70, 40, format), random);
  up = makeWeight(getQuantized(70, 40, format), random);
  down = makeWeight(getTensor(40, 70, b.getF32Type()), random);
  for (int i = 0; i < 40; ++i)
    norm.push_back(1 + i / 40.0f);
  std::ofstream file(externalPath, std::ios::binary);
  file.write("8 bytes.", 8);
  for (int64_t column = 0; column < 70; ++column)
    for (int64_t row = 0; row < 40; ++row)
      file.write(
          reinterpret_cast<const char *>(&down.values[row * 70 + column]), 4);
}

static void setBlob(Attribute attr, ArrayRef<char> bytes) {
  cast<DenseResourceElementsAttr>(attr).getRawHandle().getResource()->setBlob(
      HeapAsmResourceBlob::allocateAndCopyWithAlign(bytes, 16,
                                                    /*dataIsMutable=*/false));
}

OwningOpRef<ModuleOp> TestProgram::build(StringRef level) const {
  std::string source = kSource;
  source.replace(source.find("$FILE"), 5, externalPath);
  source.replace(source.find("$BYTES"), 6, std::to_string(8 + 40 * 70 * 4));
  auto module = parseSourceString<ModuleOp>(source, &getContext());
  if (!module)
    return nullptr;
  auto forward = module->lookupSymbol<func::FuncOp>(kForwardName);
  auto plain = llvm::to_vector(forward.getOps<WeightOp>());
  setBlob(plain[0].getValue(), table.components[0]);
  setBlob(plain[1].getValue(),
          {reinterpret_cast<const char *>(norm.data()), norm.size() * 4});
  constexpr StringLiteral names[] = {"codes", "scales", "zeros"};
  auto quantized = llvm::to_vector(forward.getOps<QuantizedWeightOp>());
  for (auto [op, weight] :
       {std::pair(quantized[0], &gate), {quantized[1], &up}})
    for (auto [i, name] : llvm::enumerate(names))
      setBlob(op.getComponents().get(name), weight->components[i]);

  PassManager pm(&getContext());
  pm.addPass(createFormDispatchesPass());
  LowerToCPUPassOptions options;
  options.levels.push_back(level.empty() ? "x86-64-v2" : level.str());
  options.maxTokens = 8;
  pm.addPass(createLowerToCPUPass(options));
  pm.addPass(createPlanMemoryPass());
  if (failed(pm.run(*module)))
    return nullptr;
  if (level.empty())
    for (auto kernels : llvm::make_early_inc_range(module->getOps<ModuleOp>()))
      kernels.erase();
  return module;
}
