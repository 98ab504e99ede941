#pragma once

// FILE.cairn: what import_index() has recorded of a file of another format: where its tensors are,
// and their sums. It speaks for the file as long as the file is the one that it records, by size,
// time, and the bytes that say where its tensors are.

#include <optional>
#include <span>
#include <string>

#include "cairn/error.h"
#include "format/facts.h"
#include "lib/open/locate.h"
#include "lib/os/file.h"
#include "lib/read/open_checkpoint.h"

namespace cairn::internal {

// The parts of the checkpoint by FILE.cairn, or why it was not used: a warning, or nothing where
// there is no FILE.cairn. Errors: those by which nobody knows what is there (may_pass()).
struct FileRecord {
  std::optional<Parts> parts;
  std::optional<std::string> not_used;
};
Result<FileRecord> load_record(const Location& location, unsigned threads_max);

// XXH3-128 of these ranges of the file, one after another: the digest of SourceIndexFacts.
Result<Digest128> digest_of(const os::File& file, std::span<const format::FileRange> ranges);

}  // namespace cairn::internal
