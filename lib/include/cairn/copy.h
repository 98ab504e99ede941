#pragma once

// Copy, move and remove a whole checkpoint. The commands `cp`, `mv` and `rm` change its files one
// by one, which goes wrong: shards without an index, an index before its shards, a catalog that
// lists a missing checkpoint, a P.cairn that records the wrong files.
//
// The files of a checkpoint are P.cairn and P.index, the shards that they name, P.meta, and
// P.safetensors if it is another name of a shard. For a .safetensors file or a V1 checkpoint in one
// file: that file, and P.meta. A SavedModel is a directory: copy, move and remove the directory.

#include <chrono>
#include <filesystem>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "cairn/convert.h"
#include "cairn/error.h"
#include "cairn/export.h"

namespace cairn {

// Copies any checkpoint that Checkpoint::open opens to `options.output`. The output is required: a
// prefix, or an existing directory, in which the copy keeps its name.
//
// - The copy shares no file with the source, because damage to a shared file would damage both.
//   With Link::Auto it shares blocks if the file system can do that (reflink).
// - After the copy, every byte of a tensor is compared with its checksum. If there is no checksum
//   (safetensors), a warning says so.
// - Shards are named after the new prefix. P.index keeps its bytes if the numbers of its shards are
//   free. P.cairn keeps its metadata, for example a pin, and records the new files.
// - The source may be replaced while it is copied: the copy is the checkpoint of one moment.
// - No catalog lists the copy. With `replace` the old checkpoint under `output` goes, and its pin
//   too.
//
// The copy is durable when the call returns. Until then nothing is under `output`, or, with
// `replace`, the old checkpoint is there, whole.
//
// Errors: those of open; Corrupt (damage: nothing is published); Exists (`output` exists, without
// `replace`; for a V1 file also with `replace`, if the existing checkpoint is no V1 file); Invalid
// (no output; the output is the source; Link::Hard; the V1 file would get the name of a catalog, of
// one of Cairn's own files or of a file of another checkpoint); Unsupported (a SavedModel
// directory; a V1 checkpoint in several files); Busy (`lock_wait` is over); Io, NoSpace, Cancelled.
// Cost: reads each byte twice, the second time from memory if there is room.
CAIRN_API Result<Transfer> copy_checkpoint(const std::filesystem::path& source,
                                           const TransferOptions& options) noexcept;

struct Moved {
  Transfer transfer;                  // Link::Hard: the same files, under other names
  std::vector<std::string> catalogs;  // names of the catalogs of the old directory that listed it
};

// Moves a checkpoint to `options.output`, which has the meaning it has in copy_checkpoint. `source`
// is the prefix of the checkpoint, or its one file. Holds the directory's lock, as a Saver does.
//
// The order is: publish everything under the new name, durably; change the catalogs; remove the old
// files, indexes first. So at each moment the checkpoint opens, whole, under the old name, the new
// name or both, and every catalog of the old directory lists a name that opens. If the process
// dies, the next change of the directory removes files without an index; the rest stays, and no
// catalog lists it.
//
// Within a directory the entry of a catalog gets the new name and keeps its place. To another
// directory, the entry is removed; the catalog of the new directory does not change, and a warning
// says how to add the checkpoint there. The catalog `latest_filename` is changed last. A pin and
// all other metadata stay.
//
// Errors: those of copy_checkpoint; Invalid (`source` is a directory or a member file); Unsupported
// (the files are symbolic links, or a link in their directory leads to them; the checkpoint is the
// variables of a SavedModel; the P.cairn holds a pin and is older than P.index). After an error
// nothing has changed, or the checkpoint is whole under both names, and the message says so.
// Cost: O(index) if the files can be linked: no tensor byte is read. Across file systems, the cost
// of copy_checkpoint.
CAIRN_API Result<Moved> move_checkpoint(const std::filesystem::path& source,
                                        const TransferOptions& options,
                                        std::string_view latest_filename = "checkpoint") noexcept;

struct RemoveOptions {
  // Also remove the latest checkpoint, one that other catalogs of the directory list, and one whose
  // P.cairn cannot be read (it may be pinned).
  bool force = false;
  bool dry_run = false;  // change nothing
  std::string latest_filename = "checkpoint";
  std::chrono::milliseconds lock_wait{30'000};  // as in SaverOptions
  std::stop_token stop = {};
};

struct Removed {
  std::filesystem::path prefix;
  std::vector<std::string> files;     // names of the removed files, in the order of removal
  std::vector<std::string> catalogs;  // names of the catalogs that listed it
  std::vector<std::string> warnings;  // for example: the work of a dead process was finished
};

// Removes a checkpoint, whole or damaged. `prefix` is its prefix, or its one file. The checkpoint
// first leaves the catalog, then its files are removed, indexes first. So no catalog lists a
// missing checkpoint, and no index names a missing shard. A catalog that lists nothing else is
// removed too. Holds the directory's lock, as a Saver does.
//
// - Shards that no index names stay, because they may belong to another checkpoint. If no index can
//   be read, the numbered shards are removed if their names all give the same count.
// - A file that is a symbolic link is removed itself; its target stays.
// - A process that has the checkpoint open keeps it.
// - If the process dies, the next change of the directory removes files without an index; the rest
//   stays, and no catalog lists it.
// - On a full disk the files are removed first, to make room for the catalog. If the process dies
//   between these steps, the next writer removes the entry from the catalog.
//
// Errors: NotFound (no such checkpoint), Invalid (the path is a directory or a member file),
// Unsupported (it is pinned; a symbolic link of its directory, with another name, leads to it;
// RemoveOptions::force is needed; it is the variables of a SavedModel): nothing has changed. Busy
// (a lock; or another process has replaced the checkpoint in the meantime: the new one stays, and
// no catalog lists it), NoSpace (not even removal was possible; the message says what to free), Io,
// Corrupt (a catalog that cannot be read).
CAIRN_API Result<Removed> remove_checkpoint(const std::filesystem::path& prefix,
                                            const RemoveOptions& options = {}) noexcept;

}  // namespace cairn
