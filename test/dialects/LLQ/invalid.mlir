// Every relation that ops check, one test each.
// RUN: llq-opt %s --verify-diagnostics --split-input-file

func.func @weight_of_constant() {
  // expected-error@+1 {{'llq.weight' op needs #llq.external, dense_resource, #llq.scaled or #llq.rotated, found dense<1.000000e+00> : tensor<2xf32>}}
  %w = llq.weight dense<1.0> : tensor<2xf32>
  return
}

// -----

func.func @weight_of_scalar() {
  // expected-error@+1 {{'llq.weight' op result #0 must be ranked tensor of any type values, but got 'i32'}}
  %w = llq.weight 1 : i32
  return
}

// -----

func.func @quantized_weight_of_activations() {
  // expected-error@+1 {{'llq.quantized_weight' op needs a weight type, found activations '!llq.quantized<?x4, #llq.dynamic<bits = 8, group = 0>>'}}
  %w = llq.quantized_weight {} : !llq.quantized<?x4, #llq.dynamic<bits = 8, group = 0>>
  return
}

// -----

func.func @quantized_weight_without_component() {
  // expected-error@+1 {{'llq.quantized_weight' op lacks component 'scales'}}
  %w = llq.quantized_weight {codes = dense_resource<c> : tensor<4x2xi8>} : !llq.quantized<4x4, #llq.uniform<bits = 4, group = 0, zero = none, scale = f16>>
  return
}

// -----

func.func @quantized_weight_of_constant() {
  // expected-error@+1 {{'llq.quantized_weight' op component 'codes' needs #llq.external or dense_resource, found dense<1> : tensor<4x2xi8>}}
  %w = llq.quantized_weight {codes = dense<1> : tensor<4x2xi8>, scales = dense_resource<s> : tensor<4x1xf16>} : !llq.quantized<4x4, #llq.uniform<bits = 4, group = 0, zero = none, scale = f16>>
  return
}

// -----

func.func @quantized_weight_of_another_shape() {
  // expected-error@+1 {{'llq.quantized_weight' op component 'codes' has type 'tensor<4x4xi8>', its format needs 'tensor<4x2xi8>'}}
  %w = llq.quantized_weight {codes = dense_resource<c> : tensor<4x4xi8>, scales = dense_resource<s> : tensor<4x1xf16>} : !llq.quantized<4x4, #llq.uniform<bits = 4, group = 0, zero = none, scale = f16>>
  return
}

// -----

func.func @quantized_weight_with_more() {
  // expected-error@+1 {{'llq.quantized_weight' op has 3 components, its format has 2}}
  %w = llq.quantized_weight {codes = dense_resource<c> : tensor<4x2xi8>, scales = dense_resource<s> : tensor<4x1xf16>, zeros = dense_resource<z> : tensor<4x1xi8>} : !llq.quantized<4x4, #llq.uniform<bits = 4, group = 0, zero = none, scale = f16>>
  return
}

// -----

func.func @dequantize_to_another_shape(%q: !llq.quantized<?x4, #llq.dynamic<bits = 8, group = 0>>) {
  // expected-error@+1 {{'llq.dequantize' op changes the shape}}
  %x = llq.dequantize %q : !llq.quantized<?x4, #llq.dynamic<bits = 8, group = 0>> -> tensor<?x8xf32>
  return
}

// -----

func.func @activations_in_a_weight_format(%x: tensor<?x4xf32>) {
  // expected-error@+1 {{'llq.quantize_activation' op needs quantized activations as result, found '!llq.quantized<4x4}}
  %q = llq.quantize_activation %x : tensor<?x4xf32> -> !llq.quantized<4x4, #llq.uniform<bits = 4, group = 0, zero = none, scale = f16>>
  return
}

// -----

func.func @activations_of_another_width(%x: tensor<?x4xf32>) {
  // expected-error@+1 {{'llq.quantize_activation' op changes the number of columns}}
  %q = llq.quantize_activation %x : tensor<?x4xf32> -> !llq.quantized<?x8, #llq.dynamic<bits = 8, group = 0>>
  return
}

