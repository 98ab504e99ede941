#pragma once

// What Cairn keeps in the __metadata__ of a safetensors file that it writes. FORMAT.md,
// "safetensors".

#include <string_view>

#include "format/facts.h"

namespace cairn::format::safetensors {

inline constexpr std::string_view kStepKey = "cairn.step";
inline constexpr std::string_view kMetadataPrefix = "cairn.metadata.";  // before each of metadata()

inline constexpr std::string_view kTiedKey = "cairn.tied";  // names that share another's bytes

// Whether a key of __metadata__ is one of these. Another that begins with "cairn." is the user's.
bool is_own_key(std::string_view key) noexcept;

// Sets step and metadata by what the facts' __metadata__ says of them.
void take_own_metadata(IndexFacts& facts);

}  // namespace cairn::format::safetensors
