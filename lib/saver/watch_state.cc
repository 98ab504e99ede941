// Which entries of a catalog are news.
//
// A position in the catalog's list would not do: retention takes entries away in front of it, a
// prefix that is saved again moves to the end, `set-latest` moves what is old, and a reader may
// meet a catalog that another tool is writing in place. So WatchState keeps what it has given, each
// entry with a digest over its tensors' names, shapes and checksums, and news is what is listed and
// not in it. Times were rejected as the mark of a new save: they change when a directory is copied,
// and P.cairn changes when a checkpoint is imported or pinned, which is no new checkpoint. They
// serve to open only what may have changed.
//
// A checkpoint without any checksum would be taken for the same when only its values change; no
// writer of a catalog leaves them out.

#include "lib/saver/watch_state.h"

#include <algorithm>
#include <charconv>
#include <span>
#include <utility>

#include "format/digest.h"
#include "format/quoted.h"
#include "lib/open/catalog.h"
#include "lib/open/load.h"
#include "lib/os/file.h"
#include "lib/read/names.h"
#include "lib/saver/sums_digest.h"
#include "lib/try.h"

namespace cairn::internal {
namespace {

// Entries that have left the catalog may come back to it: `set-latest`, or a catalog that was met
// half written. So many are remembered; the bound is the cursor's size.
constexpr std::size_t kUnlistedMax = 64;

constexpr std::size_t kDigestDigits = 32;

Result<Digest128> digest_of_whole(const std::filesystem::path& dir,
                                  const std::filesystem::path& prefix, bool follow_links) {
  CAIRN_TRY(entry, resolve_entry(dir, prefix, follow_links));
  CAIRN_TRY(found, find(entry.prefix, follow_links));
  return digest_of_sums(found.parts.index);
}

std::optional<Digest128> digest_from(std::string_view digits) {
  if (digits.size() != kDigestDigits) return std::nullopt;
  Digest128 digest;
  for (std::size_t i = 0; i < digest.bytes.size(); ++i) {
    const char* const pair = digits.data() + 2 * i;
    std::uint8_t byte = 0;
    if (std::from_chars(pair, pair + 2, byte, 16).ptr != pair + 2) return std::nullopt;
    digest.bytes[i] = std::byte{byte};
  }
  return digest;
}

std::string why(const std::filesystem::path& dir, const std::filesystem::path& prefix,
                const Error& error) {
  if (checkpoint_exists(dir, prefix)) return error.what;
  return prefix.string() + ": was removed before its turn";
}

}  // namespace

bool WatchState::restore(std::string_view text) {
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find('\n'));
    if (line.size() == text.size()) return false;  // cut off
    text.remove_prefix(line.size() + 1);
    const auto digest = digest_from(line.substr(0, kDigestDigits));
    if (!digest || line.size() < kDigestDigits + 2 || line[kDigestDigits] != ' ') return false;
    delivered_[format::from_one_line(line.substr(kDigestDigits + 1))] = {
        *digest, {}, ++delivered_count_};
  }
  return true;
}

std::string WatchState::text() const {
  std::map<std::uint64_t, std::string> lines;
  for (const auto& [key, given] : delivered_)
    lines[given.position] = format::hex(given.tensors.bytes) + " " + format::one_line(key) + "\n";
  std::string text;
  for (const auto& [position, line] : lines) text += line;
  return text;
}

void WatchState::update(const CheckpointState& catalog) {
  listed_.clear();
  std::vector<Entry> news;
  for (const internal::ListedEntry& listed : internal::listed_entries(catalog)) {
    Entry entry = entry_of(listed.path);
    newest_ = entry.key;
    if (listed_.insert(entry.key).second && !settled(entry)) news.push_back(std::move(entry));
  }
  std::erase_if(waiting_, [&](const Entry& entry) { return listed_.contains(entry.key); });
  waiting_.insert(waiting_.end(), news.begin(), news.end());
  std::erase_if(skipped_, [&](const auto& each) { return !listed_.contains(each.first); });
  forget_unlisted();
}

std::optional<std::filesystem::path> WatchState::advance(std::vector<SkippedCheckpoint>& skipped) {
  while (!waiting_.empty()) {
    const Entry entry = waiting_.front();
    const Stamp stamp = stamp_of(entry.prefix);
    const auto tensors = digest_of_whole(dir_, entry.prefix, follow_links_);
    if (!tensors && may_become_whole(entry)) return std::nullopt;
    waiting_.erase(waiting_.begin());
    if (!tensors) {
      if (to_be_named(entry, stamp))
        skipped.push_back({entry.prefix, why(dir_, entry.prefix, tensors.error())});
    } else if (give(entry, stamp, *tensors)) {
      return entry.prefix;
    }
  }
  return std::nullopt;
}

WatchState::Entry WatchState::entry_of(const std::filesystem::path& path) const {
  const auto resolved = resolve_entry(dir_, path, follow_links_);
  if (!resolved) return {path.string(), path};
  return {resolved->prefix.filename().string(), resolved->prefix};
}

// Whether there is no need to open it: given, and not written since.
bool WatchState::settled(const Entry& entry) const {
  const auto found = delivered_.find(entry.key);
  if (found == delivered_.end()) return false;
  const Stamp now = stamp_of(entry.prefix);
  return now == found->second.stamp || now == Stamp();
}

// Enters a whole checkpoint; false where it was given before.
bool WatchState::give(const Entry& entry, const Stamp& stamp, const Digest128& tensors) {
  skipped_.erase(entry.key);
  if (doubted_ && doubted_->first == entry.key) doubted_.reset();
  const auto [at, is_new] = delivered_.try_emplace(entry.key);
  Delivered& given = at->second;
  const bool news = is_new || given.tensors != tensors;
  given.stamp = stamp;
  given.tensors = tensors;
  if (news) given.position = ++delivered_count_;
  return news;
}

bool WatchState::may_become_whole(const Entry& entry) {
  if (entry.key != newest_) return false;
  const auto now = std::chrono::steady_clock::now();
  if (!doubted_ || doubted_->first != entry.key) doubted_.emplace(entry.key, now);
  return now - doubted_->second < patience_;
}

// Of what is skipped: what is listed is looked at again, and named only once.
bool WatchState::to_be_named(const Entry& entry, const Stamp& stamp) {
  if (!listed_.contains(entry.key)) return true;
  const auto [at, is_new] = skipped_.try_emplace(entry.key, stamp);
  return is_new || std::exchange(at->second, stamp) != stamp;
}

void WatchState::forget_unlisted() {
  std::map<std::uint64_t, std::string> unlisted;
  for (const auto& [key, given] : delivered_) {
    if (!listed_.contains(key)) unlisted[given.position] = key;
  }
  for (; unlisted.size() > kUnlistedMax; unlisted.erase(unlisted.begin()))
    delivered_.erase(unlisted.begin()->second);
}

WatchState::Stamp WatchState::stamp_of(const std::filesystem::path& prefix) {
  const auto identity = [&](std::string_view suffix) -> format::FileIdentity {
    const auto info = os::look(prefix.string() + std::string(suffix));
    if (!info || !*info) return {};
    return {(*info)->size_bytes, (*info)->mtime_ns, (*info)->inode};
  };
  return {identity(kTensorFlowSuffix), identity(kCairnSuffix)};
}

}  // namespace cairn::internal
