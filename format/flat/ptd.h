#pragma once

// ExecuTorch's tensors in a file of their own (.ptd). FORMAT.md, "ExecuTorch".

#include <cstdint>
#include <string>
#include <vector>

#include "format/decode_error.h"
#include "format/facts.h"
#include "format/read_at.h"

namespace cairn::format::flat {

// The marks of the schemas, behind the offset of the root: "FT01", "TFL3"; and of a header.
inline constexpr std::uint32_t kPtdMark = 0x31305446;
inline constexpr std::uint32_t kPtdHeaderMark = 0x31304846;
inline constexpr std::uint32_t kTfliteMark = 0x334c4654;

struct FlatOptions {
  std::uint64_t file_bytes = 0;
  bool whole = true;  // every tensor lies inside the file; not: where it says that it lies
};

// What a file says, in shard 0.
struct FlatModel {
  KeyValues metadata;                 // sorted by key
  std::vector<TensorFacts> tensors;   // sorted by name
  std::vector<std::string> left_out;  // what the file has and the above does not, sentences
};

// What has no layout is uint8. Errors: Corrupt; Unsupported (a limit).
Decoded<FlatModel> decode_ptd(const FlatOptions& options, ReadAt read);

}  // namespace cairn::format::flat
