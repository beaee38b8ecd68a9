//===- Npy.cpp - Arrays in NumPy's file format ----------------------------===//
//
// The header is a Python dictionary in ASCII; only its three keys are looked
// for, in whatever order and spacing.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "support/Npy.h"

#include <cerrno>
#include <cstring>
#include <regex>

using namespace llq::tools;
using llqrt::Status;

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
              "arrays are written as they lie in memory");

std::string llq::tools::npyHeader(uint64_t rows, uint64_t columns) {
  std::string text = "{'descr': '<f4', 'fortran_order': False, 'shape': (" +
                     std::to_string(rows) + ", " + std::to_string(columns) +
                     "), }";
  // Magic, version, length and text together are a multiple of 64 bytes.
  size_t length = (10 + text.size() + 1 + 63) / 64 * 64 - 10;
  text.resize(length - 1, ' ');
  text += '\n';
  std::string header = "\x93NUMPY\x01";
  header += '\0';
  header += static_cast<char>(length & 0xff);
  header += static_cast<char>(length >> 8);
  return header + text;
}

Status NpyReader::open(const std::string &filePath, uint64_t rows,
                       uint64_t columns) {
  path = filePath;
  errno = 0;
  file.open(path, std::ios::binary);
  if (!file)
    return Status::fileError(path + ": " + std::strerror(errno));
  unsigned char start[12] = {};
  file.read(reinterpret_cast<char *>(start), 10);
  if (!file || std::memcmp(start, "\x93NUMPY", 6) != 0)
    return Status::badFile(path + ": not a NumPy array file");
  if (start[6] < 1 || start[6] > 3)
    return Status::badFile(path + ": version " + std::to_string(start[6]) +
                           " of NumPy's format is not known");
  size_t length = start[8] | start[9] << 8;
  if (start[6] >= 2) {
    file.read(reinterpret_cast<char *>(start + 10), 2);
    length |= static_cast<size_t>(start[10]) << 16 |
              static_cast<size_t>(start[11]) << 24;
  }
  if (!file || length > (1u << 20))
    return Status::badFile(path + ": damaged NumPy header");
  std::string text(length, '\0');
  file.read(text.data(), static_cast<std::streamsize>(length));
  if (!file)
    return Status::badFile(path + ": damaged NumPy header");

  auto has = [&](const std::string &pattern) {
    return std::regex_search(text, std::regex(pattern));
  };
  if (!has("'descr'\\s*:\\s*'<f4'") || !has("'fortran_order'\\s*:\\s*False"))
    return Status::badFile(path + ": not an array of float32 in C order");
  std::string shape =
      std::to_string(rows) + "\\s*,\\s*" + std::to_string(columns);
  if (!has("'shape'\\s*:\\s*\\(\\s*" + shape + "\\s*,?\\s*\\)"))
    return Status::badFile(path + ": the shape is not (" +
                           std::to_string(rows) + ", " +
                           std::to_string(columns) +
                           "), the tokens of all lines by the vocabulary");
  return {};
}

Status NpyReader::read(std::span<float> values) {
  file.read(reinterpret_cast<char *>(values.data()),
            static_cast<std::streamsize>(values.size_bytes()));
  if (!file)
    return Status::badFile(path + ": the file is truncated");
  return {};
}
