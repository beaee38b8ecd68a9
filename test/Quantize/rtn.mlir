// Codes, scales and zero points of the worked examples, as bytes: codes are a
// bit stream per row, low bits first; blobs start with their alignment, 16.
//
// RUN: llq-opt %s --llq-quantize-rtn='bits=2 group-size=0 scale-type=f32 only=a' | FileCheck %s --check-prefix=A
// RUN: llq-opt %s --llq-quantize-rtn='bits=4 group-size=0 scale-type=f32 only=b' | FileCheck %s --check-prefix=B
// RUN: llq-opt %s --llq-quantize-rtn='bits=4 only=b' | FileCheck %s --check-prefix=F16
// RUN: llq-opt %s --llq-quantize-rtn='bits=4 symmetric=true scale-type=f32 only=b' | FileCheck %s --check-prefix=SYM
// RUN: llq-opt %s --llq-quantize-rtn='bits=4 scheme=symmetric scale-type=f32 only=b' | FileCheck %s --check-prefix=SYM
// RUN: llq-opt %s --llq-quantize-rtn='bits=4 scheme=signed scale-type=f32 only=b' | FileCheck %s --check-prefix=SIGNED
// RUN: llq-opt %s --llq-quantize-rtn='bits=2 symmetric=true scale-type=f32 only=c' | FileCheck %s --check-prefix=ONESIDED
// RUN: llq-opt %s --llq-quantize-rtn='bits=3 group-size=0 scale-type=f32 only=e' | FileCheck %s --check-prefix=ROW
// RUN: llq-opt %s --llq-quantize-rtn='bits=3 group-size=4 scale-type=f32 only=e' | FileCheck %s --check-prefix=GROUPS
// RUN: llq-opt %s --llq-quantize-rtn='bits=3 group-size=3 scale-type=f32 only=e' | FileCheck %s --check-prefix=TAIL
// RUN: llq-opt %s --llq-quantize-rtn='bits=2 scale-type=f32 only=zero' | FileCheck %s --check-prefix=ZERO
// RUN: llq-opt %s --llq-quantize-rtn='bits=2 scale-type=f32 only=o' | FileCheck %s --check-prefix=NOCLIP
// RUN: llq-opt %s --llq-quantize-rtn='bits=2 scale-type=f32 clip=mse only=o' | FileCheck %s --check-prefix=CLIP
// RUN: llq-opt %s --llq-quantize-rtn='bits=5 scale-type=f32 only=b' | FileCheck %s --check-prefix=BITS5
// RUN: llq-opt %s --llq-quantize-rtn='bits=6 scale-type=f32 only=b' | FileCheck %s --check-prefix=BITS6
// RUN: llq-opt %s --llq-quantize-rtn='bits=7 scale-type=f32 only=b' | FileCheck %s --check-prefix=BITS7
// RUN: llq-opt %s --llq-quantize-rtn='bits=8 scale-type=f32 only=b' | FileCheck %s --check-prefix=BITS8

// -1.0, 0.2, 0.9, 2.0: s = 1, z = 1, codes 0 1 2 3.
// A: llq.quantized_weight {codes = dense_resource<a.codes> : tensor<1x1xi8>, scales = dense_resource<a.scales> : tensor<1x1xf32>, zeros = dense_resource<a.zeros> : tensor<1x1xi8>} : <1x4, #llq.uniform<bits = 2, group = 0, zero = int, scale = f32>>
// A: llq.linear "a" {{.*}}method = {clipped = 0.{{.*}}, name = "rtn", options = "bits=2 clip=none embedding-bits=0 group-size=0 head-bits=0 importance=false only={a} scale-type=f32 scheme=asymmetric symmetric=false", relative_error = 0.092450{{.*}} : f64, rmse = 0.1118034{{.*}} : f64, scale_max = 1.{{.*}}, scale_min = 1.{{.*}}}
// A-DAG: a.codes: "0x10000000E4"
// A-DAG: a.scales: "0x100000000000803F"
// A-DAG: a.zeros: "0x1000000001"

// -0.7, -0.1, 0.06, 0.8: s = 0.1, z = 7, codes 0 6 8 15.
// B: #llq.uniform<bits = 4, group = 0, zero = int, scale = f32>
// B-DAG: b.codes: "0x1000000060F8"
// B-DAG: b.scales: "0x10000000CDCCCC3D"
// B-DAG: b.zeros: "0x1000000007"

// The scale is rounded to half first: 0.09998.
// F16: #llq.uniform<bits = 4, group = 128, zero = int, scale = f16>
// F16-DAG: b.codes: "0x1000000060F8"
// F16-DAG: b.scales: "0x10000000662E"

// s = 0.1066667, codes 1 7 9 15 around 8.
// SYM: llq.quantized_weight {codes = {{[^,]*}}, scales = {{[^,]*}}} : {{.*}}#llq.uniform<bits = 4, group = 128, zero = none, scale = f32>
// SYM-DAG: b.codes: "0x1000000071F9"
// SYM-DAG: b.scales: "0x100000000E74DA3D"

// s = 0.1142857, signed codes -6 -1 1 7, stored plus 8.
// SIGNED: #llq.uniform<bits = 4, group = 128, zero = none, scale = f32>
// SIGNED-DAG: b.codes: "0x1000000072F9"
// SIGNED-DAG: b.scales: "0x10000000A10EEA3D"

