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

// -----

!q = !llq.quantized<1x4, #llq.codebook<bits = 2, group = 4, tables = 2, symmetric = true>>

func.func @counts(%x: tensor<?x4xf32>) -> tensor<?x1xf32> {
  // expected-error@+1 {{"layers.0.mlp.up_proj" has a group with 5 columns of the second table, the most is 4}}
  %w = llq.quantized_weight {codes = dense_resource<codes> : tensor<1x1xi8>, levels = dense_resource<levels> : tensor<1x1x2x2xf16>, counts = dense_resource<counts> : tensor<1xi8>} : !q
  %0 = llq.linear "layers.0.mlp.up_proj" %x, %w : tensor<?x4xf32>, !q -> tensor<?x1xf32>
  return %0 : tensor<?x1xf32>
}

{-#
  dialect_resources: {
    builtin: {
      codes: "0x010000001B",
      levels: "0x020000000038003C00400044",
      counts: "0x0100000005"
    }
  }
#-}

// -----

!q = !llq.quantized<1x4, #llq.mixed<widths = [1, 2], row_bits = 6, group = 2>>

func.func @unlisted(%x: tensor<?x4xf32>) -> tensor<?x1xf32> {
  // expected-error@+1 {{"layers.0.mlp.up_proj" has a group of 3 bits, which its format does not list}}
  %w = llq.quantized_weight {codes = dense_resource<codes> : tensor<1x1xi8>, scales = dense_resource<steps> : tensor<1x2xf16>, offsets = dense_resource<steps> : tensor<1x2xf16>, bits = dense_resource<bits> : tensor<2xi8>} : !q
  %0 = llq.linear "layers.0.mlp.up_proj" %x, %w : tensor<?x4xf32>, !q -> tensor<?x1xf32>
  return %0 : tensor<?x1xf32>
}

{-#
  dialect_resources: {
    builtin: {
      codes: "0x010000001D",
      steps: "0x02000000003C0038",
      bits: "0x010000000103"
    }
  }
#-}

// -----

!q = !llq.quantized<1x4, #llq.mixed<widths = [1, 2], row_bits = 6, group = 2>>

func.func @sum(%x: tensor<?x4xf32>) -> tensor<?x1xf32> {
  // expected-error@+1 {{"layers.0.mlp.up_proj" has groups of 8 bits in a row, its format says 6}}
  %w = llq.quantized_weight {codes = dense_resource<codes> : tensor<1x1xi8>, scales = dense_resource<steps> : tensor<1x2xf16>, offsets = dense_resource<steps> : tensor<1x2xf16>, bits = dense_resource<bits> : tensor<2xi8>} : !q
  %0 = llq.linear "layers.0.mlp.up_proj" %x, %w : tensor<?x4xf32>, !q -> tensor<?x1xf32>
  return %0 : tensor<?x1xf32>
}

{-#
  dialect_resources: {
    builtin: {
      codes: "0x010000001D",
      steps: "0x02000000003C0038",
      bits: "0x010000000202"
    }
  }
#-}

// -----

!q = !llq.quantized<1x4, #llq.outliers<base = #llq.uniform<bits = 2, group = 0, zero = none, scale = f16>, masks = 2, outliers = 2>>

func.func @base_code(%x: tensor<?x4xf32>) -> tensor<?x1xf32> {
  // expected-error@+1 {{"layers.0.mlp.up_proj" has an outlier in row 0 whose code in the base is not 0}}
  %w = llq.quantized_weight {codes = dense_resource<base> : tensor<1x1xi8>, scales = dense_resource<one> : tensor<1x1xf16>,
    presence = dense_resource<presence> : tensor<1x1xi8>, masks = dense_resource<masks> : tensor<2xi8>, outliers = dense_resource<eight> : tensor<2xi8>,
    starts = dense_resource<starts> : tensor<1x2xi32>, outlier_scales = dense_resource<one> : tensor<1xf16>, outlier_zeros = dense_resource<base> : tensor<1xi8>} : !q
  %0 = llq.linear "layers.0.mlp.up_proj" %x, %w : tensor<?x4xf32>, !q -> tensor<?x1xf32>
  return %0 : tensor<?x1xf32>
}

{-#
  dialect_resources: {
    builtin: {
      base: "0x0100000017",
      one: "0x02000000003C",
      presence: "0x010000000A",
      masks: "0x010000000101",
      eight: "0x010000000AC8",
      starts: "0x040000000000000000000000"
    }
  }
#-}

// -----

!q = !llq.quantized<1x4, #llq.outliers<base = #llq.uniform<bits = 2, group = 0, zero = none, scale = f16>, masks = 2, outliers = 2>>

func.func @mask(%x: tensor<?x4xf32>) -> tensor<?x1xf32> {
  // expected-error@+1 {{"layers.0.mlp.up_proj" has a mask that is none in row 0}}
  %w = llq.quantized_weight {codes = dense_resource<base> : tensor<1x1xi8>, scales = dense_resource<one> : tensor<1x1xf16>,
    presence = dense_resource<presence> : tensor<1x1xi8>, masks = dense_resource<masks> : tensor<2xi8>, outliers = dense_resource<eight> : tensor<2xi8>,
    starts = dense_resource<starts> : tensor<1x2xi32>, outlier_scales = dense_resource<one> : tensor<1xf16>, outlier_zeros = dense_resource<base> : tensor<1xi8>} : !q
  %0 = llq.linear "layers.0.mlp.up_proj" %x, %w : tensor<?x4xf32>, !q -> tensor<?x1xf32>
  return %0 : tensor<?x1xf32>
}

{-#
  dialect_resources: {
    builtin: {
      base: "0x0100000013",
      one: "0x02000000003C",
      presence: "0x010000000A",
      masks: "0x010000000102",
      eight: "0x010000000AC8",
      starts: "0x040000000000000000000000"
    }
  }
#-}

// -----

!q = !llq.quantized<1x4, #llq.outliers<base = #llq.uniform<bits = 2, group = 0, zero = none, scale = f16>, masks = 2, outliers = 2>>

func.func @more(%x: tensor<?x4xf32>) -> tensor<?x1xf32> {
  // expected-error@+1 {{"layers.0.mlp.up_proj" has more masks than it stores}}
  %w = llq.quantized_weight {codes = dense_resource<base> : tensor<1x1xi8>, scales = dense_resource<one> : tensor<1x1xf16>,
    presence = dense_resource<presence> : tensor<1x1xi8>, masks = dense_resource<masks> : tensor<2xi8>, outliers = dense_resource<eight> : tensor<2xi8>,
    starts = dense_resource<starts> : tensor<1x2xi32>, outlier_scales = dense_resource<one> : tensor<1xf16>, outlier_zeros = dense_resource<base> : tensor<1xi8>} : !q
  %0 = llq.linear "layers.0.mlp.up_proj" %x, %w : tensor<?x4xf32>, !q -> tensor<?x1xf32>
  return %0 : tensor<?x1xf32>
}

{-#
  dialect_resources: {
    builtin: {
      base: "0x0100000013",
      one: "0x02000000003C",
      presence: "0x010000000F",
      masks: "0x010000000101",
      eight: "0x010000000AC8",
      starts: "0x040000000000000000000000"
    }
  }
#-}

// -----

!q = !llq.quantized<1x4, #llq.outliers<base = #llq.uniform<bits = 2, group = 0, zero = none, scale = f16>, masks = 2, outliers = 2>>

func.func @fewer(%x: tensor<?x4xf32>) -> tensor<?x1xf32> {
  // expected-error@+1 {{"layers.0.mlp.up_proj" stores 2 masks and 2 codes, its rows have 1 and 1}}
  %w = llq.quantized_weight {codes = dense_resource<base> : tensor<1x1xi8>, scales = dense_resource<one> : tensor<1x1xf16>,
    presence = dense_resource<presence> : tensor<1x1xi8>, masks = dense_resource<masks> : tensor<2xi8>, outliers = dense_resource<eight> : tensor<2xi8>,
    starts = dense_resource<starts> : tensor<1x2xi32>, outlier_scales = dense_resource<one> : tensor<1xf16>, outlier_zeros = dense_resource<base> : tensor<1xi8>} : !q
  %0 = llq.linear "layers.0.mlp.up_proj" %x, %w : tensor<?x4xf32>, !q -> tensor<?x1xf32>
  return %0 : tensor<?x1xf32>
}

{-#
  dialect_resources: {
    builtin: {
      base: "0x0100000013",
      one: "0x02000000003C",
      presence: "0x0100000008",
      masks: "0x010000000101",
      eight: "0x010000000AC8",
      starts: "0x040000000000000000000000"
    }
  }
#-}

// -----

!q = !llq.quantized<1x4, #llq.outliers<base = #llq.uniform<bits = 2, group = 0, zero = none, scale = f16>, masks = 2, outliers = 2>>

func.func @starts(%x: tensor<?x4xf32>) -> tensor<?x1xf32> {
  // expected-error@+1 {{"layers.0.mlp.up_proj" says that row 0 begins where it does not}}
  %w = llq.quantized_weight {codes = dense_resource<base> : tensor<1x1xi8>, scales = dense_resource<one> : tensor<1x1xf16>,
    presence = dense_resource<presence> : tensor<1x1xi8>, masks = dense_resource<masks> : tensor<2xi8>, outliers = dense_resource<eight> : tensor<2xi8>,
    starts = dense_resource<starts> : tensor<1x2xi32>, outlier_scales = dense_resource<one> : tensor<1xf16>, outlier_zeros = dense_resource<base> : tensor<1xi8>} : !q
  %0 = llq.linear "layers.0.mlp.up_proj" %x, %w : tensor<?x4xf32>, !q -> tensor<?x1xf32>
  return %0 : tensor<?x1xf32>
}

{-#
  dialect_resources: {
    builtin: {
      base: "0x0100000013",
      one: "0x02000000003C",
      presence: "0x010000000A",
      masks: "0x010000000101",
      eight: "0x010000000AC8",
      starts: "0x040000000000000001000000"
    }
  }
#-}
