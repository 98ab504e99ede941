#include "format/safetensors/own_metadata.h"

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>

namespace cairn::format::safetensors {
namespace {

// A step, if the text is one.
std::optional<std::int64_t> step_of(std::string_view text) noexcept {
  std::int64_t step = 0;
  const auto [stopped, error] = std::from_chars(text.data(), text.data() + text.size(), step);
  if (error != std::errc() || stopped != text.data() + text.size()) return std::nullopt;
  return step;
}

}  // namespace

bool is_own_key(std::string_view key) noexcept {
  return key == kStepKey || key == kTiedKey || key.starts_with(kMetadataPrefix);
}

void take_own_metadata(IndexFacts& facts) {
  for (const auto& [key, value] : facts.safetensors_metadata) {
    if (key == kStepKey) facts.step = step_of(value);
    if (!key.starts_with(kMetadataPrefix)) continue;
    std::string own = key.substr(kMetadataPrefix.size());
    // Of what a Saver says of its own checkpoints metrics alone are taken from a file: a pin would
    // keep it for ever.
    if (!own.starts_with(kReservedKeys) || own.starts_with(kMetricKeys))
      facts.metadata.emplace_back(std::move(own), value);
  }
  std::ranges::sort(facts.metadata);
}

}  // namespace cairn::format::safetensors