// -----

func.func @dynamic_columns(%x: tensor<?x?xf32>) {
  // expected-error@+1 {{'llq.add' op operand #0 must be 2D tensor of f32 with a static number of columns, but got 'tensor<?x?xf32>'}}
  %y = llq.add %x, %x : tensor<?x?xf32>
  return
}

// -----

func.func @embedding_of_dynamic_table(%ids: tensor<?xi32>, %t: tensor<?x4xf32>) {
  // expected-error@+1 {{'llq.embedding' op needs a weight of static shape, found 'tensor<?x4xf32>'}}
  %y = llq.embedding %ids, %t : tensor<?xi32>, tensor<?x4xf32> -> tensor<?x4xf32>
  return
}

// -----

func.func @embedding_of_another_width(%ids: tensor<?xi32>, %t: tensor<8x4xf32>) {
  // expected-error@+1 {{'llq.embedding' op table has 4 columns, result has 8}}
  %y = llq.embedding %ids, %t : tensor<?xi32>, tensor<8x4xf32> -> tensor<?x8xf32>
  return
}

// -----

func.func @norm_of_another_width(%x: tensor<?x4xf32>, %w: tensor<8xf32>) {
  // expected-error@+1 {{'llq.rms_norm' op weight has 8 elements, input has 4 columns}}
  %y = llq.rms_norm %x, %w {epsilon = 1.0e-05 : f32} : tensor<?x4xf32>, tensor<8xf32>
  return
}

// -----

func.func @linear_with_activations_as_weight(%x: tensor<?x4xf32>, %w: !llq.quantized<?x4, #llq.dynamic<bits = 8, group = 0>>) {
  // expected-error@+1 {{'llq.linear' op needs a weight of static shape, found '!llq.quantized<?x4, #llq.dynamic<bits = 8, group = 0>>'}}
  %y = llq.linear "l" %x, %w : tensor<?x4xf32>, !llq.quantized<?x4, #llq.dynamic<bits = 8, group = 0>> -> tensor<?x4xf32>
  return
}

// -----

func.func @linear_with_weight_as_input(%x: !llq.quantized<4x4, #llq.uniform<bits = 4, group = 0, zero = none, scale = f16>>, %w: tensor<4x4xf32>) {
  // expected-error@+1 {{'llq.linear' op needs quantized activations as input, found a weight}}
  %y = llq.linear "l" %x, %w : !llq.quantized<4x4, #llq.uniform<bits = 4, group = 0, zero = none, scale = f16>>, tensor<4x4xf32> -> tensor<?x4xf32>
  return
}

// -----

func.func @linear_of_another_width(%x: tensor<?x4xf32>, %w: tensor<2x8xf32>) {
  // expected-error@+1 {{'llq.linear' op "l" has an input of 4 columns and a weight of 8}}
  %y = llq.linear "l" %x, %w : tensor<?x4xf32>, tensor<2x8xf32> -> tensor<?x2xf32>
  return
}

// -----

func.func @linear_to_another_width(%x: tensor<?x4xf32>, %w: tensor<2x4xf32>) {
  // expected-error@+1 {{'llq.linear' op "l" has a result of 4 columns and a weight of 2 rows}}
  %y = llq.linear "l" %x, %w : tensor<?x4xf32>, tensor<2x4xf32> -> tensor<?x4xf32>
  return
}

// -----

func.func @linear_with_short_bias(%x: tensor<?x4xf32>, %w: tensor<2x4xf32>, %b: tensor<1xf32>) {
  // expected-error@+1 {{'llq.linear' op "l" needs a bias of 2 elements}}
  %y = llq.linear "l" %x, %w bias %b : tensor<1xf32> : tensor<?x4xf32>, tensor<2x4xf32> -> tensor<?x2xf32>
  return
}

// -----

func.func @rotary_table_of_another_width(%p: tensor<?xi32>) {
  // expected-error@+1 {{'llq.rotary_table' op has 1 frequencies, results need as many columns}}
  %c, %s = llq.rotary_table %p {frequencies = array<f32: 1.0>} : tensor<?xi32> -> tensor<?x2xf32>
  return
}

