#pragma once

// What a directory says of its past: which checkpoints the catalog lists, and of each what
// retention asks. Read anew for each save, since others write here too.

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cairn/error.h"
#include "lib/open/catalog.h"
#include "lib/os/file.h"
#include "lib/saver/retention.h"
#include "lib/saver/saver_metadata.h"

namespace cairn::internal {

struct HistoryEntry {
  std::filesystem::path path;  // joined to the directory as that is spelt
  std::string base;            // of its files; empty: it lies outside of this directory
  CheckpointFacts known;
  std::optional<KeepGrid> grid;  // as this save left it
};

struct History {
  std::vector<HistoryEntry> listed;  // oldest first, the latest last; without those that are gone
  bool has_timestamps = false;
  double last_preserved_s = 0;
  std::optional<KeepGrid> grid;  // the newest that is written down
};

// Errors: those of get_checkpoint_state, and Io: what cannot be looked at is not taken for gone.
Result<History> read_history(const Place& place);

// A checkpoint in the directory, listed or not. Its time is the one its Saver or Writer wrote down,
// else that of its index file. Errors: Io.
Result<CheckpointFacts> checkpoint_facts(const Place& place, const std::string& base);

// Whether the name is pinned, whatever was written under it since.
struct Pin {
  bool pinned = false;
  std::string unread;  // as in Known
};
Result<Pin> pin_of(const Place& place, const std::string& base);

// Replaces the catalog, durably: names in this directory without it. Nothing is listed: nothing
// happens.
Result<void> write_history(const Place& place, const History& history);

}  // namespace cairn::internal
