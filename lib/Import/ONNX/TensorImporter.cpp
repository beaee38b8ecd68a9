//===- TensorImporter.cpp - TensorProto to attributes ---------------------===//
//
// Small tensors become dense attributes, larger ones take over the protobuf's
// bytes as a resource blob without a copy, external ones are described.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "TensorImporter.h"

#include "dialects/LLQ/LLQ.h"

#include "mlir/IR/Diagnostics.h"
#include "mlir/IR/DialectResourceBlobManager.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/CheckedArithmetic.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"

using namespace mlir;
using namespace llq;

/// Tensors of up to this many elements are dense attributes, which print
/// readably but live as long as the context.
static constexpr int64_t kMaxDenseElements = 64;

Type llq::getElementType(MLIRContext *context, int64_t dataType) {
  Builder b(context);
  using Proto = ::onnx::TensorProto;
  switch (dataType) {
  case Proto::FLOAT:
    return b.getF32Type();
  case Proto::DOUBLE:
    return b.getF64Type();
  case Proto::FLOAT16:
    return b.getF16Type();
  case Proto::BFLOAT16:
    return b.getBF16Type();
  case proto::kFloat8E4M3FN:
    return Float8E4M3FNType::get(context);
  case proto::kFloat8E4M3FNUZ:
    return Float8E4M3FNUZType::get(context);
  case proto::kFloat8E5M2:
    return Float8E5M2Type::get(context);
  case proto::kFloat8E5M2FNUZ:
    return Float8E5M2FNUZType::get(context);
  case Proto::INT8:
    return b.getI8Type();
  case Proto::INT16:
    return b.getI16Type();
  case Proto::INT32:
    return b.getI32Type();
  case Proto::INT64:
    return b.getI64Type();
  case proto::kInt4:
    return b.getIntegerType(4);
  case proto::kInt2:
    return b.getIntegerType(2);
  case Proto::UINT8:
    return b.getIntegerType(8, /*isSigned=*/false);
  case Proto::UINT16:
    return b.getIntegerType(16, /*isSigned=*/false);
  case Proto::UINT32:
    return b.getIntegerType(32, /*isSigned=*/false);
  case Proto::UINT64:
    return b.getIntegerType(64, /*isSigned=*/false);
  case proto::kUInt4:
    return b.getIntegerType(4, /*isSigned=*/false);
  case proto::kUInt2:
    return b.getIntegerType(2, /*isSigned=*/false);
  case Proto::BOOL:
    return b.getI1Type();
  default:
    return {};
  }
}

/// Bits that ONNX stores an element in.
static int64_t getStoredBits(Type type) {
  return type.isInteger(1) ? 8 : type.getIntOrFloatBitWidth();
}

TensorImporter::TensorImporter(MLIRContext *context, StringRef modelPath)
    : context(context) {
  SmallString<256> real;
  // The folder that the user names, also where the model is a symbolic link.
  StringRef parent = llvm::sys::path::parent_path(modelPath);
  if (!llvm::sys::fs::real_path(parent.empty() ? "." : parent, real))
    folder = real.str().str();
}

//===----------------------------------------------------------------------===//
// Data inside the protobuf
//===----------------------------------------------------------------------===//

/// Appends the low `size` bytes of each value of a typed field.
template <typename Field>
static std::string packField(const Field &field, size_t size) {
  std::string bytes;
  bytes.reserve(field.size() * size);
  for (auto value : field)
    bytes.append(reinterpret_cast<const char *>(&value), size);
  return bytes;
}

/// The data of `tensor` in ONNX's raw form, from whichever field holds it.
static std::string takeData(::onnx::TensorProto &tensor, Type elementType) {
  if (tensor.has_raw_data())
    return std::move(*tensor.mutable_raw_data());
  if (elementType.isF32())
    return packField(tensor.float_data(), 4);
  if (elementType.isF64())
    return packField(tensor.double_data(), 8);
  if (elementType.isInteger(64) && elementType.isUnsignedInteger())
    return packField(tensor.uint64_data(), 8);
  if (elementType.isInteger(32) && elementType.isUnsignedInteger())
    return packField(tensor.uint64_data(), 4);
  if (elementType.isInteger(64))
    return packField(tensor.int64_data(), 8);
  // All others are in int32_data; narrow ones packed, a byte in each value.
  return packField(tensor.int32_data(),
                   std::max<int64_t>(1, getStoredBits(elementType) / 8));
}

/// A blob that owns `bytes`.
static AsmResourceBlob makeBlob(std::string bytes) {
  auto *owned = new std::string(std::move(bytes));
  return AsmResourceBlob(
      ArrayRef<char>(owned->data(), owned->size()), alignof(std::max_align_t),
      [owned](void *, size_t, size_t) { delete owned; },
      /*dataIsMutable=*/false);
}