// 0.5, 0.9, 1.4, 2.6: without negative weights the range of the symmetric scheme
// is half as wide, and all codes are 3.
// ONESIDED-DAG: c.codes: "0x10000000FF"
// ONESIDED-DAG: c.scales: "0x10000000DDDD5D3F"

// -0.07, 0.02, 0.05, 0.14, -1.4, 0.3, 0.9, 2.1: one group for the row, codes
// 3 3 3 3 0 4 5 7; two groups, 0 3 4 7 and 0 4 5 7; and 3 + 3 + 2.
// ROW: tensor<1x3xi8>, {{.*}} tensor<1x1xf32>
// ROW-DAG: e.codes: "0x10000000DB06F6"
// ROW-DAG: e.zeros: "0x1000000003"
// GROUPS: tensor<1x3xi8>, {{.*}} tensor<1x2xf32>
// GROUPS-DAG: e.codes: "0x10000000180FF6"
// GROUPS-DAG: e.scales: "0x1000000090C2F53C0000003F"
// GROUPS-DAG: e.zeros: "0x100000001A"
// TAIL: tensor<1x3xi8>, {{.*}} tensor<1x3xf32>
// TAIL-DAG: e.codes: "0x10000000E88FEF"
// TAIL-DAG: e.scales: "0x100000002E6F8C3C8BAF783E9999993E"
// TAIL-DAG: e.zeros: "0x100000003400"

// A group of zeros has the range -1 to 1: s = 2/3, z = 2.
// ZERO: relative_error = 0.000000e+00 : f64, rmse = 0.000000e+00 : f64
// ZERO-DAG: zero.codes: "0x10000000AA"
// ZERO-DAG: zero.scales: "0x10000000ABAA2A3F"

// Seven weights near 1 and one of 4: the search takes 84 % of the range.
// NOCLIP: rmse = 0.71547{{.*}}
// NOCLIP-DAG: o.codes: "0x1000000098E2"
// NOCLIP-DAG: o.scales: "0x100000007877D73F"
// CLIP: clip=mse {{.*}}rmse = 0.60731{{.*}}
// CLIP-DAG: o.codes: "0x1000000088E2"
// CLIP-DAG: o.scales: "0x10000000F3FDB43F"

// BITS5: tensor<1x3xi8>
// BITS5-DAG: b.codes: "0x1000000080BD0F"
// BITS5-DAG: b.zeros: "0x100000000E"
// BITS6: tensor<1x3xi8>
// BITS6-DAG: b.codes: "0x100000004006FE"
// BITS6-DAG: b.zeros: "0x100000001D"
// BITS7: tensor<1x4xi8>
// BITS7-DAG: b.codes: "0x100000008019F00F"
// BITS7-DAG: b.zeros: "0x100000003B"
// BITS8: tensor<1x4xi8>
// BITS8-DAG: b.codes: "0x10000000006681FF"
// BITS8-DAG: b.zeros: "0x1000000077"

func.func @forward(%x: tensor<?x4xf32>, %z: tensor<?x8xf32>)
    -> (tensor<?x1xf32>, tensor<?x1xf32>, tensor<?x1xf32>, tensor<?x1xf32>, tensor<?x1xf32>, tensor<?x1xf32>) {
  %wa = llq.weight dense_resource<wa> : tensor<1x4xf32>
  %a = llq.linear "a" %x, %wa : tensor<?x4xf32>, tensor<1x4xf32> -> tensor<?x1xf32>
  %wb = llq.weight dense_resource<wb> : tensor<1x4xf32>
  %b = llq.linear "b" %x, %wb : tensor<?x4xf32>, tensor<1x4xf32> -> tensor<?x1xf32>
  %wc = llq.weight dense_resource<wc> : tensor<1x4xf32>
  %c = llq.linear "c" %x, %wc : tensor<?x4xf32>, tensor<1x4xf32> -> tensor<?x1xf32>
  %wz = llq.weight dense_resource<wz> : tensor<1x4xf32>
  %zero = llq.linear "zero" %x, %wz : tensor<?x4xf32>, tensor<1x4xf32> -> tensor<?x1xf32>
  %we = llq.weight dense_resource<we> : tensor<1x8xf32>
  %e = llq.linear "e" %z, %we : tensor<?x8xf32>, tensor<1x8xf32> -> tensor<?x1xf32>
  %wo = llq.weight dense_resource<wo> : tensor<1x8xf32>
  %o = llq.linear "o" %z, %wo : tensor<?x8xf32>, tensor<1x8xf32> -> tensor<?x1xf32>
  return %a, %b, %c, %zero, %e, %o : tensor<?x1xf32>, tensor<?x1xf32>, tensor<?x1xf32>, tensor<?x1xf32>, tensor<?x1xf32>, tensor<?x1xf32>
}

{-#
  dialect_resources: {
    builtin: {
      wa: "0x04000000000080BFCDCC4C3E6666663F00000040",
      wb: "0x04000000333333BFCDCCCCBD8FC2753DCDCC4C3F",
      wc: "0x040000000000003F6666663F3333B33F66662640",
      wz: "0x0400000000000000000000000000000000000000",
      we: "0x04000000295C8FBD0AD7A33CCDCC4C3D295C0F3E3333B3BF9A99993E6666663F66660640",
      wo: "0x04000000000080BF6666663FCDCC4CBFCDCC8C3F3333733F666686BF9A99593F00008040"
    }
  }
#-}
