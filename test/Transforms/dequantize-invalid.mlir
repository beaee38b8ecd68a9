// RUN: llq-opt %s --llq-dequantize --verify-diagnostics --split-input-file

!q = !llq.quantized<2x4, #llq.uniform<bits = 2, group = 0, zero = none, scale = f16>>

func.func @elided(%x: tensor<?x4xf32>) -> tensor<?x2xf32> {
  // expected-error@+1 {{"layers.0.mlp.up_proj" resource 'codes' has no data: it was elided or released}}
  %w = llq.quantized_weight {codes = dense_resource<codes> : tensor<2x1xi8>, scales = dense_resource<scales> : tensor<2x1xf16>} : !q
  %0 = llq.linear "layers.0.mlp.up_proj" %x, %w : tensor<?x4xf32>, !q -> tensor<?x2xf32>
  return %0 : tensor<?x2xf32>
}

// -----

!q = !llq.quantized<2x4, #llq.uniform<bits = 2, group = 0, zero = none, scale = f16>>

func.func @short(%ids: tensor<?xi32>) -> tensor<?x4xf32> {
  // expected-error@+1 {{"embed_tokens" resource 'scales' has 2 bytes, its type tensor<2x1xf16> needs 4}}
  %w = llq.quantized_weight {codes = dense_resource<codes> : tensor<2x1xi8>, scales = dense_resource<scales> : tensor<2x1xf16>} : !q
  %0 = llq.embedding %ids, %w : tensor<?xi32>, !q -> tensor<?x4xf32>
  return %0 : tensor<?x4xf32>
}

{-#
  dialect_resources: {
    builtin: {
      codes: "0x01000000E4E4",
      scales: "0x02000000003C"
    }
  }
#-}
