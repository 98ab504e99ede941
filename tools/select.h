#pragma once

// Which tensors a user means.

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cairn/checkpoint.h"

namespace cairn::tools {

// Whether the pattern describes the whole text: '*' is any characters, '/' among them, and '?' is
// one byte.
bool matches(std::string_view pattern, std::string_view text);

// The tensors that any of the words means, in order of names; without words all. A word is a
// tensor's name; if no tensor has it, an object path or full name, or else a pattern. Nothing: a
// word means none, and that was said.
std::optional<std::vector<Tensor>> select(const Checkpoint& checkpoint,
                                          std::span<const std::string> words);

// The same, without the tensors that any word of `excluded` means.
std::optional<std::vector<Tensor>> select(const Checkpoint& checkpoint,
                                          std::span<const std::string> words,
                                          std::span<const std::string> excluded);

// The elements of all of them; strings and variants have none.
std::uint64_t parameter_count(std::span<const Tensor> tensors);

}  // namespace cairn::tools
