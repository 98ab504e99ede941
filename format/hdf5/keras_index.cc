#include "format/hdf5/keras_index.h"

#include <algorithm>
#include <new>
#include <string_view>
#include <utility>

#include <simdjson.h>

#include "format/le.h"
#include "format/limits.h"
#include "format/quoted.h"
#include "format/sentence.h"

namespace cairn::format::hdf5 {
namespace {

using simdjson::dom::element;

// simdjson does not say where in the text a part was: complaints point at its start.
template <class... Parts>
DecodeError refuse(const Parts&... parts) {
  return corrupt(0, sentence(parts...));
}

// A file's name, or a list of such.
bool add_files(element value, std::vector<std::string>& files) {
  std::string_view name;
  simdjson::dom::array names;
  if (!value.get(name)) {
    files.emplace_back(name);
    return true;
  }
  if (value.get(names)) return false;
  for (const element each : names) {
    if (each.get(name)) return false;
    files.emplace_back(name);
  }
  return true;
}

Decoded<void> read_weight_map(element value, KerasIndex& index) {
  simdjson::dom::object object;
  if (value.get(object)) return refuse("\"weight_map\" is no object");
  for (const auto& [key, field] : object) {
    if (!add_files(field, index.files))
      return refuse("\"weight_map\": ", format::quoted(key), " has no file names");
  }
  std::ranges::sort(index.files);
  const auto rest = std::ranges::unique(index.files);
  index.files.erase(rest.begin(), rest.end());
  if (index.files.size() <= limits::kShardsMax) return {};
  return unsupported(0, sentence("\"weight_map\" names ", index.files.size(),
                                 " files, more than the limit of ", limits::kShardsMax));
}

Decoded<void> read_metadata(element value, KerasIndex& index) {
  simdjson::dom::object object;
  if (value.get(object)) return refuse("\"metadata\" is no object");
  for (const auto& [key, field] : object) {
    std::string_view text;
    index.metadata.emplace_back(key, field.get(text) ? simdjson::minify(field) : std::string(text));
  }
  std::ranges::sort(index.metadata);
  const auto twice = std::ranges::adjacent_find(index.metadata, {}, &KeyValues::value_type::first);
  if (twice == index.metadata.end()) return {};
  return refuse("\"metadata\": ", format::quoted(twice->first), " is there twice");
}

}  // namespace

Decoded<KerasIndex> decode_keras_index(std::span<const std::byte> json) {
  simdjson::dom::parser parser;
  element document;
  const auto error = parser.parse(as_text(json)).get(document);
  if (error == simdjson::MEMALLOC) throw std::bad_alloc();
  if (error) return refuse("no JSON: ", simdjson::error_message(error));
  element weight_map;
  if (document["weight_map"].get(weight_map))
    return refuse("\"weight_map\" is missing: nothing says which files there are");
  KerasIndex index;
  if (auto read = read_weight_map(weight_map, index); !read) return std::move(read).error();
  element metadata;
  if (document["metadata"].get(metadata)) return index;
  if (auto read = read_metadata(metadata, index); !read) return std::move(read).error();
  return index;
}

}  // namespace cairn::format::hdf5
