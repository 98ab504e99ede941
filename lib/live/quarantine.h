#pragma once

// The checkpoints that are not published, as long as their files stay as they are.

#include <filesystem>
#include <optional>
#include <vector>

#include "cairn/live.h"

namespace cairn::internal {

class Quarantine {
 public:
  // `opened`: the files that were opened, which may be more than those that the prefix shows.
  struct Entry {
    QuarantinedCheckpoint shown;
    std::vector<SeenFile> opened;
  };

  // Replaces what is there of the same prefix.
  void add(Entry entry);
  void remove(const std::filesystem::path& prefix);

  // Whether the checkpoint is in quarantine, and these files, which are there now, are the same.
  bool holds(const std::filesystem::path& prefix, const std::vector<SeenFile>& files) const;

  std::vector<QuarantinedCheckpoint> list() const;  // oldest first

 private:
  std::vector<Entry> entries_;
};

}  // namespace cairn::internal
