#include "lib/saver/siblings.h"

#include <algorithm>

#include "format/le.h"
#include "format/limits.h"
#include "lib/saver/members.h"
#include "lib/store/names.h"
#include "lib/try.h"

namespace cairn::saver {
namespace {

// Where a catalog says what it is: behind comments at most.
constexpr std::size_t kHeadBytes = 4096;

Result<bool> may_be_catalog(const os::Directory& directory, const std::string& name) {
  const auto file = directory.open_file(name, os::Links::Refuse);
  if (!file && (file.error().code == Code::NotFound || file.error().code == Code::Unsafe))
    return false;
  if (!file) return file.error();
  std::vector<std::byte> head(kHeadBytes);
  CAIRN_TRY(count, file->read_some_at(0, head));
  const std::string_view text = format::as_text(std::span(head).first(count));
  return text.find("model_checkpoint_path") != std::string_view::npos;
}

// Ours, or what somebody kept of it: "checkpoint.bak", "checkpoint~", "checkpoint (1)".
bool is_ours(std::string_view name, std::string_view latest_filename) {
  if (!name.starts_with(latest_filename)) return false;
  name.remove_prefix(latest_filename.size());
  return name.empty() || std::string_view(".~ #").find(name.front()) != std::string_view::npos;
}

bool is_digit(char c) { return c >= '0' && c <= '9'; }

// Whether what a name has beside another's is what a copy adds: no step, and no more digits.
bool is_copys_name(std::string_view name, std::string_view original) {
  if (original.empty() || name.size() <= original.size()) return false;
  if (name.ends_with(original)) {
    const std::string_view before = name.substr(0, name.size() - original.size());
    return !is_digit(before.back()) || !is_digit(original.front());
  }
  if (!name.starts_with(original)) return false;
  const std::string_view behind = name.substr(original.size());
  const auto step = store::step_of(name);
  return !is_digit(behind.front()) && (!step || step == store::step_of(original));
}

// Whether both have an index with this suffix, of the same bytes.
bool same_index(const os::Directory& directory, const std::string& a, const std::string& b,
                std::string_view suffix) {
  const auto read = [&](const std::string& base) {
    return directory.open_file(base + std::string(suffix), os::Links::Follow)
        .and_then([](const os::File& file) {
          return os::read_whole(file, format::limits::kIndexBytesMax);
        });
  };
  const auto left = read(a);
  const auto right = left ? read(b) : Result<os::Bytes>(left.error());
  return left && right && std::ranges::equal(*left, *right);
}

}  // namespace

OtherCatalogs other_catalogs(const Place& place, std::span<const std::string> names) {
  OtherCatalogs catalogs;
  for (const std::string& name : names) {
    const bool ours = is_ours(name, place.latest_filename) || name.starts_with(".cairn-");
    const bool member = os::is_temporary_name(name) || store::base_of_file(name) ||
                        name.find(".data-") != std::string::npos;
    if (ours || member) continue;
    const auto is_catalog = may_be_catalog(place.directory, name);
    if (!is_catalog) catalogs.unread = is_catalog.error();
    if (is_catalog && *is_catalog) catalogs.names.push_back(name);
  }
  std::ranges::sort(catalogs.names);
  return catalogs;
}

std::map<std::string, std::string> listed_elsewhere(const Place& place,
                                                    std::span<const std::string> names) {
  std::map<std::string, std::string> listed;
  for (const std::string& name : other_catalogs(place, names).names) {
    compat::Trail trail;
    const Place other{place.dir, place.directory, name};
    const auto state = compat::read_catalog(other, trail);
    if (!state || !*state) continue;
    auto paths = (*state)->all_model_checkpoint_paths;
    paths.push_back((*state)->model_checkpoint_path);
    for (const auto& path : paths) {
      const auto entry = compat::resolve_entry(other, path, true);
      if (entry && !entry->base.empty()) listed.emplace(entry->base, name);
    }
  }
  return listed;
}

std::optional<std::string> original_of(const Place& place, const std::string& base,
                                       std::span<const std::string> bases) {
  for (const std::string& other : bases) {
    if (!is_copys_name(base, other)) continue;
    if (same_index(place.directory, base, other, store::kTensorFlowSuffix) ||
        same_index(place.directory, base, other, store::kCairnSuffix))
      return other;
  }
  return std::nullopt;
}

}  // namespace cairn::saver
