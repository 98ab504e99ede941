#pragma once

// CheckpointState in protobuf's text format: the file `checkpoint`. Reads everything that
// TextFormat accepts for this message, writes exactly what TensorFlow writes. FORMAT.md, "The
// catalog".

#include <string>
#include <string_view>
#include <vector>

#include "format/decode_error.h"

namespace cairn::format::tensorflow {

struct StateFacts {
  std::string model_checkpoint_path;
  std::vector<std::string> all_model_checkpoint_paths;
  std::vector<double> all_model_checkpoint_timestamps;
  double last_preserved_timestamp = 0;
  friend bool operator==(const StateFacts&, const StateFacts&) = default;
};

// Errors: Corrupt, with line and column in `what`, and byte_offset (unknown fields, bad syntax, a
// BOM, strings that are not UTF-8). Cost: linear; recursion-free.
Decoded<StateFacts> decode_state(std::string_view text);

// As TensorFlow's text_format.MessageToString writes it.
std::string encode_state(const StateFacts& state);

}  // namespace cairn::format::tensorflow
