#pragma once

// model.safetensors.index.json: which of several safetensors files holds which tensor, as the
// Hugging Face libraries write it. FORMAT.md, "safetensors in several files".

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "format/decode_error.h"
#include "format/facts.h"

namespace cairn::format::safetensors {

struct HubIndex {
  // The names of the files, sorted, each once. They come from outside: nothing says that one is a
  // bare name.
  std::vector<std::string> files;
  // A tensor's name, and the position of its file in `files`; sorted by name.
  std::vector<std::pair<std::string, std::uint32_t>> tensors;
  // What "metadata" says. A value that is no string is here as its JSON text: "412".
  KeyValues metadata;
};

// Decodes the whole file. Errors: Corrupt (no JSON, no weight_map of strings, a key that is there
// twice), Unsupported (the files hold the differences between two models, "delta_encoding"; more
// files than limits::kShardsMax).
Decoded<HubIndex> decode_hub_index(std::span<const std::byte> json);

// The text of an index, as transformers writes it: these tensors, sorted by name, with their files.
// `total_bytes`: of all tensors.
std::string encode_hub_index(
    std::span<const std::pair<std::string_view, std::string_view>> weight_map,
    std::uint64_t total_bytes);

}  // namespace cairn::format::safetensors
