#include "lib/read/names.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdio>

#include "format/tensorflow/bundle.h"

namespace cairn::internal {
namespace {

// At least five digits, as TensorFlow writes them; takes them off the front.
std::optional<std::uint32_t> take_number(std::string_view& text) noexcept {
  constexpr std::size_t kDigitsMin = 5;
  std::uint32_t number = 0;
  const auto [stopped, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  const auto digits = static_cast<std::size_t>(stopped - text.data());
  if (error != std::errc() || digits < kDigitsMin) return std::nullopt;
  text.remove_prefix(digits);
  return number;
}

bool take(std::string_view& text, std::string_view word) noexcept {
  if (!text.starts_with(word)) return false;
  text.remove_prefix(word.size());
  return true;
}

constexpr std::string_view kV1All = "?????";  // TensorFlow's glob

// Where the tail of a sharded V1 checkpoint begins, "-?????-of-00003"; its numbers are taken.
struct V1Tail {
  std::size_t at = 0;
  std::optional<std::uint32_t> shard;
  std::uint32_t count = 0;
};
std::optional<V1Tail> v1_tail(std::string_view name) noexcept {
  const std::size_t of = name.rfind("-of-");
  if (of == std::string_view::npos || of == 0) return std::nullopt;
  const std::size_t at = name.rfind('-', of - 1);
  // A bundle's shard is named so too.
  if (at == std::string_view::npos || at == 0 || name.substr(0, at).ends_with(".data"))
    return std::nullopt;
  V1Tail tail{at, std::nullopt, 0};
  std::string_view rest = name.substr(at + 1);
  if (!take(rest, kV1All)) {
    tail.shard = take_number(rest);
    if (!tail.shard) return std::nullopt;
  }
  if (!take(rest, "-of-")) return std::nullopt;
  const auto count = take_number(rest);
  if (!count || *count == 0 || !rest.empty() || tail.shard.value_or(0) >= *count)
    return std::nullopt;
  tail.count = *count;
  return tail;
}

}  // namespace

Prefix Prefix::of(const std::filesystem::path& prefix) {
  return {prefix.parent_path(), prefix.filename().string()};
}

std::string with_suffix(std::string_view base, std::string_view suffix) {
  const bool is_file = base.size() > suffix.size() && base.ends_with(suffix);
  return std::string(base).append(is_file ? std::string_view() : suffix);
}

bool is_nameable(std::string_view base) noexcept {
  return base.find('\0') == std::string_view::npos;
}

bool is_bare(std::string_view name) noexcept {
  return !name.empty() && name != "." && name != ".." && name.find('/') == std::string_view::npos &&
         is_nameable(name);
}

std::optional<std::string> base_of_file(std::string_view name) {
  for (const std::string_view suffix :
       {kTensorFlowSuffix, kCairnSuffix, kMetaSuffix, kSafetensorsSuffix}) {
    if (name.ends_with(suffix)) return std::string(name.substr(0, name.size() - suffix.size()));
  }
  const std::size_t data = name.rfind(".data-");
  if (data == std::string_view::npos || !shard_number(name, name.substr(0, data)))
    return std::nullopt;
  return std::string(name.substr(0, data));
}

bool has_control_characters(std::string_view text) noexcept {
  return std::ranges::any_of(text, [](char character) {
    return static_cast<unsigned char>(character) < 0x20 || character == 0x7f;
  });
}

std::optional<std::int64_t> step_of(std::string_view prefix) noexcept {
  prefix = without_v1_tail(prefix);
  const std::size_t dash = prefix.find_last_of('-');
  if (dash == std::string_view::npos || dash + 1 == prefix.size()) return std::nullopt;
  const std::string_view digits = prefix.substr(dash + 1);
  std::int64_t step = 0;
  const char* end = digits.data() + digits.size();
  const auto [stopped, error] = std::from_chars(digits.data(), end, step);
  if (error != std::errc() || stopped != end) return std::nullopt;
  return step;
}

std::string with_step(std::string_view name, std::int64_t step, bool padded) {
  constexpr int kPaddedDigits = 8;
  std::array<char, 24> digits{};
  std::snprintf(digits.data(), digits.size(), "%0*lld", padded ? kPaddedDigits : 1,
                static_cast<long long>(step));
  return std::string(name).append("-").append(digits.data());
}

std::optional<ShardNumber> shard_number(std::string_view file_name,
                                        std::string_view base) noexcept {
  if (!take(file_name, base) || !take(file_name, ".data-")) return std::nullopt;
  const auto shard = take_number(file_name);
  if (!shard || !take(file_name, "-of-")) return std::nullopt;
  const auto count = take_number(file_name);
  if (!count || !file_name.empty()) return std::nullopt;
  return ShardNumber{*shard, *count};
}

std::optional<V1Name> v1_name(std::string_view name) {
  const auto tail = v1_tail(name);
  if (!tail) return std::nullopt;
  return V1Name{std::string(name.substr(0, tail->at)), tail->shard, tail->count};
}

std::string v1_file_name(std::string_view base, std::uint32_t shard, std::uint32_t count) {
  constexpr std::size_t kData = 5;  // ".data"
  return std::string(base) + format::tensorflow::shard_suffix(shard, count).substr(kData);
}

std::string_view without_v1_tail(std::string_view name) noexcept {
  const auto tail = v1_tail(name);
  return tail ? name.substr(0, tail->at) : name;
}

}  // namespace cairn::internal
