// Which layers are quantized, to how many bits, and what is shared.
//
// RUN: llq-opt %s --llq-quantize-rtn='bits=4' | FileCheck %s
// RUN: llq-opt %s --llq-quantize-rtn='bits=4 only=layers.0.mlp.*,layers.*.down_proj' | FileCheck %s --check-prefix=ONLY
// RUN: llq-opt %s --llq-quantize-rtn='bits=4 except=*.up_proj' | FileCheck %s --check-prefix=EXCEPT
// RUN: llq-opt %s --llq-quantize-rtn='bits=4 head-bits=8 embedding-bits=6 group-size=2' | FileCheck %s --check-prefix=ENDS
// RUN: llq-opt %s --llq-quantize-rtn='bits=4' --remarks-filter='llq-quantize-rtn' --remark-format=emitRemark 2>&1 | FileCheck %s --check-prefix=REMARK

// Embedding and head keep their source type, bf16 and f16 layers are quantized.
// CHECK: llq.embedding {{.*}} tensor<6x4xf16>
// CHECK: llq.linear "layers.0.mlp.up_proj" {{.*}}!llq.quantized<8x4, #llq.uniform<bits = 4,
// CHECK: llq.linear "layers.0.mlp.down_proj" {{.*}}!llq.quantized<4x8, #llq.uniform<bits = 4,
// CHECK: llq.linear "layers.1.mlp.up_proj" {{.*}}!llq.quantized<8x4, #llq.uniform<bits = 4,
// CHECK: llq.linear "layers.1.mlp.down_proj" {{.*}}!llq.quantized<4x8, #llq.uniform<bits = 4,
// CHECK: llq.linear "lm_head" {{.*}} tensor<6x4xf32>

// ONLY: llq.linear "layers.0.mlp.up_proj" {{.*}}!llq.quantized
// ONLY: llq.linear "layers.0.mlp.down_proj" {{.*}}!llq.quantized
// ONLY: llq.linear "layers.1.mlp.up_proj" {{.*}} tensor<8x4xf16>
// ONLY: llq.linear "layers.1.mlp.down_proj" {{.*}}!llq.quantized

// EXCEPT: llq.linear "layers.0.mlp.up_proj" {{.*}} tensor<8x4xbf16>
// EXCEPT: llq.linear "layers.0.mlp.down_proj" {{.*}}!llq.quantized
// EXCEPT: llq.linear "layers.1.mlp.up_proj" {{.*}} tensor<8x4xf16>
// EXCEPT: llq.linear "layers.1.mlp.down_proj" {{.*}}!llq.quantized

// ENDS: llq.embedding {{.*}}method = {{.*}}name = "rtn", {{.*}}!llq.quantized<6x4, #llq.uniform<bits = 6, group = 2,
// ENDS: llq.linear "layers.0.mlp.up_proj" {{.*}}!llq.quantized<8x4, #llq.uniform<bits = 4, group = 2,
// ENDS: llq.linear "lm_head" {{.*}}!llq.quantized<6x4, #llq.uniform<bits = 8, group = 2,
// ENDS: embed_tokens.codes: "0x

// Skipped layers and the figures of the others.
// REMARK: remark: [Missed] NotQuantized | Category:llq-quantize-rtn | Layer=embed_tokens, Reason="it keeps its source type"
// REMARK: remark: [Missed] NotQuantized | Category:llq-quantize-rtn | Layer=lm_head, Reason="it keeps its source type"
// REMARK: remark: [Analysis] Quantized | Category:llq-quantize-rtn | BitsPerWeight=1.000000e+01, {{.*}}Layer=layers.0.mlp.up_proj, RelativeError=3.6

func.func @forward(%ids: tensor<?xi32>) -> tensor<?x6xf32> {
  %we = llq.weight dense_resource<we> : tensor<6x4xf16>
  %x = llq.embedding %ids, %we : tensor<?xi32>, tensor<6x4xf16> -> tensor<?x4xf32>
  %w0 = llq.weight dense_resource<w0> : tensor<8x4xbf16>
  %0 = llq.linear "layers.0.mlp.up_proj" %x, %w0 : tensor<?x4xf32>, tensor<8x4xbf16> -> tensor<?x8xf32>
  %w1 = llq.weight dense_resource<w1> : tensor<4x8xf16>
  %1 = llq.linear "layers.0.mlp.down_proj" %0, %w1 : tensor<?x8xf32>, tensor<4x8xf16> -> tensor<?x4xf32>
  %w2 = llq.weight dense_resource<w2> : tensor<8x4xf16>
  %2 = llq.linear "layers.1.mlp.up_proj" %1, %w2 : tensor<?x4xf32>, tensor<8x4xf16> -> tensor<?x8xf32>
  %w3 = llq.weight dense_resource<w3> : tensor<4x8xf16>
  %3 = llq.linear "layers.1.mlp.down_proj" %2, %w3 : tensor<?x8xf32>, tensor<4x8xf16> -> tensor<?x4xf32>
  %wh = llq.weight dense_resource<wh> : tensor<6x4xf32>
  %4 = llq.linear "lm_head" %3, %wh : tensor<?x4xf32>, tensor<6x4xf32> -> tensor<?x6xf32>
  return %4 : tensor<?x6xf32>
}

{-#
  dialect_resources: {
    builtin: {
      we: "0x10000000000000000038003C00BC00BA0039003C00B800B6003A00B000B8003A00B800B40034003000BB00BC003A0038003A0030",
      w0: "0x10000000203FC0BE00BE203F40BFC0BE40BF00BE803F40BF80BE80BE603F20BF000000BF80BF003F60BF00BF0000000060BF803F003F803F60BF003F00BF003E603F00BF",
      w1: "0x10000000003800BA00B6003C00B0000000B800BB00B0003400B0003900B400340039003B00B000BC00380000003A00B000B400BB00B000340039003A00B90034003900B8",
      w2: "0x1000000000B6003A0030000000360000003C003800BC00BA0030003900BB003600380039003A00B90030003900B400B9000000BB00B9003A0036003A003A003A00B60000",
      w3: "0x10000000003400B8003B00BC003A003400B8003800B0003A003C00B800B000B900360034003A0039003C003C003B00BA00BC000000B6003B003900B000300034003B00BC",
      wh: "0x10000000000000000000C03E000000BE0000603F0000803F0000403F000000BE0000603F000060BF0000C03E000000BF000000BF0000C03E0000203F0000603F000020BF0000403F0000403F0000C0BE000060BF0000203F0000403F000000BE000040BF"
    }
  }
#-}
