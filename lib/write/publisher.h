#pragma once

// The one way to publish: what stands under a prefix becomes something else, at once.

#include <cstdint>
#include <functional>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cairn/error.h"
#include "format/facts.h"
#include "lib/os/file.h"
#include "lib/write/lock.h"
#include "lib/write/temp_file.h"

namespace cairn::internal {

// The shards that indexes name: P.cairn by their names, P.index by how many there are.
struct ShardReferences {
  std::set<std::string, std::less<>> names;
  std::set<std::uint32_t> counts;

  bool has(std::string_view shard, std::string_view base) const;

  // Those that are named like shards of the prefix.
  std::set<std::string> shards_of(const std::string& base) const;
};

// What the indexes of a prefix name. Nothing: one is there and cannot be read, so nobody knows.
Result<std::optional<ShardReferences>> shard_references(const os::Directory& directory,
                                                        const std::string& base);

// What the temporary indexes of a prefix name: those of who publishes now, or died. `names`: what
// is in the directory.
Result<ShardReferences> temporary_shard_references(const os::Directory& directory,
                                                   std::span<const std::string> names,
                                                   const std::string& base);

// Whether P.index and P.cairn are there, and P.cairn speaks. Links are followed. Errors: Io; what
// cannot be read is not taken for one that does not speak.
Result<bool> is_index_pair(const os::Directory& directory, const std::string& base);

// Where something is published: under `base` in the directory. `shown`: the prefix, for messages.
struct Target {
  const os::Directory& directory;
  std::string base;
  std::string shown;
};

// The prefix's lock. Who has it finds under their names the two indexes that belong together: where
// a publisher died or failed between the two, the one that waits under a temporary name gets its
// own now, unless that fails too, or nobody can say whether one waits. Errors: those of Lock; Io: a
// sync of that name failed.
Result<Lock> lock_prefix(const os::Directory& directory, const std::string& base,
                         const LockWait& wait);

// Exists: a file that makes the name a checkpoint's is there, by one of these suffixes. Publisher
// has the last word; this one spares who asks first the work.
Result<void> refuse_existing(const Target& target, std::span<const std::string_view> suffixes);

// Holds the prefix's lock, from its making to its end.
class Publisher {
 public:
  // Errors: those of lock_prefix().
  static Result<Publisher> begin(Target target, const LockWait& wait);

  // Under a lock of the target's prefix that is held already, by lock_prefix().
  Publisher(Target target, Lock held) : target_(std::move(target)), lock_(std::move(held)) {}

  const std::string& shown() const noexcept { return target_.shown; }

  // As refuse_existing(), for good.
  Result<void> refuse(std::span<const std::string_view> suffixes) const;

  // An index (or P.meta) that is to be published, written and synced under a temporary name; its
  // file, which is valid until publish().
  Result<const os::File*> add(std::string_view suffix, std::span<const std::byte> bytes);

  // The same of a file that is there: a second name of it, where it can have one, else its bytes.
  Result<const os::File*> add_link(std::string_view suffix, const os::File& file);

  struct How {
    std::span<const std::string_view> unwanted;  // suffixes of indexes that are to be there no more
  };

  // Gives the shards, whose bytes are synced, their names, then the indexes, then removes what
  // nobody names any more. Without an error all of it is durable; with one, what was there is there
  // still, or the new checkpoint is, whole.
  Result<void> publish(std::span<TempFile> shards, const How& how);
  Result<void> publish(std::span<TempFile> shards) { return publish(shards, {}); }

  // The same for one file that needs no index. Exists: without `replace`, another file is there.
  Result<void> publish_file(TempFile& file, bool replace);

  // A sentence, where the checkpoint that publish() replaced with other shards was pinned, or may
  // have been, and the one that took its place is not.
  std::optional<std::string> warning() const;

 private:
  std::string name(std::string_view suffix) const { return target_.base + std::string(suffix); }
  Result<std::vector<TempFile>> keep_replaced(std::span<const std::string_view> unwanted) const;
  Result<void> name_shards(std::span<TempFile> shards);
  Result<void> name_indexes(bool pair);
  Result<void> name_index(TempFile& index);
  Result<void> drop(std::span<const std::string_view> unwanted) const;
  void roll_back(std::span<TempFile> replaced);
  std::string pin_lost() const;

  Target target_;
  Lock lock_;
  std::vector<TempFile> indexes_;
  bool changed_ = false;       // an index has got its name, or may have
  bool replaces_own_ = false;  // a P.cairn stood there
  bool refused_ = false;       // one has not, for certain, and nothing else failed
  std::string pin_lost_;       // as it was
};

// Removes what publishers under the prefix left that died: temporary files that nobody holds, and
// the shards that such an index names and no index that is there. The caller holds the prefix's
// lock. What cannot be removed stays, and is ignored by every reader; so does all, where nobody can
// say whether an index waits for its name (lock_prefix()). Errors, Io: one has got its name, and
// the sync of that failed.
Result<void> sweep(const os::Directory& directory, const std::string& base);

// The same for every prefix of the directory that nobody publishes under, and for the directory's
// own files, whose lock the caller holds.
Result<void> sweep_all(const os::Directory& directory);
Result<void> sweep_all(const os::Directory& directory,
                       std::span<const std::string> names);  // those in it

// What sweep_all would remove, seen without a change; where somebody publishes meanwhile it may be
// his that has not been held yet, so one look is not enough. Each temporary file is held for a
// moment, to learn that nobody else does. Errors: Io.
Result<std::vector<std::string>> stale_temporary_files(const os::Directory& directory,
                                                       std::span<const std::string> names);

}  // namespace cairn::internal
