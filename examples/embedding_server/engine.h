#pragma once

// Turns texts into vectors: the mean of the rows of a table that the words of a text select. A
// real model would stand in its place; what matters here is that every answer reads the mapping.

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cairn/checkpoint.h"

class Engine {
 public:
  // The table is the tensor of this name, float32 [rows, width]. Errors: those of Tensor::as;
  // Invalid (another shape). Lifetime: as long as the checkpoint is open.
  static cairn::Result<Engine> open(const cairn::Checkpoint& checkpoint, std::string_view tensor);

  // `width()` numbers; zeros for a text without words.
  std::vector<float> embed(std::string_view text) const;
  std::size_t width() const { return width_; }

 private:
  Engine(std::span<const float> table, std::size_t width) : table_(table), width_(width) {}

  std::span<const float> table_;
  std::size_t width_;
};
