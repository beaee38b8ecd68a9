// RUN: llq-opt %s --llq-verify-normal --verify-diagnostics --split-input-file

// expected-error@+1 {{module has no attribute llq.architecture of a model}}
module {
}

// -----

#model = #llq.architecture<hidden = 4, layers = 1, heads = 2, kv_heads = 1, head_dim = 2, ffn = 8, vocab = 0, context_length = 16, rope_theta = 1.0e+04 : f64, rope_scaling = "none", rope_parameters = [], norm_eps = 1.0e-05 : f64, tied_embeddings = false>

// expected-error@+1 {{module has no function @forward of one block}}
module attributes {llq.architecture = #model} {
  func.func private @forward(%ids: tensor<?xi32>, %past: index) -> tensor<?x4xf32>
}

// -----

#model = #llq.architecture<hidden = 4, layers = 1, heads = 2, kv_heads = 1, head_dim = 2, ffn = 8, vocab = 0, context_length = 16, rope_theta = 1.0e+04 : f64, rope_scaling = "none", rope_parameters = [], norm_eps = 1.0e-05 : f64, tied_embeddings = false>

module attributes {llq.architecture = #model} {
  // expected-error@+1 {{'func.func' op has type '(tensor<?xi32>) -> tensor<?x8xf32>', its architecture needs '(tensor<?xi32>, index) -> tensor<?x4xf32>'}}
  func.func @forward(%ids: tensor<?xi32>) -> tensor<?x8xf32> {
    %w = llq.weight dense_resource<w> : tensor<6x8xf16>
    %x = llq.embedding %ids, %w : tensor<?xi32>, tensor<6x8xf16> -> tensor<?x8xf32>
    return %x : tensor<?x8xf32>
  }
}

// -----

#model = #llq.architecture<hidden = 4, layers = 1, heads = 2, kv_heads = 1, head_dim = 2, ffn = 8, vocab = 0, context_length = 16, rope_theta = 1.0e+04 : f64, rope_scaling = "none", rope_parameters = [], norm_eps = 1.0e-05 : f64, tied_embeddings = false>

module attributes {llq.architecture = #model} {
  // expected-error@+1 {{'func.func' op has 0 attentions, its architecture has 1 layers}}
  func.func @forward(%ids: tensor<?xi32>, %past: index) -> tensor<?x4xf32> {
    %w = llq.weight dense_resource<w> : tensor<6x4xf16>
    %x = llq.embedding %ids, %w : tensor<?xi32>, tensor<6x4xf16> -> tensor<?x4xf32>
    return %x : tensor<?x4xf32>
  }
}

// -----

#model = #llq.architecture<hidden = 4, layers = 1, heads = 2, kv_heads = 1, head_dim = 2, ffn = 8, vocab = 0, context_length = 16, rope_theta = 1.0e+04 : f64, rope_scaling = "none", rope_parameters = [], norm_eps = 1.0e-05 : f64, tied_embeddings = false>

module attributes {llq.architecture = #model} {
  func.func @forward(%ids: tensor<?xi32>, %past: index) -> tensor<?x4xf32> {
    %w = llq.weight dense_resource<w> : tensor<6x4xf16>
    %x = llq.embedding %ids, %w : tensor<?xi32>, tensor<6x4xf16> -> tensor<?x4xf32>
    // expected-error@+1 {{'arith.addf' op does not belong to the normal form}}
    %y = arith.addf %x, %x : tensor<?x4xf32>
    return %y : tensor<?x4xf32>
  }
}

// -----

#model = #llq.architecture<hidden = 4, layers = 1, heads = 2, kv_heads = 1, head_dim = 2, ffn = 8, vocab = 0, context_length = 16, rope_theta = 1.0e+04 : f64, rope_scaling = "none", rope_parameters = [], norm_eps = 1.0e-05 : f64, tied_embeddings = false>

module attributes {llq.architecture = #model} {
  func.func @forward(%ids: tensor<?xi32>, %past: index) -> tensor<?x4xf32> {
    %w = llq.quantized_weight {codes = dense_resource<c> : tensor<4x2xi8>, scales = dense_resource<s> : tensor<4x1xf16>} : !llq.quantized<4x4, #llq.uniform<bits = 4, group = 0, zero = none, scale = f16>>
    // expected-error@+1 {{'llq.dequantize' op does not belong to the normal form}}
    %d = llq.dequantize %w : !llq.quantized<4x4, #llq.uniform<bits = 4, group = 0, zero = none, scale = f16>> -> tensor<4x4xf32>
    %x = llq.embedding %ids, %d : tensor<?xi32>, tensor<4x4xf32> -> tensor<?x4xf32>
    return %x : tensor<?x4xf32>
  }
}

// -----

#model = #llq.architecture<hidden = 4, layers = 1, heads = 2, kv_heads = 1, head_dim = 2, ffn = 8, vocab = 0, context_length = 16, rope_theta = 1.0e+04 : f64, rope_scaling = "none", rope_parameters = [], norm_eps = 1.0e-05 : f64, tied_embeddings = false>

