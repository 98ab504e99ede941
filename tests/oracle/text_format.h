#pragma once

// protobuf's TextFormat over CheckpointState, behind plain values: its headers stay in one file.

#include <optional>
#include <string>
#include <string_view>

#include "format/tensorflow/state_text.h"

namespace cairn::oracle {

std::optional<format::tensorflow::StateFacts> parse_text(std::string_view text);
std::string print_text(const format::tensorflow::StateFacts& state);

}  // namespace cairn::oracle
