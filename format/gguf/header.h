#pragma once

// The header of a GGUF file, versions 2 and 3: metadata and where each tensor lies. FORMAT.md,
// "GGUF".

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "format/decode_error.h"
#include "format/facts.h"

namespace cairn::format::gguf {

struct HeaderOptions {
  std::uint64_t file_bytes = 0;
  bool whole = true;  // every tensor lies inside the file; not: where it says it lies
  // Of a part of a split model: the first part's, which the others do not repeat. Where it is not
  // given nobody knows where the part's tensors lie, and none is told.
  std::optional<std::uint32_t> split_alignment;
};

// Which part of how many a file is, from 0, and how many tensors all parts have.
struct Split {
  std::uint64_t number = 0;
  std::uint64_t count = 0;  // 0: it is no part
  std::uint64_t tensor_count = 0;
};

struct Header {
  // Sorted by key. A string stands as it is, anything else as JSON: numbers in the shortest form
  // that reads back, true and false, arrays of all of it. JSON has no NaN and Infinity: they are
  // written so, as Python's json reads them; bytes of strings in arrays that are no UTF-8 are
  // \udc80 to \udcff, which Python's "surrogateescape" makes bytes again.
  KeyValues metadata;
  std::vector<TensorFacts> tensors;     // sorted by name; of shard 0, offsets from the file's start
  std::uint64_t data_offset_bytes = 0;  // at most file_bytes
  std::uint32_t alignment = 32;
  std::uint64_t tensor_count = 0;  // with those that are left out
  Split split;
  // What is in the file and not above, a sentence without a full stop for each: tensors of unknown
  // types, or of types whose byte order nothing tells; metadata that is too long, or called as
  // Cairn's own is.
  std::vector<std::string> left_out;
};

// What a file's first bytes say. Nothing: the header goes on behind `head`, which is shorter than
// the file. Errors: Corrupt (malformed, a name or key twice, a row that is no number of blocks, a
// tensor outside of the file); Unsupported (another version; a limit of limits.h).
Decoded<std::optional<Header>> decode_header(std::span<const std::byte> head,
                                             const HeaderOptions& options);

}  // namespace cairn::format::gguf