module attributes {llq.architecture = #model} {
  func.func @forward(%ids: tensor<?xi32>, %past: index) -> tensor<?x4xf32> {
    %w = llq.weight dense_resource<w> : tensor<6x4xf32>
    %x = llq.embedding %ids, %w : tensor<?xi32>, tensor<6x4xf32> -> tensor<?x4xf32>
    // expected-error@+1 {{'llq.linear' op has no name}}
    %y = llq.linear "" %x, %w : tensor<?x4xf32>, tensor<6x4xf32> -> tensor<?x6xf32>
    return %x : tensor<?x4xf32>
  }
}

// -----

#model = #llq.architecture<hidden = 4, layers = 1, heads = 2, kv_heads = 1, head_dim = 2, ffn = 8, vocab = 0, context_length = 16, rope_theta = 1.0e+04 : f64, rope_scaling = "none", rope_parameters = [], norm_eps = 1.0e-05 : f64, tied_embeddings = false>

module attributes {llq.architecture = #model} {
  func.func @forward(%ids: tensor<?xi32>, %past: index) -> tensor<?x4xf32> {
    %w = llq.weight dense_resource<w> : tensor<4x4xf32>
    %x = llq.embedding %ids, %w : tensor<?xi32>, tensor<4x4xf32> -> tensor<?x4xf32>
    // expected-note@+1 {{another one is here}}
    %y = llq.linear "layers.0.mlp.up_proj" %x, %w : tensor<?x4xf32>, tensor<4x4xf32> -> tensor<?x4xf32>
    // expected-error@+1 {{'llq.linear' op "layers.0.mlp.up_proj" is not the only layer of this name}}
    %z = llq.linear "layers.0.mlp.up_proj" %y, %w : tensor<?x4xf32>, tensor<4x4xf32> -> tensor<?x4xf32>
    return %z : tensor<?x4xf32>
  }
}

// -----

#model = #llq.architecture<hidden = 4, layers = 1, heads = 2, kv_heads = 1, head_dim = 2, ffn = 8, vocab = 0, context_length = 16, rope_theta = 1.0e+04 : f64, rope_scaling = "none", rope_parameters = [], norm_eps = 1.0e-05 : f64, tied_embeddings = false>

module attributes {llq.architecture = #model} {
  func.func @forward(%ids: tensor<?xi32>, %past: index) -> tensor<?x4xf32> {
    %w = llq.weight dense_resource<w> : tensor<4x4xf32>
    %x = llq.embedding %ids, %w : tensor<?xi32>, tensor<4x4xf32> -> tensor<?x4xf32>
    // expected-error@+1 {{'llq.attention' op is the attention of layer 1, expected layer 0}}
    %y = llq.attention %x, %x, %x, %past {layer = 1, heads = 2, kv_heads = 2, scale = 0.5 : f32} : tensor<?x4xf32>, tensor<?x4xf32>, tensor<?x4xf32> -> tensor<?x4xf32>
    return %y : tensor<?x4xf32>
  }
}

// -----

#model = #llq.architecture<hidden = 4, layers = 1, heads = 2, kv_heads = 1, head_dim = 2, ffn = 8, vocab = 0, context_length = 16, rope_theta = 1.0e+04 : f64, rope_scaling = "none", rope_parameters = [], norm_eps = 1.0e-05 : f64, tied_embeddings = false>

module attributes {llq.architecture = #model} {
  func.func @forward(%ids: tensor<?xi32>, %past: index) -> tensor<?x4xf32> {
    %w = llq.weight dense_resource<w> : tensor<4x4xf32>
    %x = llq.embedding %ids, %w : tensor<?xi32>, tensor<4x4xf32> -> tensor<?x4xf32>
    // expected-error@+1 {{'llq.attention' op has 2 heads and 2 kv_heads of 2, the architecture has 2 and 1 of 2}}
    %y = llq.attention %x, %x, %x, %past {layer = 0, heads = 2, kv_heads = 2, scale = 0.5 : f32} : tensor<?x4xf32>, tensor<?x4xf32>, tensor<?x4xf32> -> tensor<?x4xf32>
    return %y : tensor<?x4xf32>
  }
}

// -----

#model = #llq.architecture<hidden = 4, layers = 1, heads = 2, kv_heads = 1, head_dim = 2, ffn = 8, vocab = 0, context_length = 16, rope_theta = 1.0e+04 : f64, rope_scaling = "none", rope_parameters = [], norm_eps = 1.0e-05 : f64, tied_embeddings = false>

module attributes {llq.architecture = #model} {
  func.func @forward(%ids: tensor<?xi32>, %past: index) -> tensor<?x4xf32> {
    %w = llq.weight dense_resource<w> : tensor<4x4xf32>
    %x = llq.embedding %ids, %w : tensor<?xi32>, tensor<4x4xf32> -> tensor<?x4xf32>
    // expected-error@+1 {{'llq.permute_channels' op does not belong to the normal form}}
    %y = llq.permute_channels %x by dense<[2, 0, 3, 1]> : tensor<4xi32> : tensor<?x4xf32>
    return %y : tensor<?x4xf32>
  }
}
