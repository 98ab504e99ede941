#include "lib/edit/transfer.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "lib/open/v1.h"
#include "lib/os/parallel.h"
#include "lib/read/identity.h"
#include "lib/read/names.h"
#include "lib/read/origin.h"
#include "lib/try.h"
#include "lib/write/free_space.h"

namespace cairn {

std::string_view name(Link link) noexcept {
  switch (link) {
    case Link::Auto:
      return "auto";
    case Link::Hard:
      return "hard";
    case Link::Reflink:
      return "reflink";
    case Link::Copy:
      return "copy";
  }
  return "unknown";
}

}  // namespace cairn

namespace cairn::internal {
namespace {

constexpr std::uint64_t kCopyBlockBytes = 1u << 20;

// What a file system says where it cannot link: another device, too many links, no such operation.
bool linking_is_impossible(const Error& error) noexcept {
  switch (error.os_errno) {
    case EXDEV:
    case EMLINK:
    case EPERM:
    case EOPNOTSUPP:
    case ENOSYS:  // of FUSE
    case EINVAL:
    case ENOENT:
    case ENOTTY:
      return true;
    default:
      return false;
  }
}

// On all cores.
Result<void> copy_bytes(const os::File& from, const os::File& to, std::uint64_t size_bytes,
                        const ExecOptions& exec) {
  CAIRN_CHECK(to.reserve(size_bytes));
  const std::size_t blocks = (size_bytes + kCopyBlockBytes - 1) / kCopyBlockBytes;
  return os::run_parallel(exec, blocks, size_bytes, [&](std::size_t i) -> Result<std::uint64_t> {
    std::vector<std::byte> block(std::min(kCopyBlockBytes, size_bytes - i * kCopyBlockBytes));
    CAIRN_CHECK(from.read_at(i * kCopyBlockBytes, block));
    CAIRN_CHECK(to.write_at(i * kCopyBlockBytes, block));
    return block.size();
  });
}

// A new file with the shard's bytes: shared blocks where the file system can, else copied.
Result<TempFile> duplicate(const os::File& shard, const std::string& name, const Destination& to,
                           const TransferOptions& options, Transfer& transfer) {
  CAIRN_TRY(temp, TempFile::create(to.directory, name));
  CAIRN_CHECK(check_locks(to.directory, temp.file()));
  Link used = Link::Reflink;
  auto done = options.link == Link::Copy ? Result<void>(Error{Code::Io, EOPNOTSUPP, {}})
                                         : os::clone_blocks(shard, temp.file());
  if (!done && (options.link == Link::Reflink || !linking_is_impossible(done.error())))
    return std::move(done).error();
  if (!done) {
    CAIRN_TRY(info, shard.info());
    CAIRN_CHECK(copy_bytes(shard, temp.file(), info.size_bytes, options.exec));
    transfer.payload_bytes_copied += info.size_bytes;
    used = Link::Copy;
  }
  CAIRN_CHECK(temp.file().make_read_only());
  CAIRN_CHECK(temp.file().sync());
  transfer.used = std::max(transfer.used, used);  // the costliest way taken
  return std::move(temp);
}

Result<TempFile> link_or_copy_shard(const os::File& shard, const std::string& name,
                                    const Destination& to, const TransferOptions& options,
                                    Transfer& transfer) {
  if (options.link == Link::Auto || options.link == Link::Hard) {
    // Before the name: that of a safetensors file is its commit.
    CAIRN_CHECK(shard.sync());
    auto linked = TempFile::link(to.directory, name, shard);
    if (linked) transfer.used = std::max(transfer.used, Link::Hard);
    if (linked) return linked;
    if (options.link == Link::Hard || !linking_is_impossible(linked.error()))
      return std::move(linked).error();
  }
  return duplicate(shard, name, to, options, transfer);
}

// The temporary files that `make` makes of them, one by one.
template <class Make>
Result<std::vector<TempFile>> for_each_shard(std::span<const os::File> files, const Destination& to,
                                             const TransferOptions& options, Make make) {
  CAIRN_CHECK(remove_stale_files(to.directory));
  std::vector<TempFile> temps;
  temps.reserve(files.size());
  for (std::size_t i = 0; i < files.size(); ++i) {
    CAIRN_CHECK(os::unless_stopped(options.exec.stop));
    CAIRN_TRY(temp, make(i));
    temps.push_back(std::move(temp));
  }
  return temps;
}

// The V1 checkpoint of this name, also where it is damaged or not all there; empty: none.
std::string v1_under(const Target& target) {
  const auto v1 = find_v1(target.directory, target.base);
  if (!v1) return v1.error().code == Code::Io ? std::string() : v1.error().what;
  if (!*v1) return {};
  const std::vector<std::string>& names = (*v1)->names;
  return names.front() + (names.size() > 1 ? " to " + names.back() : "");
}

}  // namespace

bool is_named_as_v1(std::span<const std::string> names, const std::string& base) {
  return std::ranges::any_of(names, [&](const std::string& name) {
    const auto v1 = v1_name(name);
    return name == base || (v1 && v1->base == base);
  });
}

Result<void> refuse_to_hide_v1(const Target& target) {
  const std::string v1 = v1_under(target);
  if (v1.empty()) return {};
  return Error{Code::Exists, 0,
               target.shown + ": a V1 checkpoint exists there (" + v1 +
                   "), and the new indexes would hide it; choose another output, or use replace "
                   "(--replace)"};
}

void warn_of_hidden_v1(const Target& target, std::vector<std::string>& warnings) {
  const std::string v1 = v1_under(target);
  if (v1.empty()) return;
  warnings.push_back(target.shown +
                     ": has the name of a V1 checkpoint, which it now hides; remove these files by "
                     "hand if you do not need them: " +
                     v1);
}

Result<Destination> destination_of(const Location& source, const TransferOptions& options) {
  if (options.output.empty()) {
    CAIRN_TRY(directory, source.directory.duplicate());
    return Destination{std::move(directory), source.base, source.prefix};
  }
  const auto parts = Prefix::of(options.output);
  CAIRN_TRY(directory, os::Directory::open_or_create(parts.directory));
  return Destination{std::move(directory), parts.base, options.output};
}

Result<bool> is_beside(const Location& source, const TransferOptions& options) {
  if (options.output.empty()) return true;
  const auto parts = Prefix::of(options.output);
  if (parts.base != source.base) return false;
  const auto directory = os::Directory::open(parts.directory);
  if (!directory && directory.error().code == Code::NotFound) return false;
  if (!directory) return directory.error();
  return same_place({*directory, parts.base}, {source.directory, source.base});
}

// docs/decisions/0015.
bool may_be_linked(format::ShardKind kind) noexcept {
  return kind == format::ShardKind::Universal || kind == format::ShardKind::Headerless ||
         kind == format::ShardKind::TensorFlow;
}

Result<std::vector<TempFile>> link_or_copy_shards(std::span<const os::File> files,
                                                  std::span<const std::string> names,
                                                  const Destination& to,
                                                  const TransferOptions& options,
                                                  Transfer& transfer) {
  return for_each_shard(files, to, options, [&](std::size_t i) {
    return link_or_copy_shard(files[i], names[i], to, options, transfer);
  });
}

Result<std::vector<TempFile>> reflink_or_copy_shards(std::span<const os::File> files,
                                                     std::span<const std::string> names,
                                                     const Destination& to,
                                                     const TransferOptions& options,
                                                     Transfer& transfer) {
  return for_each_shard(files, to, options, [&](std::size_t i) {
    return duplicate(files[i], names[i], to, options, transfer);
  });
}

std::optional<std::int64_t> step_of(const Location& location, const format::IndexView& index) {
  if (const auto step = index.step()) return step;
  return location.kind == Kind::File ? std::nullopt : step_of(location.base);
}

void warn_if_moved(const os::Directory& directory, Transfer& transfer) {
  const auto parts = Prefix::of(transfer.prefix);
  const auto own = directory.info();
  const auto leads_there = [&](const std::filesystem::path& path) {
    const auto there = os::look(path.empty() ? "." : path);
    return there && *there && own && same_file(**there, *own);
  };
  if (!own || leads_there(parts.directory)) return;
  const std::filesystem::path now = directory.path_now();
  const bool known = !now.empty() && leads_there(now);
  const std::string shown = transfer.prefix.string();
  if (known) transfer.prefix = now / parts.base;
  transfer.warnings.push_back(shown +
                              ": its directory was renamed or removed in the meantime; the result "
                              "is in the directory that was opened" +
                              (known ? ", as " + transfer.prefix.string() : ""));
}

void warn_of_graph(const Location& source, std::vector<std::string>& warnings) {
  if (source.kind == Kind::File || !source.has(kMetaSuffix)) return;
  warnings.push_back(source.prefix.string() + std::string(kMetaSuffix) +
                     ": TensorFlow's graph is not copied");
}

Result<bool> same_place(const CheckpointPlace& a, const CheckpointPlace& b) {
  if (a.base != b.base) return false;
  CAIRN_TRY(one, a.directory.info());
  CAIRN_TRY(other, b.directory.info());
  return same_file(one, other);
}

Result<Lock> lock_of(const Location& location, const TransferOptions& options) {
  return lock_prefix(location.directory, location.base, {options.lock_wait, options.exec.stop});
}

Result<LockedCheckpoint> find_and_lock(const std::filesystem::path& path,
                                       const TransferOptions& options) {
  while (true) {
    CAIRN_TRY(before, find(path, options.follow_links, options.formats));
    CAIRN_CHECK(remove_stale_files(before.location.directory));
    CAIRN_TRY(lock, lock_of(before.location, options));
    CAIRN_TRY(now, find(path, options.follow_links, options.formats));
    CAIRN_TRY(same, same_place({before.location.directory, before.location.base},
                               {now.location.directory, now.location.base}));
    if (!same) continue;  // a catalog has another latest by now
    auto found = std::make_unique<Found>(std::move(now));
    const Location& location = found->location;
    Publisher publisher({location.directory, location.base, location.prefix.string()},
                        std::move(lock));
    return LockedCheckpoint{std::move(found), std::move(publisher)};
  }
}

Result<void> check_unchanged(const Location& location, const IndexIdentities& seen) {
  CAIRN_TRY(now, index_identities(location.directory, location.base));
  if (now == seen) return {};
  return written_anew(location.prefix.string());
}

Result<void> sync_shards(std::span<const os::File> shards) {
  for (const os::File& shard : shards) CAIRN_CHECK(shard.sync());
  return {};
}

Result<void> sync_payload(std::span<const os::File> shards, const os::Directory& directory) {
  CAIRN_CHECK(sync_shards(shards));
  return directory.sync();
}

void warn_of_fingerprint(const std::filesystem::path& prefix, Transfer& transfer) {
  const std::filesystem::path model = prefix.parent_path() / "..";
  const auto is_there = [&](const char* name) {
    const auto info = os::look(model / name);
    return info && *info;
  };
  if (prefix.filename() != "variables" || !is_there("saved_model.pb") ||
      !is_there("fingerprint.pb"))
    return;
  transfer.warnings.push_back(prefix.string() + std::string(kTensorFlowSuffix) +
                              ": was replaced; fingerprint.pb of the SavedModel holds a hash of "
                              "it, which no longer matches if its bytes differ");
}

}  // namespace cairn::internal
