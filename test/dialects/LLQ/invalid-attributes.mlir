// Every relation that attributes and types check.
// RUN: llq-opt %s --verify-diagnostics --split-input-file

// expected-error@+1 {{external weight needs a static shape and elements of whole bytes, found 'tensor<?xf32>'}}
func.func private @f() attributes {w = #llq.external<"/m", offset = 0, strides = [1], fileSize = 64, modified = 0> : tensor<?xf32>}

// -----

// expected-error@+1 {{external weight needs a static shape and elements of whole bytes, found 'tensor<4xi4>'}}
func.func private @f() attributes {w = #llq.external<"/m", offset = 0, strides = [1], fileSize = 64, modified = 0> : tensor<4xi4>}

// -----

// expected-error@+1 {{external weight of rank 2 has 1 strides}}
func.func private @f() attributes {w = #llq.external<"/m", offset = 0, strides = [1], fileSize = 64, modified = 0> : tensor<4x4xf32>}

// -----

// expected-error@+1 {{external weight needs positive dimensions and strides that are not negative}}
func.func private @f() attributes {w = #llq.external<"/m", offset = 0, strides = [-1], fileSize = 64, modified = 0> : tensor<4xf32>}

// -----

// expected-error@+1 {{external weight needs positive dimensions and strides that are not negative}}
func.func private @f() attributes {w = #llq.external<"/m", offset = 0, strides = [1], fileSize = 64, modified = 0> : tensor<0xf32>}

// -----

// One byte too few.
// expected-error@+1 {{external weight at offset 49 does not fit in /m of 64 bytes}}
func.func private @f() attributes {w = #llq.external<"/m", offset = 49, strides = [1], fileSize = 64, modified = 0> : tensor<4xf32>}

// -----

// expected-error@+1 {{external weight at offset -4 does not fit in /m of 64 bytes}}
func.func private @f() attributes {w = #llq.external<"/m", offset = -4, strides = [1], fileSize = 64, modified = 0> : tensor<4xf32>}

// -----

// The last element is past 63 bits.
// expected-error@+1 {{external weight at offset 0 does not fit in /m of 64 bytes}}
func.func private @f() attributes {w = #llq.external<"/m", offset = 0, strides = [9223372036854775807, 1], fileSize = 64, modified = 0> : tensor<3x4xf32>}

// -----

// expected-error@+1 {{external weight at offset 0 does not fit in /m of 64 bytes}}
func.func private @f() attributes {w = #llq.external<"/m", offset = 0, strides = [9223372036854775807], fileSize = 64, modified = 0> : tensor<2xf32>}

// -----

// expected-error@+1 {{uniform bits are 2 to 8, found 1}}
func.func private @f() attributes {f = #llq.uniform<bits = 1, group = 0, zero = none, scale = f16>}

// -----

// expected-error@+1 {{uniform bits are 2 to 8, found 9}}
func.func private @f() attributes {f = #llq.uniform<bits = 9, group = 0, zero = none, scale = f16>}

// -----

// expected-error@+1 {{uniform group is negative: -1}}
func.func private @f() attributes {f = #llq.uniform<bits = 4, group = -1, zero = none, scale = f16>}

// -----

// expected-error@+1 {{activation bits are 2 to 8, found 16}}
func.func private @f() attributes {f = #llq.dynamic<bits = 16, group = 0>}

// -----

// expected-error@+1 {{activation group is negative: -32}}
func.func private @f() attributes {f = #llq.dynamic<bits = 8, group = -32>}

// -----

// expected-error@+1 {{activation bits are 2 to 8, found 1}}
func.func private @f() attributes {f = #llq.static<bits = 1, scale = 0.5 : f32>}

// -----

// expected-error@+1 {{activation scale is an f32, found 5.000000e-01 : f64}}
func.func private @f() attributes {f = #llq.static<bits = 8, scale = 0.5 : f64>}

// -----

// expected-error@+1 {{activation scale is positive and finite, found 0.000000e+00 : f32}}
func.func private @f() attributes {f = #llq.static<bits = 8, scale = 0.0 : f32>}

// -----

// expected-error@+1 {{activation scale is positive and finite, found -5.000000e-01 : f32}}
func.func private @f() attributes {f = #llq.static<bits = 8, scale = -0.5 : f32>}

// -----

// expected-error@+1 {{activation scale is positive and finite, found 0x7F800000 : f32}}
func.func private @f() attributes {f = #llq.static<bits = 8, scale = 0x7F800000 : f32>}

// -----

// expected-error@+1 {{activations need a dynamic number of rows, written `?`}}
func.func private @f(!llq.quantized<4x4, #llq.static<bits = 8, scale = 0.5 : f32>>)

// -----

// expected-error@+1 {{architecture has a size that is not positive}}
func.func private @f() attributes {a = #llq.architecture<hidden = 0, layers = 1, heads = 2, kv_heads = 1, head_dim = 4, ffn = 16, vocab = 32, context_length = 64, rope_theta = 1.0 : f64, rope_scaling = "none", rope_parameters = [], norm_eps = 1.0e-05 : f64, tied_embeddings = true>}

// -----

// expected-error@+1 {{heads 3 is not a multiple of kv_heads 2}}
func.func private @f() attributes {a = #llq.architecture<hidden = 8, layers = 1, heads = 3, kv_heads = 2, head_dim = 4, ffn = 16, vocab = 32, context_length = 64, rope_theta = 1.0 : f64, rope_scaling = "none", rope_parameters = [], norm_eps = 1.0e-05 : f64, tied_embeddings = true>}

// -----

// expected-error@+1 {{rope_scaling is none, linear, llama3 or table, found yarn}}
func.func private @f() attributes {a = #llq.architecture<hidden = 8, layers = 1, heads = 2, kv_heads = 2, head_dim = 4, ffn = 16, vocab = 32, context_length = 64, rope_theta = 1.0 : f64, rope_scaling = "yarn", rope_parameters = [], norm_eps = 1.0e-05 : f64, tied_embeddings = true>}

// -----

// expected-error@+1 {{rope_scaling linear has 1 parameters, found 0}}
func.func private @f() attributes {a = #llq.architecture<hidden = 8, layers = 1, heads = 2, kv_heads = 2, head_dim = 4, ffn = 16, vocab = 32, context_length = 64, rope_theta = 1.0 : f64, rope_scaling = "linear", rope_parameters = [], norm_eps = 1.0e-05 : f64, tied_embeddings = true>}

// -----

// expected-error@+1 {{quantized type needs two dimensions, found 1}}
func.func private @f(!llq.quantized<4, #llq.uniform<bits = 4, group = 0, zero = none, scale = f16>>)

// -----

// expected-error@+1 {{quantized type needs a positive number of columns}}
func.func private @f(!llq.quantized<4x?, #llq.uniform<bits = 4, group = 0, zero = none, scale = f16>>)

// -----

// expected-error@+1 {{activations need a dynamic number of rows, written `?`}}
func.func private @f(!llq.quantized<4x4, #llq.dynamic<bits = 8, group = 0>>)

// -----

// expected-error@+1 {{quantized type needs a weight format, #llq.dynamic or #llq.static, found 4 : i32}}
func.func private @f(!llq.quantized<4x4, 4 : i32>)

// -----

// expected-error@+1 {{quantized weight needs a positive number of rows}}
func.func private @f(!llq.quantized<?x4, #llq.uniform<bits = 4, group = 0, zero = none, scale = f16>>)

// -----

// expected-error@+1 {{quantized weight of 2147483648 x 1024 is too large}}
func.func private @f(!llq.quantized<2147483648x1024, #llq.uniform<bits = 4, group = 0, zero = none, scale = f16>>)

// -----

// expected-error@+1 {{scaled weight needs #llq.external, dense_resource, #llq.scaled or #llq.rotated as source, found dense<1.000000e+00> : tensor<2x4xf32>}}
func.func private @f() attributes {w = #llq.scaled<source = dense<1.0> : tensor<2x4xf32>, rows = dense_resource<r> : tensor<2xf32>> : tensor<2x4xf32>}

// -----

// expected-error@+1 {{scaled weight needs a source matrix of f16, bf16 or f32, found 'tensor<4xf32>'}}
func.func private @f() attributes {w = #llq.scaled<source = dense_resource<w> : tensor<4xf32>, rows = dense_resource<r> : tensor<4xf32>> : tensor<4xf32>}

// -----

// expected-error@+1 {{scaled weight needs a source matrix of f16, bf16 or f32, found 'tensor<2x4xi8>'}}
func.func private @f() attributes {w = #llq.scaled<source = dense_resource<w> : tensor<2x4xi8>, rows = dense_resource<r> : tensor<2xf32>> : tensor<2x4xf32>}

// -----

// expected-error@+1 {{scaled weight has type 'tensor<2x4xf16>', its source needs 'tensor<2x4xf32>'}}
func.func private @f() attributes {w = #llq.scaled<source = dense_resource<w> : tensor<2x4xf16>, rows = dense_resource<r> : tensor<2xf32>> : tensor<2x4xf16>}

// -----

// expected-error@+1 {{scaled weight needs rows, columns or clip}}
func.func private @f() attributes {w = #llq.scaled<source = dense_resource<w> : tensor<2x4xf16>> : tensor<2x4xf32>}

// -----

// expected-error@+1 {{scaled weight has a negative group: -1}}
func.func private @f() attributes {w = #llq.scaled<source = dense_resource<w> : tensor<2x4xf16>, clip = dense_resource<c> : tensor<2x4xf32>, group = -1> : tensor<2x4xf32>}

// -----

// expected-error@+1 {{scaled weight has a group of 2 without clip}}
func.func private @f() attributes {w = #llq.scaled<source = dense_resource<w> : tensor<2x4xf16>, rows = dense_resource<r> : tensor<2xf32>, group = 2> : tensor<2x4xf32>}

// -----

// expected-error@+1 {{scaled weight needs #llq.external or dense_resource as rows, found dense<1.000000e+00> : tensor<2xf32>}}
func.func private @f() attributes {w = #llq.scaled<source = dense_resource<w> : tensor<2x4xf16>, rows = dense<1.0> : tensor<2xf32>> : tensor<2x4xf32>}

// -----

// expected-error@+1 {{scaled weight has rows of type 'tensor<4xf32>', needed is 'tensor<2xf32>'}}
func.func private @f() attributes {w = #llq.scaled<source = dense_resource<w> : tensor<2x4xf16>, rows = dense_resource<r> : tensor<4xf32>> : tensor<2x4xf32>}

// -----

// expected-error@+1 {{scaled weight has columns of type 'tensor<4xf16>', needed is 'tensor<4xf32>'}}
func.func private @f() attributes {w = #llq.scaled<source = dense_resource<w> : tensor<2x4xf16>, columns = dense_resource<r> : tensor<4xf16>> : tensor<2x4xf32>}

// -----

// expected-error@+1 {{scaled weight has clip of type 'tensor<2x1xf32>', needed is 'tensor<2x2xf32>'}}
func.func private @f() attributes {w = #llq.scaled<source = dense_resource<w> : tensor<2x4xf16>, clip = dense_resource<r> : tensor<2x1xf32>, group = 3> : tensor<2x4xf32>}

// -----

// expected-error@+1 {{rotated weight needs #llq.external, dense_resource or #llq.scaled as source, found dense<1.000000e+00> : tensor<2x4xf32>}}
func.func private @f() attributes {w = #llq.rotated<source = dense<1.0> : tensor<2x4xf32>, input = <kind = hadamard, size = 4, seed = 1>> : tensor<2x4xf32>}

// -----

// expected-error@+1 {{rotated weight has a source that is rotated}}
func.func private @f() attributes {w = #llq.rotated<source = #llq.scaled<source = #llq.rotated<source = dense_resource<w> : tensor<2x4xf16>, input = <kind = hadamard, size = 4, seed = 1>> : tensor<2x4xf32>, rows = dense_resource<r> : tensor<2xf32>> : tensor<2x4xf32>, input = <kind = hadamard, size = 4, seed = 1>> : tensor<2x4xf32>}

// -----

// expected-error@+1 {{rotated weight needs matrices of f16, bf16 or f32 of one shape, found a source of type 'tensor<2x4xi8>' and type 'tensor<2x4xf32>'}}
func.func private @f() attributes {w = #llq.rotated<source = dense_resource<w> : tensor<2x4xi8>, input = <kind = hadamard, size = 4, seed = 1>> : tensor<2x4xf32>}

// -----

// expected-error@+1 {{rotated weight needs matrices of f16, bf16 or f32 of one shape, found a source of type 'tensor<2x4xf16>' and type 'tensor<4x2xf16>'}}
func.func private @f() attributes {w = #llq.rotated<source = dense_resource<w> : tensor<2x4xf16>, input = <kind = hadamard, size = 2, seed = 1>> : tensor<4x2xf16>}

// -----

// expected-error@+1 {{rotated weight needs input or output}}
func.func private @f() attributes {w = #llq.rotated<source = dense_resource<w> : tensor<2x4xf16>> : tensor<2x4xf16>}

// -----

// expected-error@+1 {{rotated weight has an input of size 8, which does not divide 4}}
func.func private @f() attributes {w = #llq.rotated<source = dense_resource<w> : tensor<2x4xf16>, input = <kind = hadamard, size = 8, seed = 1>> : tensor<2x4xf16>}

// -----

// expected-error@+1 {{rotated weight has an output of size 4, which does not divide 2}}
func.func private @f() attributes {w = #llq.rotated<source = dense_resource<w> : tensor<2x4xf16>, output = <kind = hadamard, size = 4, seed = 1>> : tensor<2x4xf16>}

// -----

// expected-error@+1 {{planes are 1 to 4, found 5}}
func.func private @f() attributes {f = #llq.planes<count = 5, group = 0, offset = false>}

// -----

// expected-error@+1 {{planes group is negative: -1}}
func.func private @f() attributes {f = #llq.planes<count = 1, group = -1, offset = false>}

// -----

// expected-error@+1 {{codebook bits are 1 to 4, found 5}}
func.func private @f() attributes {f = #llq.codebook<bits = 5, group = 0, tables = 1, symmetric = false>}

// -----

// expected-error@+1 {{codebook tables are 1 or 2, found 3}}
func.func private @f() attributes {f = #llq.codebook<bits = 2, group = 0, tables = 3, symmetric = false>}

// -----

// expected-error@+1 {{mixed widths are 1 to 8, ascending, found [2, 1]}}
func.func private @f() attributes {f = #llq.mixed<widths = [2, 1], row_bits = 8, group = 0>}

// -----

// expected-error@+1 {{e8p bits are 2 to 4, found 5}}
func.func private @f() attributes {f = #llq.e8p<bits = 5>}

// -----

// expected-error@+1 {{e8p needs rows of a multiple of 32 weights, found 40}}
func.func private @f() attributes {f = !llq.quantized<1x40, #llq.e8p<bits = 2>>}

// -----

// expected-error@+1 {{outliers are those of #llq.planes, #llq.uniform or #llq.codebook, found #llq.e8p<bits = 2>}}
func.func private @f() attributes {f = #llq.outliers<base = #llq.e8p<bits = 2>, masks = 0, outliers = 0>}

// -----

// expected-error@+1 {{outliers are at least as many as their masks, found 1 and 2}}
func.func private @f() attributes {f = #llq.outliers<base = #llq.planes<count = 1, group = 0, offset = true>, masks = 2, outliers = 1>}

// -----

// expected-error@+1 {{a matrix of 1 x 8 cannot have 9 outliers}}
func.func private @f() attributes {f = !llq.quantized<1x8, #llq.outliers<base = #llq.planes<count = 1, group = 0, offset = true>, masks = 4, outliers = 9>>}

// -----

// expected-error@+1 {{mixed row_bits of 4 weights are 4 to 8, found 9}}
func.func private @f() attributes {f = !llq.quantized<1x4, #llq.mixed<widths = [1, 2], row_bits = 9, group = 2>>}
