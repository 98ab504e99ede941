#pragma once

// The names of a checkpoint's files, and the prefix they hang on.

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

namespace cairn::store {

inline constexpr std::string_view kCairnSuffix = ".cairn";
inline constexpr std::string_view kTensorFlowSuffix = ".index";
inline constexpr std::string_view kMetaSuffix = ".meta";
inline constexpr std::string_view kSafetensorsSuffix = ".safetensors";

// A prefix as a directory and what its files' names begin with. "saved/train2-9": "saved" and
// "train2-9".
struct Prefix {
  std::filesystem::path directory;  // empty: the current one
  std::string base;                 // may be empty: ".index"

  static Prefix of(const std::filesystem::path& prefix);
};

// Whether files can have names that begin so: without NUL, which ends every name for the kernel.
bool is_nameable(std::string_view base) noexcept;

// Whether a terminal would act on the text.
bool has_control_characters(std::string_view text) noexcept;

// The global step, which TensorFlow's Saver puts behind the last '-' of a prefix.
std::optional<std::int64_t> step_of(std::string_view prefix) noexcept;

// A shard's number and of how many, from a name like "train2-9.data-00003-of-00007".
struct ShardNumber {
  std::uint32_t shard = 0;
  std::uint32_t count = 0;
};
std::optional<ShardNumber> shard_number(std::string_view file_name, std::string_view base) noexcept;

}  // namespace cairn::store
