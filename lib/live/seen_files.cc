#include "lib/live/seen_files.h"

#include <algorithm>
#include <string>
#include <string_view>

#include "lib/os/file.h"
#include "lib/read/names.h"
#include "lib/try.h"

namespace cairn::internal {
namespace {

SeenFile seen(std::string path, const os::FileInfo& info) {
  return {std::move(path), info.size_bytes, info.mtime_ns, info.inode, info.device};
}

bool belongs(std::string_view name, std::string_view base) {
  if (!name.starts_with(base) || os::is_temporary_name(name)) return false;
  if (name.size() == base.size() || name[base.size()] == '.') return true;
  const auto v1 = v1_name(name);
  return v1 && v1->base == base;
}

bool is_unchanged(const SeenFile& file) {
  const auto now = os::look(file.path);
  return now && *now && seen(file.path, **now) == file;
}

bool is_a_directory(const std::filesystem::path& path) {
  const auto info = os::look(path);
  return info && *info && (*info)->kind == os::FileKind::Directory;
}

}  // namespace

std::vector<SeenFile> files_at(const std::filesystem::path& path) {
  const bool whole_directory = is_a_directory(path);
  Prefix prefix = whole_directory ? Prefix{path, {}} : Prefix::of(path);
  const std::string name = prefix.base;
  prefix.base = base_of_file(name).value_or(std::string(without_v1_tail(name)));
  const auto directory = os::Directory::open(prefix.directory.empty() ? "." : prefix.directory);
  if (!directory) return {};
  auto names = directory->names();
  if (!names) return {};
  std::ranges::sort(*names);
  std::vector<SeenFile> files;
  for (const std::string& each : *names) {
    if (whole_directory ? os::is_temporary_name(each) : !belongs(each, prefix.base)) continue;
    const std::filesystem::path file = prefix.directory / each;
    const auto info = os::look(file);
    if (info && *info && (*info)->kind == os::FileKind::Regular)
      files.push_back(seen(file.string(), **info));
  }
  return files;
}

std::vector<SeenFile> index_files(const Parts& parts) {
  std::vector<SeenFile> files;
  const std::filesystem::path directory = Prefix::of(parts.prefix).directory;
  for (std::size_t i = 0; i < parts.origin.indexes.size(); ++i) {
    const auto& index = parts.origin.indexes[i];
    if (!index) continue;
    const std::string_view suffix = i == 0 ? kTensorFlowSuffix : kCairnSuffix;
    const format::FileIdentity& identity = index->identity;
    SeenFile file{(directory / (parts.origin.base + std::string(suffix))).string(),
                  identity.size_bytes, identity.mtime_ns, identity.inode, index->device};
    // A P.cairn that its writer has not renamed yet has no name of its own that stays.
    if (is_unchanged(file)) files.push_back(std::move(file));
  }
  return files;
}

Result<std::vector<SeenFile>> shard_files(const Parts& parts) {
  std::vector<SeenFile> files;
  for (const os::File& shard : parts.shards) {
    CAIRN_TRY(info, shard.info());
    files.push_back(seen(shard.path(), info));
  }
  return files;
}

bool are_unchanged(const std::vector<SeenFile>& files) {
  return std::ranges::all_of(files, is_unchanged);
}

}  // namespace cairn::internal