FailureOr<ImportedTensor> TensorImporter::import(::onnx::TensorProto &tensor,
                                                 const Twine &labelTwine,
                                                 EmitError emitError) {
  std::string label = labelTwine.str();
  Type element = getElementType(context, tensor.data_type());
  if (!element)
    return emitError() << label << " has unsupported data type "
                       << tensor.data_type();
  std::optional<int64_t> bits = getStoredBits(element);
  for (int64_t dim : tensor.dims()) {
    if (dim < 0)
      return emitError() << label << " has a negative dimension " << dim;
    if (bits)
      bits = llvm::checkedMul(*bits, dim);
  }
  if (!bits)
    return emitError() << label << " is too large";
  int64_t bytes = llvm::divideCeil(*bits, 8);
  SmallVector<int64_t> shape(tensor.dims().begin(), tensor.dims().end());
  auto type = RankedTensorType::get(shape, element);
  bool narrow = getStoredBits(element) < 8;
  Type byteType = IntegerType::get(context, 8, IntegerType::Unsigned);
  RankedTensorType stored =
      narrow ? RankedTensorType::get({bytes}, byteType) : type;

  if (tensor.has_data_location() &&
      tensor.data_location() == ::onnx::TensorProto::EXTERNAL) {
    if (element.isInteger(1))
      return emitError() << label
                         << " keeps booleans in external data, which "
                            "is not supported";
    FailureOr<TypedAttr> value =
        importExternal(tensor, stored, bytes, label, emitError);
    if (failed(value))
      return failure();
    return ImportedTensor{type, *value};
  }

  std::string data = takeData(tensor, element);
  if (int64_t(data.size()) != bytes)
    return emitError() << label << " has " << data.size()
                       << " bytes of data, its shape and type need " << bytes;
  if (element.isInteger(1)) {
    SmallVector<bool> values(llvm::map_range(data, [](char c) { return c; }));
    return ImportedTensor{type, DenseElementsAttr::get(type, values)};
  }
  if (stored.getNumElements() <= kMaxDenseElements) {
    if (stored.getNumElements() == 0)
      return ImportedTensor{
          type, DenseElementsAttr::get(stored, ArrayRef<Attribute>())};
    return ImportedTensor{type, DenseElementsAttr::getFromRawBuffer(
                                    stored, ArrayRef<char>(data))};
  }
  StringRef name =
      tensor.name().empty() ? StringRef("constant") : StringRef(tensor.name());
  return ImportedTensor{type, DenseResourceElementsAttr::get(
                                  stored, name, makeBlob(std::move(data)))};
}

//===----------------------------------------------------------------------===//
// External data
//===----------------------------------------------------------------------===//

FailureOr<const TensorImporter::File *>
TensorImporter::findFile(StringRef location, StringRef label,
                         EmitError emitError) {
  if (auto it = files.find(location); it != files.end())
    return &it->second;
  auto refuse = [&](const Twine &why) -> LogicalResult {
    return emitError() << label << " has its data in '" << location << "', "
                       << why;
  };
  namespace path = llvm::sys::path;
  if (location.empty() || location.contains('\0'))
    return emitError() << label << " has external data without a file name";
  if (path::is_absolute(location))
    return refuse("an absolute path: external data must lie in the model's "
                  "folder");
  for (StringRef part :
       llvm::make_range(path::begin(location), path::end(location)))
    if (part == "..")
      return refuse("outside the model's folder");

  SmallString<256> full(folder), real;
  path::append(full, location);
  if (std::error_code error = llvm::sys::fs::real_path(full, real))
    return refuse("which cannot be read (" + Twine(error.message()) +
                  "): put it beside the model");
  SmallString<256> prefix(folder);
  if (!prefix.ends_with("/"))
    prefix += '/';
  if (!StringRef(real).starts_with(prefix))
    return refuse("a link out of the model's folder: copy the file into it");
  llvm::sys::fs::file_status status;
  if (llvm::sys::fs::status(real, status) ||
      status.type() != llvm::sys::fs::file_type::regular_file)
    return refuse("which is not a file");

  File &file = files[location];
  file.path = real.str().str();
  file.size = status.getSize();
  file.modified = status.getLastModificationTime().time_since_epoch().count();
  return &file;
}

FailureOr<TypedAttr>
TensorImporter::importExternal(const ::onnx::TensorProto &tensor,
                               RankedTensorType stored, int64_t bytes,
                               StringRef label, EmitError emitError) {
  std::string location;
  int64_t offset = 0, length = -1;
  for (const ::onnx::StringStringEntryProto &entry : tensor.external_data()) {
    int64_t *number = entry.key() == "offset"   ? &offset
                      : entry.key() == "length" ? &length
                                                : nullptr;
    if (entry.key() == "location")
      location = entry.value();
    else if (number && (StringRef(entry.value()).getAsInteger(10, *number) ||
                        *number < 0))
      return emitError() << label << " has an invalid " << entry.key() << " '"
                         << entry.value() << "' of its external data";
  }
  FailureOr<const File *> file = findFile(location, label, emitError);
  if (failed(file))
    return failure();
  if (length >= 0 && length != bytes)
    return emitError() << label << " has " << length
                       << " bytes of external data, its shape and type need "
                       << bytes;
  std::optional<int64_t> end = llvm::checkedAdd(offset, bytes);
  if (!end || *end > (*file)->size)
    return emitError() << label << " needs " << bytes << " bytes at offset "
                       << offset << " of '" << location << "', which has only "
                       << (*file)->size;
  if (bytes == 0)
    return TypedAttr(DenseElementsAttr::get(stored, ArrayRef<Attribute>()));
  SmallVector<int64_t> strides(stored.getRank(), 1);
  for (int64_t i = stored.getRank() - 1; i > 0; --i)
    strides[i - 1] = strides[i] * stored.getDimSize(i);
  auto value = ExternalAttr::getChecked(
      emitError, context, stored, StringRef((*file)->path), offset,
      ArrayRef<int64_t>(strides), (*file)->size, (*file)->modified);
  if (!value)
    return failure();
  return TypedAttr(value);
}
