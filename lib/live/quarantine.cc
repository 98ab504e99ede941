#include "lib/live/quarantine.h"

#include <algorithm>
#include <utility>

#include "lib/live/seen_files.h"

namespace cairn::internal {
namespace {

// A trainer that writes nothing but damage must not fill the memory of a server.
constexpr std::size_t kEntriesMax = 64;

}  // namespace

void Quarantine::add(Entry entry) {
  remove(entry.shown.prefix);
  if (entries_.size() == kEntriesMax) entries_.erase(entries_.begin());
  entries_.push_back(std::move(entry));
}

void Quarantine::remove(const std::filesystem::path& prefix) {
  std::erase_if(entries_,
                [&](const Entry& entry) { return entry.shown.prefix.native() == prefix.native(); });
}

bool Quarantine::holds(const std::filesystem::path& prefix,
                       const std::vector<SeenFile>& files) const {
  return std::ranges::any_of(entries_, [&](const Entry& entry) {
    return entry.shown.prefix.native() == prefix.native() && entry.shown.files == files &&
           are_unchanged(entry.opened);
  });
}

std::vector<QuarantinedCheckpoint> Quarantine::list() const {
  std::vector<QuarantinedCheckpoint> shown;
  for (const Entry& entry : entries_) shown.push_back(entry.shown);
  return shown;
}

}  // namespace cairn::internal
