#pragma once

// Symbolic links, by which the files of one checkpoint are another's too: "best.index" that leads
// to "m-7.index" beside it.

#include <cstdint>
#include <filesystem>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "cairn/error.h"
#include "format/cairn/journal.h"
#include "lib/open/catalog.h"

namespace cairn::internal {

class LinksHere {
 public:
  // The links of the directory, and those of the checkpoints at `outside`: what its catalogs list
  // elsewhere. `names`: what is in the directory. Lifetime: that of `place`. Errors: Io.
  static Result<LinksHere> read(const Place& place, std::span<const std::string> names,
                                std::vector<std::filesystem::path> outside);

  bool none() const noexcept { return links_.empty() && outside_.empty(); }

  // A link that leads to a file of `what`, or through one that is a link itself, as a part of a
  // sentence: "best.index, a symbolic link, leads to it". The links of the checkpoints in `along`
  // do not count, for they go with it. Nothing: there is none.
  Result<std::optional<std::string>> to(const format::JournalCheckpoint& what,
                                        const std::set<std::string>& along) const;

 private:
  struct Link {
    std::string name;
    std::vector<std::string> leads_to;   // names in the directory, one link after the other
    std::optional<std::uint64_t> inode;  // of what it leads to by another directory
  };

  explicit LinksHere(const Place& place) noexcept : place_(place) {}
  Result<std::optional<Link>> follow(const std::string& name) const;
  Result<std::optional<std::string>> from_outside(const format::JournalCheckpoint& what) const;

  const Place& place_;
  std::vector<Link> links_;
  std::vector<std::filesystem::path> outside_;
};

}  // namespace cairn::internal
