#pragma once

// What import and export share: giving shards a second name, and publishing indexes over shards
// that are not ours.

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cairn/convert.h"
#include "format/facts.h"
#include "lib/open/load.h"
#include "lib/open/locate.h"
#include "lib/os/file.h"
#include "lib/write/publisher.h"
#include "lib/write/temp_file.h"

namespace cairn::internal {

// Where a result goes: an open directory and the base of its names.
struct Destination {
  os::Directory directory;
  std::string base;
  std::filesystem::path prefix;
};

// Makes the directory where it is missing.
Result<Destination> destination_of(const Location& source, const TransferOptions& options);

// Whether the result is to lie where the source does. Makes nothing.
Result<bool> is_beside(const Location& source, const TransferOptions& options);

// Whether a shard of this kind gets a hard link unless the caller chooses (Link::Auto): who wrote
// it writes new files, and never into one that is there. Other tools do, and would change each file
// that is linked to it.
bool may_be_linked(format::ShardKind kind) noexcept;

// Second names for files, under the temporary names of `names` in the destination, as
// `options.link` says, and synced. Adds to `transfer`.
Result<std::vector<TempFile>> link_or_copy_shards(std::span<const os::File> files,
                                                  std::span<const std::string> names,
                                                  const Destination& to,
                                                  const TransferOptions& options,
                                                  Transfer& transfer);

// The same by files that share none of theirs, but blocks where the file system can: reflinks, else
// copies.
Result<std::vector<TempFile>> reflink_or_copy_shards(std::span<const os::File> files,
                                                     std::span<const std::string> names,
                                                     const Destination& to,
                                                     const TransferOptions& options,
                                                     Transfer& transfer);

// Whether one of these names may be a V1 checkpoint's that has the base. Who has listed the
// directory asks this first: the next two list it once more.
bool is_named_as_v1(std::span<const std::string> names, const std::string& base);

// Exists: a V1 checkpoint has the target's name, and nobody would read it beside an index of that
// name. Only who replaces what is there may hide it, and then says which files those are.
Result<void> refuse_to_hide_v1(const Target& target);
void warn_of_hidden_v1(const Target& target, std::vector<std::string>& warnings);

// The step of a checkpoint: what its index says, else what its name does, but a safetensors file's.
std::optional<std::int64_t> step_of(const Location& location, const format::IndexView& index);

// Where the path of `transfer.prefix` leads to another directory by now than the one that was
// written to: a warning, and the prefix under which the result is found, if that is known.
void warn_if_moved(const os::Directory& directory, Transfer& transfer);

// A warning where the source has a P.meta, which the result has not.
void warn_of_graph(const Location& source, std::vector<std::string>& warnings);

// Whether two checkpoints lie at one place, however that is spelt.
struct CheckpointPlace {
  const os::Directory& directory;
  const std::string& base;
};
Result<bool> same_place(const CheckpointPlace& a, const CheckpointPlace& b);

// A checkpoint that is to be changed where it lies: found, its prefix locked, and found again by
// then. Errors: those of find; Busy.
struct LockedCheckpoint {
  std::unique_ptr<Found> found;  // whose directory the publisher refers to
  Publisher publisher;
};
Result<LockedCheckpoint> find_and_lock(const std::filesystem::path& path,
                                       const TransferOptions& options);

// import_index() of a prefix in a directory that is open; `prefix` is for messages.
Result<Transfer> import_in(const os::Directory& directory, const std::string& base,
                           const std::filesystem::path& prefix, const TransferOptions& options);

// The lock of a location's prefix, as the options say.
Result<Lock> lock_of(const Location& location, const TransferOptions& options);

// Busy: the indexes at the location are others than those that were seen when it was found.
// TensorFlow takes no lock, and who makes a checkpoint anew elsewhere holds none while it reads.
Result<void> check_unchanged(const Location& location, const IndexIdentities& seen);

// Makes the bytes of foreign shards durable: nobody else has. TensorFlow calls no fsync.
Result<void> sync_shards(std::span<const os::File> shards);

// The same, and their names; who publishes two indexes makes those durable himself.
Result<void> sync_payload(std::span<const os::File> shards, const os::Directory& directory);

// Where `prefix` holds the variables of a SavedModel whose fingerprint.pb has a hash of P.index: a
// warning that P.index was written anew.
void warn_of_fingerprint(const std::filesystem::path& prefix, Transfer& transfer);

}  // namespace cairn::internal
