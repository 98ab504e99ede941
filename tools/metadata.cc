#include "metadata.h"

#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

namespace cairn::tools {
namespace {

using KeyValues = std::vector<Checkpoint::KeyValue>;

KeyValues metadata_of(const Checkpoint& checkpoint) {
  KeyValues pairs;
  for (std::size_t i = 0; i < checkpoint.metadata_count(); ++i)
    pairs.push_back(checkpoint.metadata_at(i));
  return pairs;
}

KeyValues safetensors_metadata_of(const Checkpoint& checkpoint) {
  KeyValues pairs;
  for (std::size_t i = 0; i < checkpoint.safetensors_metadata_count(); ++i)
    pairs.push_back(checkpoint.safetensors_metadata_at(i));
  return pairs;
}

void add_pairs(Json& json, std::string_view list, const KeyValues& pairs) {
  json.begin_array(list);
  for (const auto& [key, value] : pairs)
    json.begin_object().text("key", key).text("value", value).end_object();
  json.end_array();
}

// At most so many bytes, and no character of UTF-8 cut in two.
std::string_view whole_part(std::string_view text, std::size_t bytes_max) {
  while (bytes_max < text.size() && bytes_max != 0 && (text[bytes_max] & '\xc0') == '\x80')
    --bytes_max;
  return text.substr(0, bytes_max);
}

// A list in JSON that is too long: its first elements, and how many there are. Empty: it is no
// list, or its first element is too long itself.
std::string short_list(std::string_view value, std::size_t bytes_max) {
  if (!value.starts_with('[') || !value.ends_with(']')) return {};
  std::size_t end = 0;  // of the elements that are shown
  std::uint64_t count = 1;
  std::uint64_t depth = 0;
  bool in_string = false;
  for (std::size_t i = 1; i + 1 < value.size(); ++i) {
    const char here = value[i];
    if (in_string && here == '\\') ++i;
    if (here == '"') in_string = !in_string;
    if (in_string) continue;
    if (here == '[' || here == '{') ++depth;
    if (here == ']' || here == '}') --depth;
    if (here != ',' || depth != 0) continue;
    ++count;
    if (i <= bytes_max) end = i;
  }
  if (end == 0) return {};
  return fmt::format("{}, …] ({} elements)", safe(value.substr(0, end)), grouped(count));
}

std::string short_text(std::string_view value) {
  constexpr std::size_t kShownMax = 100;
  if (value.size() <= kShownMax) return safe(value);
  const std::string list = short_list(value, kShownMax);
  if (!list.empty()) return list;
  return fmt::format("{}… ({} bytes)", safe(whole_part(value, kShownMax)), grouped(value.size()));
}

void print_pairs(std::string_view list, const KeyValues& pairs) {
  for (const auto& [key, value] : pairs)
    print(fmt::format("{} {}: {}\n", list, safe(key), short_text(value)));
}

}  // namespace

void add_files(Json& json, const Checkpoint& checkpoint) {
  json.text("prefix", checkpoint.prefix().native());
  json.text("format", name(checkpoint.format()));
  json.number("step", checkpoint.step());
  json.begin_array("warnings");
  for (const std::string& warning : checkpoint.warnings()) json.element(warning);
  json.end_array().begin_array("shards");
  for (std::size_t i = 0; i < checkpoint.shard_count(); ++i) {
    const Checkpoint::Shard shard = checkpoint.shard_at(i);
    json.begin_object().text("name", shard.name).number("bytes", shard.size_bytes).end_object();
  }
  json.end_array();
}

void add_metadata(Json& json, const Checkpoint& checkpoint) {
  add_pairs(json, "metadata", metadata_of(checkpoint));
  add_pairs(json, "safetensors_metadata", safetensors_metadata_of(checkpoint));
}

void print_metadata(const Checkpoint& checkpoint) {
  print_pairs("metadata", metadata_of(checkpoint));
  print_pairs("__metadata__", safetensors_metadata_of(checkpoint));
}

}  // namespace cairn::tools
