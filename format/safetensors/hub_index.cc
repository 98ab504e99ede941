#include "format/safetensors/hub_index.h"

#include <algorithm>
#include <new>
#include <optional>
#include <string_view>
#include <utility>

#include <simdjson.h>

#include "format/le.h"
#include "format/limits.h"
#include "format/quoted.h"
#include "format/safetensors/header.h"
#include "format/sentence.h"

namespace cairn::format::safetensors {
namespace {

constexpr std::string_view kWeightMap = "weight_map";
constexpr std::string_view kMetadata = "metadata";
constexpr std::string_view kDelta = "delta_encoding";  // of those who publish differences

// simdjson does not say where in the text a part was: complaints point at its start.
template <class... Parts>
DecodeError refuse(const Parts&... parts) {
  return corrupt(0, sentence(parts...));
}

Decoded<void> read_metadata(simdjson::dom::element value, HubIndex& index) {
  if (value.is_null()) return {};
  simdjson::dom::object object;
  if (value.get(object)) return refuse("\"metadata\" is no object");
  for (const auto& [key, field] : object) {
    std::string_view text;
    if (key == kDelta) {
      return unsupported(0,
                         "\"delta_encoding\" says that the files hold the differences between two "
                         "models, and no model: apply them to their base first");
    }
    if (field.get(text)) {
      index.metadata.emplace_back(key, simdjson::minify(field));
    } else {
      index.metadata.emplace_back(key, text);
    }
  }
  std::vector<std::string_view> keys;
  for (const auto& [key, text] : index.metadata) keys.push_back(key);
  std::ranges::sort(keys);
  const auto twice = std::ranges::adjacent_find(keys);
  if (twice == keys.end()) return {};
  return refuse("\"metadata\": ", format::quoted(*twice), " is there twice");
}

Decoded<void> read_weight_map(simdjson::dom::element value, HubIndex& index) {
  simdjson::dom::object object;
  if (value.get(object)) return refuse("\"weight_map\" is no object");
  std::vector<std::pair<std::string_view, std::string_view>> entries;
  entries.reserve(object.size());
  for (const auto& [key, field] : object) {
    std::string_view file;
    if (field.get(file))
      return refuse("\"weight_map\": ", format::quoted(key), " has no file name");
    entries.emplace_back(key, file);
  }
  if (!std::ranges::is_sorted(entries)) std::ranges::sort(entries);
  const auto twice = std::ranges::adjacent_find(
      entries, {}, &std::pair<std::string_view, std::string_view>::first);
  if (twice != entries.end())
    return refuse("\"weight_map\": ", format::quoted(twice->first), " is there twice");
  std::vector<std::string_view> files;
  // Neighbours mostly lie in the same file.
  for (const auto& [name, file] : entries) {
    if (files.empty() || files.back() != file) files.push_back(file);
  }
  std::ranges::sort(files);
  const auto rest = std::ranges::unique(files);
  files.erase(rest.begin(), rest.end());
  if (files.size() > limits::kShardsMax) {
    return unsupported(0, sentence("\"weight_map\" names ", files.size(),
                                   " files, more than the limit of ", limits::kShardsMax));
  }
  index.files.assign(files.begin(), files.end());
  index.tensors.reserve(entries.size());
  auto found = files.cbegin();
  for (const auto& [name, file] : entries) {
    if (*found != file) found = std::ranges::lower_bound(files, file);
    index.tensors.emplace_back(name, static_cast<std::uint32_t>(found - files.cbegin()));
  }
  return {};
}

}  // namespace

Decoded<HubIndex> decode_hub_index(std::span<const std::byte> json) {
  simdjson::dom::parser parser;
  simdjson::dom::element document;
  const auto error = parser.parse(as_text(json)).get(document);
  if (error == simdjson::MEMALLOC) throw std::bad_alloc();
  if (error) return refuse("no JSON: ", simdjson::error_message(error));
  simdjson::dom::object object;
  if (document.get(object)) return refuse("no JSON object");
  std::optional<simdjson::dom::element> weight_map;
  std::optional<simdjson::dom::element> metadata;
  for (const auto& [key, value] : object) {
    auto* const part = key == kWeightMap ? &weight_map : key == kMetadata ? &metadata : nullptr;
    if (part == nullptr) continue;
    if (*part) return refuse(format::quoted(key), " is there twice");
    *part = value;
  }
  HubIndex index;
  // First: what holds differences has a weight_map too.
  if (metadata) {
    if (auto read = read_metadata(*metadata, index); !read) return std::move(read).error();
  }
  if (!weight_map) return refuse("\"weight_map\" is missing: nothing says which files there are");
  if (auto read = read_weight_map(*weight_map, index); !read) return std::move(read).error();
  return index;
}

std::string encode_hub_index(
    std::span<const std::pair<std::string_view, std::string_view>> weight_map,
    std::uint64_t total_bytes) {
  std::string text = sentence("{\n  \"metadata\": {\n    \"total_size\": ", total_bytes,
                              "\n  },\n  \"weight_map\": {");
  for (const auto& [tensor, file] : weight_map) {
    text += text.ends_with('{') ? "\n    " : ",\n    ";
    text += json_string(tensor) + ": " + json_string(file);
  }
  return text + "\n  }\n}\n";
}

}  // namespace cairn::format::safetensors
