#pragma once

// The weights of an exported program (.pt2): a JSON text says what lies in which record. FORMAT.md,
// "PyTorch files".

#include <cstddef>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "format/decode_error.h"
#include "format/torch/view.h"

namespace cairn::format::torch {

struct Exported {
  std::vector<std::string> records;   // by their names in the text
  std::vector<StoredTensor> tensors;  // in the text's order; spans lie in records
  std::vector<std::string> left_out;  // sentences without a full stop
};

// Decodes model_weights_config.json or model_constants_config.json. `size_of`: the bytes of a
// record; nothing: there is none. Errors: Corrupt (no such JSON; a tensor outside of its record, or
// without one).
Decoded<Exported> decode_exported(
    std::span<const std::byte> json,
    const std::function<std::optional<std::uint64_t>(std::string_view record)>& size_of);

}  // namespace cairn::format::torch
