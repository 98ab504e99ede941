#pragma once

// What Cairn keeps in the __metadata__ of a safetensors file that it writes. FORMAT.md,
// "safetensors".

#include <string_view>

#include "format/facts.h"

namespace cairn::format::safetensors {

inline constexpr std::string_view kStepKey = "cairn.step";
inline constexpr std::string_view kMetadataPrefix = "cairn.metadata.";  // before each of metadata()

// Sets step and metadata by what the facts' __metadata__ says of them.
void take_own_metadata(IndexFacts& facts);

}  // namespace cairn::format::safetensors
