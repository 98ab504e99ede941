#pragma once

// A checkpoint as a whole: copied, moved, removed. What `cp`, `mv` and `rm` do to its files one by
// one, and get wrong: shards without an index, an index before its shards, a catalog that lists
// what is gone, a record of files that nags for ever.
//
// All its files: P.cairn and P.index, the shards that they count, P.meta, and P.safetensors where
// that is another name of a shard. Of a .safetensors file or a V1 checkpoint in one file: that
// file, and P.meta. A SavedModel is a directory: copy, move and remove it as one.

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

// Copies a checkpoint, whatever Checkpoint::open takes, to `options.output`, which is required: a
// prefix, or a directory that is there, in which it keeps its name. The copy shares no file with
// the source: with Link::Auto its blocks at most, where the file system can (reflink), since an
// accident to a file that two names share is one to both. Every byte of a tensor is compared with
// its checksum where it has arrived; where there is none (safetensors), a warning says so. Shards
// are named after the new prefix, P.index keeps its bytes while their numbers are free, P.cairn
// keeps all that it says, marks such as a pin too, and records the new files. What is copied is the
// checkpoint of one moment: it may be saved over meanwhile. No catalog lists the copy. With
// `replace` what is there goes, and its pin with it.
//
// Errors: those of open; Corrupt (damage: nothing is published); Exists (`output` is there, without
// `replace`; for a V1 file, also with it, where what is there is no V1 file); Invalid (no output;
// it is where the source lies; Link::Hard; a name by which a V1 file would be the catalog, a file
// of Cairn's own or of another checkpoint); Unsupported (a SavedModel's directory; a V1 checkpoint
// in several files); Busy (`lock_wait` is over); Io, NoSpace, Cancelled. Durable when it returns:
// until then nothing is under `output`, or with `replace` what was there, whole. Cost: reads each
// byte twice, the second time from memory where it holds them.
CAIRN_API Result<Transfer> copy_checkpoint(const std::filesystem::path& source,
                                           const TransferOptions& options) noexcept;

struct Moved {
  Transfer transfer;                  // Link::Hard: the files are the same, under other names
  std::vector<std::string> catalogs;  // of the old directory, that listed it: their names
};

// Moves a checkpoint, named by its prefix or as its one file, to `options.output`, as
// copy_checkpoint takes it. Where files can be linked they stay the very files, and no tensor byte
// is read or moved (Cost: O(index)); where not, across file systems, as copy_checkpoint. At each
// moment it opens, whole, under the old name or the new one or both, and every catalog of the old
// directory lists one that does: first all is durable under the new name, then the catalogs are
// told, then the old files go, indexes first; of what a process that died left, that without an
// index goes with the next change of the directory, and the rest stays, unlisted. In the same
// directory an entry of a catalog becomes the new one, at its place; in another, it goes, and the
// new directory's catalog is left as it is: a warning says
// how to list it there. A pin, and all other marks, stay. Takes the directory's lock as a Saver
// does. `latest_filename`: the catalog that is told last.
//
// Errors: as copy_checkpoint; Invalid (a path that only leads to a checkpoint: a directory, a
// member's file); Unsupported (its files are symbolic links, or such a link of its directory leads
// to them; it is the variables of a SavedModel; a pin stands in a P.cairn that P.index has
// overtaken). After an error all is as it was, or it is
// whole under both names, and the sentence says so.
CAIRN_API Result<Moved> move_checkpoint(const std::filesystem::path& source,
                                        const TransferOptions& options,
                                        std::string_view latest_filename = "checkpoint") noexcept;

struct RemoveOptions {
  // Also the latest, one that other catalogs of the directory list, and one of which nobody knows
  // whether it is pinned, since its P.cairn cannot be read.
  bool force = false;
  bool dry_run = false;  // change nothing
  std::string latest_filename = "checkpoint";
  std::chrono::milliseconds lock_wait{30'000};  // as SaverOptions
  std::stop_token stop;
};

struct Removed {
  std::filesystem::path prefix;
  std::vector<std::string> files;     // their names, in the order in which they went
  std::vector<std::string> catalogs;  // that listed it: their names
  std::vector<std::string> warnings;  // such as: what a process that died had begun was finished
};

// Removes a checkpoint, named by its prefix or as its one file, whole or damaged: takes it out of
// the catalog, then removes its files, indexes first, as a Saver lets go of one; so no catalog
// lists what is gone, and no index names it. A catalog that lists nothing else goes with it. Shards
// that no index names stay, for they may be another's; where no index can be read, the numbered
// ones go if all are of one count. Files that are symbolic links go themselves, not what they lead
// to. Who has it open keeps it. Takes the directory's lock as a Saver does. Of what a process that
// died left, that without an index goes with the next change of the directory, and the rest stays,
// unlisted. On a full disk the files go first and make room for the catalog; what dies between the
// two leaves an entry that the next writer leaves out.
//
// Errors: NotFound (no such checkpoint); Invalid (a path that only leads to one); Unsupported (it
// is pinned; a symbolic link of its directory, of another name, leads to it; without `force` what
// RemoveOptions says of that; it is the variables of a SavedModel): nothing is changed. Busy (a
// lock; another has written it anew meanwhile: that one stays, unlisted); NoSpace (not even that
// was possible; says what to free); Io, Corrupt (a catalog that cannot be read).
CAIRN_API Result<Removed> remove_checkpoint(const std::filesystem::path& prefix,
                                            const RemoveOptions& options = {}) noexcept;

}  // namespace cairn
