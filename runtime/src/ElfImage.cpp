//===- ElfImage.cpp - Look into a shared object without loading it --------===//
//
// Everything is found the way the dynamic loader finds it: program headers, the
// dynamic section, the GNU hash table. Nothing is read without a bounds check.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "ElfImage.h"

#include "Text.h"

#include <cstring>
#include <elf.h>
#include <string_view>

using namespace llqrt;

namespace {

class ElfImage {
public:
  explicit ElfImage(std::span<const std::byte> image) : image(image) {}

  Status open(const std::string &machine);
  Status findFunction(const std::string &name) const;

private:
  /// Copies a T at `offset` of the file; false if it lies outside.
  template <typename T> bool readFile(uint64_t offset, T &value) const {
    if (offset > image.size() || image.size() - offset < sizeof(T))
      return false;
    std::memcpy(&value, image.data() + offset, sizeof(T));
    return true;
  }
  /// Copies a T at `address` of the loaded object.
  template <typename T> bool readMemory(uint64_t address, T &value) const {
    for (const Elf64_Phdr &segment : segments)
      if (address >= segment.p_vaddr &&
          address - segment.p_vaddr <= segment.p_filesz &&
          segment.p_filesz - (address - segment.p_vaddr) >= sizeof(T))
        return readFile(segment.p_offset + (address - segment.p_vaddr), value);
    return false;
  }
  Status readDynamicSection(const Elf64_Phdr &dynamic);
  bool isExecutable(uint64_t address) const;
  bool hasName(const Elf64_Sym &symbol, std::string_view name) const;

  std::span<const std::byte> image;
  /// The loadable ones.
  std::vector<Elf64_Phdr> segments;
  uint64_t symbolTable = 0, stringTable = 0, hashTable = 0;
};

Status malformed(const char *what) {
  return Status::badFile(std::string("malformed ELF object: ") + what);
}

} // namespace

Status ElfImage::open(const std::string &machine) {
  Elf64_Ehdr header;
  if (!readFile(0, header) ||
      std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 ||
      header.e_ident[EI_CLASS] != ELFCLASS64 ||
      header.e_ident[EI_DATA] != ELFDATA2LSB || header.e_type != ET_DYN ||
      header.e_phentsize != sizeof(Elf64_Phdr))
    return malformed("not a 64-bit little-endian shared object");
  unsigned expected = machine == "x86-64"    ? EM_X86_64
                      : machine == "aarch64" ? EM_AARCH64
                                             : EM_NONE;
  if (expected == EM_NONE || header.e_machine != expected)
    return malformed("it is not for the machine that its entry names");

  Elf64_Phdr dynamic{};
  for (uint64_t i = 0; i < header.e_phnum; ++i) {
    Elf64_Phdr segment;
    if (header.e_phoff > image.size() ||
        !readFile(header.e_phoff + i * sizeof(Elf64_Phdr), segment))
      return malformed("program headers outside the object");
    if (segment.p_offset > image.size() ||
        segment.p_filesz > image.size() - segment.p_offset)
      return malformed("a segment outside the object");
    if (segment.p_type == PT_INTERP)
      return malformed("it is a program, not a library");
    if (segment.p_type == PT_LOAD)
      segments.push_back(segment);
    if (segment.p_type == PT_DYNAMIC)
      dynamic = segment;
  }
  return readDynamicSection(dynamic);
}

Status ElfImage::readDynamicSection(const Elf64_Phdr &dynamic) {
  for (uint64_t offset = 0; offset + sizeof(Elf64_Dyn) <= dynamic.p_filesz;
       offset += sizeof(Elf64_Dyn)) {
    Elf64_Dyn entry;
    if (!readFile(dynamic.p_offset + offset, entry))
      return malformed("dynamic section outside the object");
    switch (entry.d_tag) {
    case DT_NULL:
      offset = dynamic.p_filesz - sizeof(Elf64_Dyn);
      break;
    case DT_NEEDED:
      return malformed("it needs other libraries");
    case DT_INIT:
    case DT_FINI:
    case DT_INIT_ARRAY:
    case DT_FINI_ARRAY:
    case DT_PREINIT_ARRAY:
      return malformed("it has code to run at loading");
    case DT_SYMTAB:
      symbolTable = entry.d_un.d_ptr;
      break;
    case DT_STRTAB:
      stringTable = entry.d_un.d_ptr;
      break;
    case DT_GNU_HASH:
      hashTable = entry.d_un.d_ptr;
      break;
    default:
      break;
    }
  }
  if (!symbolTable || !stringTable || !hashTable)
    return malformed("it has no symbols with a GNU hash table");
  return {};
}

bool ElfImage::isExecutable(uint64_t address) const {
  for (const Elf64_Phdr &segment : segments)
    if ((segment.p_flags & PF_X) && address >= segment.p_vaddr &&
        address - segment.p_vaddr < segment.p_filesz)
      return true;
  return false;
}

bool ElfImage::hasName(const Elf64_Sym &symbol, std::string_view name) const {
  uint64_t address = stringTable + symbol.st_name;
  for (size_t i = 0; i <= name.size(); ++i) {
    char c;
    if (!readMemory(address + i, c) || c != (i < name.size() ? name[i] : '\0'))
      return false;
  }
  return true;
}

Status ElfImage::findFunction(const std::string &name) const {
  struct {
    uint32_t buckets, firstSymbol, bloomWords, bloomShift;
  } header;
  if (!readMemory(hashTable, header) || header.buckets == 0)
    return malformed("hash table outside the object");
  uint32_t hash = 5381;
  for (unsigned char c : name)
    hash = hash * 33 + c;

  uint64_t buckets =
      hashTable + sizeof(header) + uint64_t(header.bloomWords) * 8;
  uint64_t chains = buckets + uint64_t(header.buckets) * 4;
  uint32_t index;
  if (!readMemory(buckets + uint64_t(hash % header.buckets) * 4, index))
    return malformed("hash table outside the object");
  if (index >= header.firstSymbol) {
    for (;; ++index) {
      uint32_t chain;
      Elf64_Sym symbol;
      if (!readMemory(chains + uint64_t(index - header.firstSymbol) * 4,
                      chain) ||
          !readMemory(symbolTable + uint64_t(index) * sizeof(symbol), symbol))
        return malformed("hash table outside the object");
      if ((chain | 1) == (hash | 1) && hasName(symbol, name) &&
          symbol.st_shndx != SHN_UNDEF &&
          ELF64_ST_TYPE(symbol.st_info) == STT_FUNC &&
          isExecutable(symbol.st_value))
        return {};
      if (chain & 1)
        break;
    }
  }
  return Status::badFile("the code lacks kernel " + quoted(name));
}

Status llqrt::checkElfImage(std::span<const std::byte> image,
                            const std::string &machine,
                            const std::vector<std::string> &functions) {
  ElfImage elf(image);
  LLQRT_RETURN_IF_ERROR(elf.open(machine));
  for (const std::string &name : functions)
    LLQRT_RETURN_IF_ERROR(elf.findFunction(name));
  return {};
}