// -----

func.func @rotary_lookup_of_two_types(%p: tensor<?xi32>, %a: tensor<8x2xf32>, %b: tensor<8x2xf16>) {
  // expected-error@+1 {{'llq.rotary_lookup' op needs tables of one type}}
  %c, %s = llq.rotary_lookup %p, %a, %b : tensor<?xi32>, tensor<8x2xf32>, tensor<8x2xf16> -> tensor<?x2xf32>
  return
}

// -----

func.func @rotary_lookup_of_another_width(%p: tensor<?xi32>, %a: tensor<8x4xf32>) {
  // expected-error@+1 {{'llq.rotary_lookup' op results need as many columns as the tables}}
  %c, %s = llq.rotary_lookup %p, %a, %a : tensor<?xi32>, tensor<8x4xf32>, tensor<8x4xf32> -> tensor<?x2xf32>
  return
}

// -----

func.func @rope_of_half_a_head(%x: tensor<?x6xf32>, %c: tensor<?x2xf32>) {
  // expected-error@+1 {{'llq.rope' op input of 6 columns is not a whole number of heads of 4}}
  %y = llq.rope %x, %c, %c : tensor<?x6xf32>, tensor<?x2xf32>
  return
}

// -----

func.func @attention_heads(%x: tensor<?x4xf32>, %p: index) {
  // expected-error@+1 {{'llq.attention' op needs heads to be a multiple of kv_heads, found 3 and 2}}
  %y = llq.attention %x, %x, %x, %p {layer = 0, heads = 3, kv_heads = 2, scale = 0.5 : f32} : tensor<?x4xf32>, tensor<?x4xf32>, tensor<?x4xf32> -> tensor<?x4xf32>
  return
}

// -----

func.func @attention_layer(%x: tensor<?x4xf32>, %p: index) {
  // expected-error@+1 {{'llq.attention' op layer is negative: -1}}
  %y = llq.attention %x, %x, %x, %p {layer = -1, heads = 1, kv_heads = 1, scale = 0.5 : f32} : tensor<?x4xf32>, tensor<?x4xf32>, tensor<?x4xf32> -> tensor<?x4xf32>
  return
}

// -----

func.func @attention_query(%x: tensor<?x4xf32>, %p: index) {
  // expected-error@+1 {{'llq.attention' op query of 4 columns is not 3 heads}}
  %y = llq.attention %x, %x, %x, %p {layer = 0, heads = 3, kv_heads = 1, scale = 0.5 : f32} : tensor<?x4xf32>, tensor<?x4xf32>, tensor<?x4xf32> -> tensor<?x4xf32>
  return
}

// -----

func.func @attention_key(%x: tensor<?x4xf32>, %p: index) {
  // expected-error@+1 {{'llq.attention' op key and value need 1 heads of 2 columns, found 4 columns}}
  %y = llq.attention %x, %x, %x, %p {layer = 0, heads = 2, kv_heads = 1, scale = 0.5 : f32} : tensor<?x4xf32>, tensor<?x4xf32>, tensor<?x4xf32> -> tensor<?x4xf32>
  return
}

// -----

func.func @attention_result(%x: tensor<?x4xf32>, %p: index) {
  // expected-error@+1 {{'llq.attention' op result has the type of the query}}
  %y = llq.attention %x, %x, %x, %p {layer = 0, heads = 1, kv_heads = 1, scale = 0.5 : f32} : tensor<?x4xf32>, tensor<?x4xf32>, tensor<?x4xf32> -> tensor<?x8xf32>
  return
}

// -----

func.func @region_without_yield(%x: tensor<?x4xf32>) {
  // expected-error@+1 {{'llq.region' op needs to end in llq.yield}}
  %y = llq.region : tensor<?x4xf32> {
    llvm.unreachable
  }
  return
}

// -----

func.func @region_of_another_type(%x: tensor<?x4xf32>) {
  %y = llq.region : tensor<?x8xf32> {
    // expected-error@+1 {{'llq.yield' op needs values of the types of its region's results, 'tensor<?x8xf32>'}}
    llq.yield %x : tensor<?x4xf32>
  }
  return
}

