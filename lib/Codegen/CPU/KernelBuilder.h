//===- KernelBuilder.h - Building blocks of CPU kernels ---------*- C++ -*-===//
//
// A thin layer over OpBuilder in which the kernels are written: pointers plus
// byte offsets, vectors of 16 lanes (a tile of rows, or 16 columns) that LLVM
// splits to the level's registers, and counted loops with carried values.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LIB_CODEGEN_CPU_KERNELBUILDER_H
#define LIB_CODEGEN_CPU_KERNELBUILDER_H

#include "llq/Codegen/CPULevel.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

namespace llq {

class KernelBuilder : public mlir::ImplicitLocOpBuilder {
public:
  using Value = mlir::Value;
  using VectorType = mlir::VectorType;

  /// Starts a kernel `name` at the end of `module`; the insertion point is its
  /// body. Call `finish` at the end.
  KernelBuilder(mlir::ModuleOp module, llvm::StringRef name,
                const CPULevel &level);

  const CPULevel &level;

  //===--- The kernel's arguments (llqrt/FileFormat.h) --------------------===//

  /// Pointer of buffer `i` of the dispatch.
  Value buffer(int64_t i);
  Value tokenBegin() { return callField(0); }
  Value tokenEnd() { return callField(1); }
  Value past() { return callField(2); }
  Value itemBegin() { return func.getArgument(2); }
  Value itemEnd() { return func.getArgument(3); }
  Value scratch() { return func.getArgument(4); }

  void finish() { mlir::func::ReturnOp::create(*this); }

  //===--- Types and constants --------------------------------------------===//

  VectorType f32x(int64_t n) { return VectorType::get(n, getF32Type()); }
  VectorType i32x(int64_t n) { return VectorType::get(n, getI32Type()); }
  VectorType i16x(int64_t n) { return VectorType::get(n, getI16Type()); }
  VectorType i8x(int64_t n) { return VectorType::get(n, getI8Type()); }
  Value i64(int64_t value);
  Value f32(double value);
  /// A vector (or scalar) of `type` with all elements `value`.
  Value splat(mlir::Type type, double value);
  Value splat(mlir::Type type, int64_t value);
  Value broadcast(VectorType type, Value scalar);
  /// A vector of `bytes` bytes that repeats `table`.
  Value repeat(llvm::ArrayRef<uint8_t> table, int64_t bytes);

  //===--- Integer arithmetic on i64 and addresses
  //-------------------------===//

  Value add(Value a, Value b);
  Value sub(Value a, Value b);
  Value mul(Value a, Value b);
  Value add(Value a, int64_t b) { return b ? add(a, i64(b)) : a; }
  Value mul(Value a, int64_t b) { return b == 1 ? a : mul(a, i64(b)); }
  Value div(Value a, int64_t b);
  Value rem(Value a, int64_t b);
  Value div(Value a, Value b);
  Value rem(Value a, Value b);
  Value min(Value a, Value b);
  /// `pointer` advanced by a number of bytes.
  Value advance(Value pointer, Value bytes);
  Value advance(Value pointer, int64_t bytes);

  //===--- Memory
  //----------------------------------------------------------===//

  Value load(mlir::Type type, Value pointer, int64_t bytes = 0);
  void store(Value value, Value pointer, int64_t bytes = 0);
  /// Of 32 f32 at `pointer`, those of the low 5 bits of 16 i32.
  Value gather32(Value pointer, Value indices);
  /// Lane i is element `indices[i]` of the array at `pointer`.
  Value gather(VectorType type, Value pointer, Value indices);
  /// A scalar of `type`'s element type, in all lanes.
  Value loadBroadcast(VectorType type, Value pointer, int64_t bytes = 0);
  /// `lanes` consecutive elements of `element` (f32, f16, bf16 or i8, the last
  /// unsigned), as f32.
  Value loadAsF32(int64_t lanes, mlir::Type element, Value pointer,
                  int64_t bytes = 0);
  /// Stores f32 lanes as f32 or f16.
  void storeF32As(mlir::Type element, Value value, Value pointer,
                  int64_t bytes = 0);
  void prefetch(Value pointer, int64_t bytes);

  //===--- Bytes ----------------------------------------------------------===//

