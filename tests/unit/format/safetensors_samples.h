#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "format/le.h"

namespace cairn::format::safetensors {

// The head of a file whose header is this text.
inline std::string head_of(std::string_view json) {
  std::string head;
  append_le(head, std::uint64_t{json.size()});
  return head.append(json);
}

}  // namespace cairn::format::safetensors
