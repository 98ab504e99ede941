#pragma once

#include <span>
#include <string_view>

namespace cairn::tools {

struct WalkFile {
  std::string_view name;
  std::string_view bytes;
};

// A checkpoint directory as TensorFlow's Saver left it after ten saves of two variables, five of
// them kept. The build puts it into the program (embed.py), so that the demo needs nothing else.
std::span<const WalkFile> walk_files();

}  // namespace cairn::tools
