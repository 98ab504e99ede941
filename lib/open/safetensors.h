#pragma once

// The header of a safetensors file, for the opener and for code that checks whether a shard is one.

#include <cstdint>
#include <optional>

#include "cairn/error.h"
#include "format/plain_tensors.h"
#include "format/safetensors/header.h"
#include "lib/os/file.h"

namespace cairn::internal {

struct SafetensorsHeader {
  format::safetensors::HeaderFacts facts;
  std::optional<format::PlainTensors> plain;  // in place of facts.tensors
  std::uint64_t head_bytes = 0;               // of the file: the header and its length
};

struct HeaderOptions {
  bool whole = true;   // the tensors must take the rest of the file's `size_bytes`
  bool plain = false;  // with `whole`: they may be in SafetensorsHeader::plain
  bool large = false;  // FormatOptions::large_header
};
// Errors: Io; Corrupt and Unsupported, those of decode_header().
Result<SafetensorsHeader> read_safetensors_header(const os::File& file, std::uint64_t size_bytes,
                                                  HeaderOptions how = {});

}  // namespace cairn::internal
