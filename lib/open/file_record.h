#pragma once

// FILE.cairn: the index that import_index() writes beside a file of another format, with the
// checksums of its tensors. It is used as long as the file's size, time, and the bytes that say
// where its tensors are, are the recorded ones.

#include <optional>
#include <span>
#include <string>

#include "cairn/error.h"
#include "format/facts.h"
#include "lib/open/locate.h"
#include "lib/os/file.h"
#include "lib/read/open_checkpoint.h"

namespace cairn::internal {

// The parts of the checkpoint by FILE.cairn. If it was not used, a warning that says why; if there
// is no FILE.cairn, neither. Errors: those after which it is not known what is there (may_pass()).
struct FileRecord {
  std::optional<Parts> parts;
  std::optional<std::string> not_used;
};
Result<FileRecord> load_record(const Location& location, unsigned threads_max);

// XXH3-128 of these ranges of the file, one after another: the digest of SourceIndexFacts.
Result<Digest128> digest_of(const os::File& file, std::span<const format::FileRange> ranges);

}  // namespace cairn::internal