// -----

// expected-error@+1 {{'llq.program' op needs max_tokens of at least 1 and sizes that are not negative}}
llq.program @p max_tokens = 0 {
}

// -----

llq.program @p max_tokens = 1 {
  // expected-error@+1 {{unknown buffer kind 'constant'}}
  %b = llq.buffer constant "b" {bytes = 4}
}

// -----

llq.program @p max_tokens = 1 {
  // expected-error@+1 {{'llq.buffer' op "b" has a negative size or offset}}
  %b = llq.buffer temporary "b" {bytes_per_token = -4}
}

// -----

llq.program @p max_tokens = 1 {
  // expected-error@+1 {{'llq.buffer' op has content if and only if it is a weight}}
  %b = llq.buffer weight "b" {bytes = 4}
}

// -----

llq.program @p max_tokens = 1 {
  // expected-error@+1 {{'llq.buffer' op needs bytes (weight), bytes_per_position (state) or bytes_per_token (any other kind), and only that}}
  %b = llq.buffer input "b" {bytes = 4}
}

// -----

llq.program @p max_tokens = 1 {
  %b = llq.buffer output "b" {bytes_per_token = 4}
  // expected-error@+1 {{'llq.dispatch' op needs a grid of at least one work item}}
  llq.dispatch @k(%b) {num_writes = 1}
}

// -----

llq.program @p max_tokens = 1 {
  %b = llq.buffer output "b" {bytes_per_token = 4}
  // expected-error@+1 {{'llq.dispatch' op needs a grid of at least one work item}}
  llq.dispatch @k(%b) {items = -1, items_per_token = 4, num_writes = 1}
}

// -----

llq.program @p max_tokens = 1 {
  %b = llq.buffer output "b" {bytes_per_token = 4}
  // expected-error@+1 {{'llq.dispatch' op num_writes is 2 for 1 buffers}}
  llq.dispatch @k(%b) {items = 1, num_writes = 2}
}

// -----

llq.program @p max_tokens = 1 {
  %b = llq.buffer input "ids" {bytes_per_token = 4}
  // expected-error@+1 {{'llq.dispatch' op writes input "ids"}}
  llq.dispatch @k(%b) {items = 1, num_writes = 1}
}

// -----

func.func @order_of_another_length(%x: tensor<?x4xf32>) {
  // expected-error@+1 {{'llq.permute_channels' op has an order of type 'tensor<3xi32>' for 4 channels}}
  %y = llq.permute_channels %x by dense<[2, 0, 1]> : tensor<3xi32> : tensor<?x4xf32>
  return
}

// -----

func.func @order_of_two_dimensions(%x: tensor<?x4xf32>) {
  // expected-error@+1 {{'llq.permute_channels' op has an order of type 'tensor<1x4xi32>' for 4 channels}}
  %y = llq.permute_channels %x by dense<[[2, 0, 1, 3]]> : tensor<1x4xi32> : tensor<?x4xf32>
  return
}

// -----

func.func @order_without_channel(%x: tensor<?x4xf32>) {
  // expected-error@+1 {{'llq.permute_channels' op has channel 4 in its order, the input has 4}}
  %y = llq.permute_channels %x by dense<[2, 0, 4, 1]> : tensor<4xi32> : tensor<?x4xf32>
  return
}

// -----

func.func @order_of_negative_channel(%x: tensor<?x4xf32>) {
  // expected-error@+1 {{'llq.permute_channels' op has channel -1 in its order, the input has 4}}
  %y = llq.permute_channels %x by dense<[2, 0, -1, 1]> : tensor<4xi32> : tensor<?x4xf32>
  return
}

// -----

func.func @order_with_a_channel_twice(%x: tensor<?x4611686018427387904xf32>) {
  // expected-error@+1 {{'llq.permute_channels' op has channel 0 twice in its order}}
  %y = llq.permute_channels %x by dense<0> : tensor<4611686018427387904xi32> : tensor<?x4611686018427387904xf32>
  return
}