  /// Bits [from, from + width) of each byte, moved to bit `to`.
  Value extractBits(Value bytes, int64_t from, int64_t width, int64_t to);
  /// Up to 64 bits of a vector of i1 as an i64, the first one lowest.
  Value collectBits(Value bits);
  Value popCount(Value bits);
  /// Of 64 bytes, those where the i64 `mask` has ones come one after another
  /// from `pointer`, the others are zero: bytes [first, first + count) of that.
  /// May read 64 bytes from anywhere up to the end of what is there.
  Value expandBytes(Value mask, Value pointer, int64_t first, int64_t count);
  /// The same of fields of 5 bits, from bit `bit` behind `pointer`, an i64
  /// below
  /// 8. What is above the fields in bytes of `mask` is undefined.
  Value expandFives(Value mask, Value pointer, Value bit, int64_t first,
                    int64_t count);
  /// Of `table`, 32 bytes, those of the low 5 bits of `indices`, bytes too.
  Value lookUp32(Value table, Value indices);
  /// 1 for each byte with an odd number of ones, else 0.
  Value parity(Value bytes);
  /// Bytes of `table`, a vector of 64, by the low 6 bits of as many indices.
  /// Only for ByteMoves::Vector.
  Value lookUp64(Value table, Value indices);
  /// Bytes of a table of 16, by indices below that; of a table of 256, by any.
  Value lookUp16(llvm::ArrayRef<uint8_t> table, Value indices);
  Value lookUp256(llvm::ArrayRef<uint8_t> table, Value indices);

  //===--- Floating point
  //---------------------------------------------------===//

  Value addf(Value a, Value b);
  Value subf(Value a, Value b);
  Value mulf(Value a, Value b);
  Value divf(Value a, Value b);
  /// `a * b + c`; rounded once where the level has FMA.
  Value fma(Value a, Value b, Value c);
  /// `b` if one of them is NaN.
  Value maxf(Value a, Value b);
  Value minf(Value a, Value b);
  /// e^x for x <= 0 or moderate x; relative error of a few ulp.
  Value exp(Value x);
  /// x / (1 + e^-x).
  Value silu(Value x);
  /// The scale that quantizes f32 values up to `largest` to codes up to
  /// `largestCode`, and what to divide them by. Where the scale would be
  /// subnormal, and too coarse to divide by, it is 0 and so are all codes.
  std::pair<Value, Value> groupScale(Value largest, int64_t largestCode);
  /// Sum, maximum or minimum over the lanes, in a fixed order.
  Value sumLanes(Value vector);
  Value maxLanes(Value vector);
  Value minLanes(Value vector);

  //===--- Control
  //-----------------------------------------------------------===//

  using Carried = llvm::SmallVector<Value>;
  /// `for (i = begin; i < end; i += step)` carrying values.
  Carried loop(Value begin, Value end, int64_t step, mlir::ValueRange init,
               llvm::function_ref<Carried(Value, mlir::ValueRange)> body);
  void loop(Value begin, Value end, int64_t step,
            llvm::function_ref<void(Value)> body);
  /// Runs `body(token, count)` over the tokens of the call, `most` at a time
  /// and the rest one at a time.
  void tokenLoop(int64_t most,
                 llvm::function_ref<void(Value token, int64_t count)> body);
  void ifThen(Value condition, llvm::function_ref<void()> body);
  void ifThenElse(Value condition, llvm::function_ref<void()> body,
                  llvm::function_ref<void()> otherwise);
  /// The values of `types` that one of the two makes.
  Carried choose(Value condition, mlir::TypeRange types,
                 llvm::function_ref<Carried()> body,
                 llvm::function_ref<Carried()> otherwise);

  /// i32 lanes plus the products of `codes` (unsigned bytes) and `activations`
  /// (signed bytes), four at a time. Only for DotKind::DotAccumulate.
  Value dotAccumulate(Value sum, Value codes, Value activations);
  Value intrinsic(llvm::StringRef name, mlir::Type result,
                  mlir::ValueRange operands);

private:
  Value callField(int64_t i);
  /// `body` of the parts of a vector of bytes that fill a register.
  Value perRegister(Value bytes, llvm::function_ref<Value(Value)> body);
  Value halfToFloat(Value bits);
  Value floatToHalf(Value value);

  mlir::func::FuncOp func;
};

} // namespace llq

#endif // LIB_CODEGEN_CPU_KERNELBUILDER_H
