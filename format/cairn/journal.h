#pragma once

// The journal of a directory: what its writer is about to do, so that whoever comes after a crash
// can finish it. The text is described in FORMAT.md, section 9.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "format/decode_error.h"
#include "format/facts.h"

namespace cairn::format {

struct JournalFile {
  std::string name;  // a bare file name
  FileIdentity identity;
  std::int64_t ctime_ns = 0;
  friend bool operator==(const JournalFile&, const JournalFile&) = default;
};

// A checkpoint, by what its prefix's last part is, and some of its files.
struct JournalCheckpoint {
  std::string base;
  std::vector<JournalFile> files;
  std::int64_t created_ns = 0;  // of one that is being saved: what its P.cairn will say
  friend bool operator==(const JournalCheckpoint&, const JournalCheckpoint&) = default;
};

struct JournalFacts {
  std::string catalog;  // the catalog's file name
  // What is being saved; and its indexes and the catalog as they were before, where they were. No
  // base: nothing.
  JournalCheckpoint adding;
  std::vector<JournalCheckpoint> removing;  // retention lets go of them
  std::vector<JournalCheckpoint> leaving;   // somebody moves or removes them
  friend bool operator==(const JournalFacts&, const JournalFacts&) = default;
};

std::string encode_journal(const JournalFacts& facts);

// Errors: Corrupt, also where the sum over the text is wrong: a journal that was not written to the
// end.
Decoded<JournalFacts> decode_journal(std::string_view text);

}  // namespace cairn::format
