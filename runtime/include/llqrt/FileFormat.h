/*===- FileFormat.h - Prelude of a model file and the kernels' ABI -*- C -*-===
 *
 * What the compiler writes and the runtime reads, besides the FlatBuffer of
 * runtime/schema/llq.fbs. Shared by both sides; plain C.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 *===----------------------------------------------------------------------===*/

#ifndef LLQRT_FILEFORMAT_H
#define LLQRT_FILEFORMAT_H

#include <stdint.h>

/* "LLQMODEL" read as little-endian bytes. */
#define LLQRT_MAGIC "LLQMODEL"
#define LLQRT_FORMAT_VERSION 1u

/* Segments begin at multiples of this many bytes, a page. */
#define LLQRT_SEGMENT_ALIGNMENT 4096u

/* A KV cache comes in blocks of this many positions: capacity is a multiple. */
#define LLQRT_POSITION_BLOCK 16

/*
 * First 64 bytes of a model file, little-endian. The header is the FlatBuffer;
 * header_checksum is XXH3-64 of it, prelude_checksum XXH3-64 of the 56 bytes
 * before itself. file_bytes is the size of the whole file.
 */
typedef struct {
  char magic[8];
  uint32_t version;
  uint32_t reserved;
  uint64_t header_offset;
  uint64_t header_bytes;
  uint64_t header_checksum;
  uint64_t file_bytes;
  uint64_t unused;
  uint64_t prelude_checksum;
} llqrt_prelude;

/*
 * What a kernel learns about the call besides its buffers. Tokens are counted
 * from the first token of the call; token t is at position past + t.
 */
typedef struct {
  /* Range of tokens to compute: [0, tokens of the call), or the tokens whose
   * outputs are asked for in a dispatch with outputs_only. Items that belong to
   * a token are counted from token_begin; rows of buffers from token 0. */
  int64_t token_begin;
  int64_t token_end;
  /* Positions in the cache before this call. */
  int64_t past;
  /* Capacity of the cache in positions. */
  int64_t capacity;
} llqrt_call;

/*
 * A kernel computes work items [item_begin, item_end) of its dispatch. buffers
 * are those of the dispatch in order, scratch is memory of the thread. Kernels
 * call nothing, keep no state and write only the buffers their dispatch writes.
 */
typedef void (*llqrt_kernel)(void *const *buffers, const llqrt_call *call,
                             int64_t item_begin, int64_t item_end,
                             void *scratch);

#endif /* LLQRT_FILEFORMAT_H */
