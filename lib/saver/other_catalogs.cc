#include "lib/saver/other_catalogs.h"

#include <algorithm>

#include "format/le.h"
#include "format/limits.h"
#include "lib/read/identity.h"
#include "lib/read/names.h"
#include "lib/saver/catalog_file.h"
#include "lib/try.h"

namespace cairn::internal {
namespace {

// Where a catalog says what it is: in so many bytes behind its first comments.
constexpr std::size_t kHeadBytes = 4096;

constexpr std::string_view kField = "model_checkpoint_path";
constexpr std::string_view kBlanks = " \t\r";
constexpr std::string_view kBetween = " \t\r\n\f\v";

// How much a text has of comments and of what stands between them, from the beginning. `comment`:
// whether the beginning lies in one; then, whether the end does.
std::size_t skipped_bytes(std::string_view text, bool& comment) {
  std::size_t at = 0;
  while (at < text.size()) {
    if (comment) {
      at = std::min(text.find('\n', at), text.size());
    } else {
      at = std::min(text.find_first_not_of(kBetween, at), text.size());
      if (at < text.size() && text[at] != '#') return at;
    }
    if (at < text.size()) comment = !comment;
  }
  return at;
}

// The first bytes behind comments.
Result<std::string> read_head(const os::File& file) {
  std::vector<std::byte> block(kHeadBytes);
  std::uint64_t offset_bytes = 0;
  bool comment = false;
  while (true) {
    CAIRN_TRY(count, file.read_some_at(offset_bytes, block));
    const std::string_view text = format::as_text(std::span(block).first(count));
    const std::size_t skipped = skipped_bytes(text, comment);
    if (skipped == 0 || offset_bytes > format::limits::kCatalogBytesMax) return std::string(text);
    offset_bytes += skipped;
  }
}

// Nothing: no file that could be one.
Result<std::optional<std::string>> head_of(const os::Directory& directory,
                                           const std::string& name) {
  CAIRN_TRY(info, directory.look_from(name, os::Links::Follow));
  if (!info || info->kind != os::FileKind::Regular) return std::optional<std::string>();
  const auto file = directory.open_file(name, os::Links::Follow);
  if (!file && (file.error().code == Code::NotFound || file.error().code == Code::Unsafe))
    return std::optional<std::string>();
  if (!file) return file.error();
  CAIRN_TRY(head, read_head(*file));
  return std::optional(std::move(head));
}

// Whether a line begins as those of a catalog do, which speaks for one that is damaged, and not for
// a program or a log that mentions the field.
bool is_catalogs_line(std::string_view line) {
  const auto skip = [&](std::string_view what) {
    line.remove_prefix(std::min(line.find_first_not_of(what), line.size()));
  };
  skip(kBlanks);
  if (line.starts_with("all_")) line.remove_prefix(std::string_view("all_").size());
  if (!line.starts_with(kField)) return false;
  line.remove_prefix(kField.size());
  if (line.starts_with("s")) line.remove_prefix(1);
  skip(kBlanks);
  if (!line.starts_with(":")) return false;
  line.remove_prefix(1);
  skip(kBlanks);
  return line.empty() || line.front() == '"' || line.front() == '\'';
}

bool has_catalogs_line(std::string_view text) {
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find('\n'));
    if (is_catalogs_line(line)) return true;
    text.remove_prefix(std::min(line.size() + 1, text.size()));
  }
  return false;
}

// A link to the place's own catalog is none beside it.
bool leads_to_own(const Place& place, const std::string& name) {
  const auto link = place.directory.look_from(name, os::Links::Refuse);
  if (!link || !*link || (*link)->kind != os::FileKind::Link) return false;
  const auto own = place.directory.look_from(place.latest_filename, os::Links::Follow);
  const auto there = place.directory.look_from(name, os::Links::Follow);
  return own && *own && there && *there && same_file(**own, **there);
}

void add_unread(Error error, std::optional<Error>& unread) {
  error.what +=
      "; so it is not known whether it is a catalog and what it lists; make it readable, or move "
      "it to another directory";
  unread = std::move(error);
}

// Adds the file where it is a catalog, or may be. One that is named like a checkpoint's file, and
// that nobody can read, is just that.
void add_catalog(const Place& place, const std::string& name, OtherCatalogs& catalogs) {
  const bool taken = is_taken_name(name);
  const auto head = head_of(place.directory, name);
  if (!head && taken) return;
  if (!head) return add_unread(head.error(), catalogs.unread);
  if (!*head || (*head)->find(kField) == std::string::npos || leads_to_own(place, name)) return;
  OpenAttempt attempt;
  auto state = read_catalog({place.dir, place.directory, name}, attempt);
  if (state && *state) {
    catalogs.states.emplace(name, **std::move(state));
  } else if (!state && may_pass(state.error())) {
    add_unread(std::move(state).error(), catalogs.unread);
  } else if (!state && has_catalogs_line(**head)) {
    Error error = std::move(state).error();
    error.what += "; so it is not known what this catalog lists; ";
    error.what += taken ? "repair or remove it"
                        : "to make it again, use repair_catalog() (cairn state --repair) with its "
                          "name (--catalog), or remove it";
    catalogs.damaged = std::move(error);
  }
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
  const auto step = step_of(name);
  return !is_digit(behind.front()) && (!step || step == step_of(original));
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
    if (name != place.latest_filename && !os::is_temporary_name(name) && !is_backup_name(name))
      add_catalog(place, name, catalogs);
  }
  return catalogs;
}

Result<bool> reads_as_catalog(const os::Directory& directory, const std::string& name) {
  CAIRN_TRY(head, head_of(directory, name));
  return head && has_catalogs_line(*head);
}

std::string OtherListings::doubt() const {
  if (unread) return unread->what;
  return damaged ? damaged->what : std::string();
}

OtherListings other_listings(const Place& place, std::span<const std::string> names) {
  OtherCatalogs catalogs = other_catalogs(place, names);
  OtherListings elsewhere{{}, {}, std::move(catalogs.unread), std::move(catalogs.damaged)};
  for (auto& [name, state] : catalogs.states) {
    const Place other{place.dir, place.directory, name};
    for (const auto& [path, time_s] : listed_entries(state)) {
      const auto entry = resolve_entry(other, path, true);
      if (!entry) add_unread(entry.error(), elsewhere.unread);
      if (entry && !entry->base.empty()) elsewhere.listed.emplace(entry->base, name);
      if (entry && entry->base.empty()) elsewhere.outside.push_back(entry->prefix);
    }
  }
  return elsewhere;
}

std::vector<std::filesystem::path> outside_of(const History& history,
                                              const OtherListings& elsewhere) {
  std::vector<std::filesystem::path> outside = elsewhere.outside;
  for (const HistoryEntry& listed : history.listed) {
    if (listed.base.empty()) outside.push_back(listed.path);
  }
  return outside;
}

std::optional<std::string> original_of(const Place& place, const std::string& base,
                                       std::span<const std::string> bases) {
  for (const std::string& other : bases) {
    if (!is_copys_name(base, other)) continue;
    if (same_index(place.directory, base, other, kTensorFlowSuffix) ||
        same_index(place.directory, base, other, kCairnSuffix))
      return other;
  }
  return std::nullopt;
}

}  // namespace cairn::internal
