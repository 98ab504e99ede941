#include "lib/read/origin.h"

#include <algorithm>
#include <array>

#include "lib/read/identity.h"
#include "lib/read/names.h"
#include "lib/try.h"

namespace cairn::internal {
namespace {

constexpr std::array kSuffixes{kTensorFlowSuffix, kCairnSuffix};  // in the order of Origin

Result<std::optional<os::FileInfo>> index_now(const os::Directory& directory,
                                              const std::string& base, std::size_t which) {
  return directory.look_from(base + std::string(kSuffixes[which]), os::Links::Follow);
}

bool is_at(const std::filesystem::path& path, const os::Directory& directory) {
  const auto own = directory.info();
  const auto there = os::look(path.empty() ? "." : path);
  return own && there && *there && same_file(**there, *own);
}

}  // namespace

Result<IndexIdentities> index_identities(const os::Directory& directory, const std::string& base) {
  IndexIdentities identities;
  for (std::size_t i = 0; i < kSuffixes.size(); ++i) {
    CAIRN_TRY(info, directory.look(base + std::string(kSuffixes[i])));
    if (info) identities[i] = identity_of(*info);
  }
  return identities;
}

bool was_read_from(const Parts& parts, const os::Directory& directory, const std::string& base) {
  const Origin& origin = parts.origin;
  if (origin.base.empty() || origin.base != base) return false;
  if (is_at(Prefix::of(parts.prefix).directory, directory)) return true;
  for (std::size_t i = 0; i < kSuffixes.size(); ++i) {
    const auto now = index_now(directory, base, i);
    const auto& was = origin.indexes[i];
    if (was && now && *now && (*now)->inode == was->identity.inode && (*now)->device == was->device)
      return true;
  }
  return false;
}

Result<void> check_unchanged(const Origin& origin, const os::Directory& directory,
                             const std::string& shown) {
  for (std::size_t i = 0; i < kSuffixes.size(); ++i) {
    CAIRN_TRY(now, index_now(directory, origin.base, i));
    const auto& was = origin.indexes[i];
    const bool same = was && now ? was->identity == identity_of(*now) && was->device == now->device
                                 : !was && !now;
    if (!same) return written_anew(shown);
  }
  return {};
}

Error written_anew(const std::string& shown) {
  return {
      Code::Busy, 0,
      shown + ": another process replaced it while it was read; nothing has changed; try again"};
}

}  // namespace cairn::internal
