#include "lib/compat/transfer.h"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <functional>

#include "format/limits.h"
#include "lib/os/parallel.h"
#include "lib/store/names.h"
#include "lib/try.h"

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

namespace cairn::compat {
namespace {

constexpr std::uint64_t kBlockBytes = 1u << 20;

// What a file system says where it cannot link: another device, too many links, no such operation.
bool linking_is_impossible(const Error& error) noexcept {
  switch (error.os_errno) {
    case EXDEV:
    case EMLINK:
    case EPERM:
    case EOPNOTSUPP:
    case EINVAL:
    case ENOENT:
    case ENOTTY:
      return true;
    default:
      return false;
  }
}

bool same_file(const os::FileInfo& a, const os::FileInfo& b) noexcept {
  return a.device == b.device && a.inode == b.inode;
}

// Calls `take` with every block of the file, on all cores.
using Take = std::function<Result<void>(std::uint64_t, std::span<const std::byte>)>;
Result<void> each_block(const os::File& file, std::uint64_t size_bytes, const Work& work,
                        const Take& take) {
  const std::size_t blocks = (size_bytes + kBlockBytes - 1) / kBlockBytes;
  return os::run_parallel(work, blocks, size_bytes, [&](std::size_t i) -> Result<std::uint64_t> {
    std::vector<std::byte> block(std::min(kBlockBytes, size_bytes - i * kBlockBytes));
    CAIRN_CHECK(file.read_at(i * kBlockBytes, block));
    CAIRN_CHECK(take(i * kBlockBytes, block));
    return block.size();
  });
}

Result<void> copy_bytes(const os::File& from, const os::File& to, std::uint64_t size_bytes,
                        const Work& work) {
  CAIRN_CHECK(to.reserve(size_bytes));
  return each_block(from, size_bytes, work, [&](std::uint64_t at_bytes, auto block) {
    return to.write_at(at_bytes, block);
  });
}

Result<bool> same_bytes(const os::File& a, const os::File& b, const Work& work) {
  CAIRN_TRY(left, a.info());
  CAIRN_TRY(right, b.info());
  if (left.size_bytes != right.size_bytes) return false;
  std::atomic<bool> same = true;
  const auto compare = [&](std::uint64_t at_bytes, auto block) -> Result<void> {
    std::vector<std::byte> other(block.size());
    CAIRN_CHECK(b.read_at(at_bytes, other));
    if (!std::ranges::equal(block, other)) same = false;
    return {};
  };
  CAIRN_CHECK(each_block(a, left.size_bytes, work, compare));
  return same.load();
}

// A new file with the shard's bytes: shared blocks where the file system can, else copied.
Result<Link> duplicate(const os::File& shard, const std::string& name, const Destination& to,
                       const TransferOptions& options, Transfer& transfer) {
  CAIRN_TRY(draft, store::Draft::create(to.directory, name));
  Link used = Link::Reflink;
  auto done = options.link == Link::Copy ? Result<void>(Error{Code::Io, EOPNOTSUPP, {}})
                                         : os::clone_blocks(shard, draft.file());
  if (!done && (options.link == Link::Reflink || !linking_is_impossible(done.error())))
    return std::move(done).error();
  if (!done) {
    CAIRN_TRY(info, shard.info());
    CAIRN_CHECK(copy_bytes(shard, draft.file(), info.size_bytes, options.work));
    transfer.payload_bytes_copied += info.size_bytes;
    used = Link::Copy;
  }
  CAIRN_CHECK(draft.file().make_read_only());
  CAIRN_CHECK(draft.file().sync());
  CAIRN_CHECK(
      draft.publish(options.replace ? store::Draft::Taken::Replace : store::Draft::Taken::Refuse));
  return used;
}

// Whether a file of this name has the shard's bytes already: a transfer that was killed leaves it
// so. Then it is durable when this returns.
Result<bool> brought_before(const os::File& shard, const std::string& name, const Destination& to,
                            const TransferOptions& options) {
  if (options.link == Link::Hard) return false;
  auto file = to.directory.open_file(name, os::Links::Refuse);
  if (!file && file.error().code == Code::Unsafe) return false;
  if (!file) return std::move(file).error();
  CAIRN_TRY(same, same_bytes(shard, *file, options.work));
  if (same) CAIRN_CHECK(file->sync());
  return same;
}

// What is there gives way in one step, so that the name is never without a file.
Result<void> hard_link(const os::File& shard, const std::string& name, const Destination& to,
                       bool replace) {
  if (!replace) return to.directory.link(shard, name);
  const std::string temporary = os::temporary_name(name);
  CAIRN_CHECK(to.directory.link(shard, temporary));
  auto done = to.directory.rename(temporary, name);
  if (!done) (void)to.directory.remove(temporary);
  return done;
}

Result<Link> bring(const os::File& shard, const std::string& name, const Destination& to,
                   const TransferOptions& options, Transfer& transfer) {
  if (options.link == Link::Auto || options.link == Link::Hard) {
    // Before the name: that of a safetensors file is its commit.
    CAIRN_CHECK(shard.sync());
    auto linked = hard_link(shard, name, to, options.replace);
    if (linked) return Link::Hard;
    if (options.link == Link::Hard || !linking_is_impossible(linked.error()))
      return std::move(linked).error();
  }
  return duplicate(shard, name, to, options, transfer);
}

}  // namespace

Result<Destination> destination_of(const Location& source, const TransferOptions& options) {
  if (options.output.empty()) {
    CAIRN_TRY(directory, os::Directory::open(source.directory.path()));
    return Destination{std::move(directory), source.base, source.prefix, true};
  }
  const auto parts = store::Prefix::of(options.output);
  CAIRN_TRY(directory, os::Directory::open_or_create(parts.directory));
  CAIRN_TRY(there, directory.info());
  CAIRN_TRY(here, source.directory.info());
  const bool beside = same_file(there, here) && parts.base == source.base;
  return Destination{std::move(directory), parts.base, options.output, beside};
}

std::vector<std::string> names_under(const std::string& from, const std::string& to,
                                     const format::IndexView& index) {
  std::vector<std::string> names;
  names.reserve(index.shard_count());
  for (std::size_t i = 0; i < index.shard_count(); ++i) {
    names.push_back(to + std::string(index.shard(i).name.substr(from.size())));
  }
  return names;
}

Result<void> bring_shards(std::span<const os::File> shards, std::span<const std::string> names,
                          const Destination& to, const TransferOptions& options,
                          Transfer& transfer) {
  struct Missing {
    std::size_t shard;
    bool is_new;  // nothing gives way
  };
  std::vector<Missing> missing;
  std::vector<std::string_view> created;
  for (std::size_t i = 0; i < shards.size(); ++i) {
    CAIRN_TRY(there, to.directory.look(names[i]));
    CAIRN_TRY(info, shards[i].info());
    if (there && same_file(*there, info)) {
      CAIRN_CHECK(shards[i].sync());
      continue;
    }
    if (there && !options.replace) {
      CAIRN_TRY(brought, brought_before(shards[i], names[i], to, options));
      if (brought) continue;
      return Error{Code::Exists, 0,
                   to.prefix.string() + ": a file " + names[i] +
                       " is there; choose another output, or say replace"};
    }
    missing.push_back({i, !there});
  }
  const auto bring_all = [&]() -> Result<void> {
    for (const auto& [i, is_new] : missing) {
      CAIRN_TRY(used, bring(shards[i], names[i], to, options, transfer));
      if (is_new) created.push_back(names[i]);
      transfer.used = std::max(transfer.used, used);  // the costliest way taken
    }
    return to.directory.sync();
  };
  auto done = bring_all();
  for (std::size_t i = 0; !done && i < created.size(); ++i) (void)to.directory.remove(created[i]);
  return done;
}

Result<void> sync_payload(std::span<const os::File> shards, const os::Directory& directory) {
  for (const os::File& shard : shards) CAIRN_CHECK(shard.sync());
  return directory.sync();
}

Result<bool> already_there(const Destination& to, const IndexFile& index, bool replace) {
  auto file = to.directory.open_file(index.name, os::Links::Refuse);
  if (!file && replace) return false;
  if (!file && file.error().code == Code::NotFound) {
    const std::string own = to.base + std::string(store::kCairnSuffix);
    if (to.beside || !to.directory.exists(own)) return false;
    return Error{Code::Exists, 0,
                 to.prefix.string() + ": a checkpoint is there, by its index " + own +
                     "; choose another output, or say replace"};
  }
  if (!file) return std::move(file).error();
  CAIRN_TRY(bytes, os::read_whole(*file, format::limits::kForeignIndexBytesMax));
  if (std::ranges::equal(bytes, index.bytes)) {
    CAIRN_CHECK(file->sync());  // TensorFlow does not, and who was killed could not
    return true;
  }
  if (replace) return false;
  return Error{Code::Exists, 0,
               file->path() + ": is there and says something else; say replace to write it anew"};
}

void tell_of_fingerprint(const std::filesystem::path& prefix, Transfer& transfer) {
  const std::filesystem::path model = prefix.parent_path() / "..";
  const auto is_there = [&](const char* name) {
    const auto info = os::look(model / name);
    return info && *info;
  };
  if (prefix.filename() != "variables" || !is_there("saved_model.pb") ||
      !is_there("fingerprint.pb"))
    return;
  transfer.notices.push_back(
      prefix.string() + std::string(store::kTensorFlowSuffix) +
      ": was written anew: the SavedModel's fingerprint.pb, which holds a hash of it, no longer "
      "matches where its bytes differ");
}

}  // namespace cairn::compat
