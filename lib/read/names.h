#pragma once

// The names of a checkpoint's files, and their prefix.

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

namespace cairn::internal {

inline constexpr std::string_view kCairnSuffix = ".cairn";
inline constexpr std::string_view kTensorFlowSuffix = ".index";
inline constexpr std::string_view kMetaSuffix = ".meta";
inline constexpr std::string_view kSafetensorsSuffix = ".safetensors";

// A prefix as a directory and a base, with which the names of its files begin. "saved/train2-9":
// "saved" and "train2-9".
struct Prefix {
  std::filesystem::path directory;  // empty: the current one
  std::string base;                 // may be empty: ".index"

  static Prefix of(const std::filesystem::path& prefix);
};

// The base with the suffix, which it may have already: with ".npy", "m" and "m.npy" both give
// "m.npy".
std::string with_suffix(std::string_view base, std::string_view suffix);
inline std::string safetensors_file(std::string_view base) {
  return with_suffix(base, kSafetensorsSuffix);
}

// Whether a file name can begin with this base: it contains no NUL, which ends every name for the
// kernel.
bool is_nameable(std::string_view base) noexcept;

// Whether it is the name of one file: not a path, and not "." or "..".
bool is_bare(std::string_view name) noexcept;

// The base of the prefix that a published file of this name would belong to: an index, P.meta,
// P.safetensors or a shard. std::nullopt: it has none of these names.
std::optional<std::string> base_of_file(std::string_view name);

// The first of some texts, for a message: "a, b, c, …".
template <class Texts>
std::string first_few(const Texts& texts, std::size_t shown = 3) {
  std::string few;
  std::size_t count = 0;
  for (const auto& text : texts) {
    if (count == shown) return few + ", …";
    few += (count++ == 0 ? "" : ", ") + text;
  }
  return few;
}

// Whether a terminal would act on the text.
bool has_control_characters(std::string_view text) noexcept;

// The global step, which TensorFlow's Saver puts after the last '-' of a prefix. The number of a
// shard ("m-3-00000-of-00002", "part-00000-of-00002") is not a step.
std::optional<std::int64_t> step_of(std::string_view prefix) noexcept;

// A prefix followed by its step, as Python's %d writes it; padded: as %08d.
std::string with_step(std::string_view name, std::int64_t step, bool padded);

// The number of a shard and the number of shards, from a name like "train2-9.data-00003-of-00007".
struct ShardNumber {
  std::uint32_t shard = 0;
  std::uint32_t count = 0;
};
std::optional<ShardNumber> shard_number(std::string_view file_name, std::string_view base) noexcept;

// A file of a sharded V1 checkpoint, "train2-9-00001-of-00003", or all of them, as TensorFlow lists
// them in a catalog: "train2-9-?????-of-00003".
struct V1Name {
  std::string base;
  std::optional<std::uint32_t> shard;  // nothing: all of them
  std::uint32_t count = 0;
};
std::optional<V1Name> v1_name(std::string_view name);

// The name of one of them.
std::string v1_file_name(std::string_view base, std::uint32_t shard, std::uint32_t count);

// The base with which the names of the other files begin: the name without the "-?????-of-N" of a
// sharded V1 checkpoint.
std::string_view without_v1_tail(std::string_view name) noexcept;

}  // namespace cairn::internal
