#pragma once

// What an attempt to open went by, and whether writers have changed that since.

#include <array>
#include <filesystem>
#include <optional>
#include <span>

#include "cairn/error.h"
#include "lib/os/file.h"
#include "lib/read/open_checkpoint.h"

namespace cairn::internal {

class Trail {
 public:
  Trail() = default;
  // Of files of one directory, which are looked at again in it, wherever its path leads by then. It
  // must outlive the trail.
  explicit Trail(const os::Directory& within) : within_(&within) {}

  // A new attempt, which goes by nothing yet.
  void begin();

  // The attempt goes by what this file says. It stays open until the next attempt, so that no other
  // one gets its inode.
  const os::File& keep_catalog(os::File file, const os::FileInfo& info);
  const os::File& keep_index(os::File file, const os::FileInfo& info);  // P.cairn, P.index

  // Instead of the P.cairn that is kept: one that waits for its name.
  void keep_awaited(os::File file, const os::FileInfo& info);

  // An index that was there a moment ago is gone, or one that was not is there.
  void lose_index() noexcept { lost_index_ = true; }

  // Whether an index is another file by now, or was written to.
  bool index_changed() const;

  // Whether a name, of these shards or of what the attempt went by, was a symbolic link, and one of
  // all of them leads to another file by now: then what was opened may be of two publications.
  bool links_moved(std::span<const os::File> shards);

  // By which indexes of a base the attempt went.
  Origin origin(std::string base) const;

  // Whether another attempt may end better: what this one went by has changed, and not too often.
  bool may_go_on() const { return attempts_ < kAttemptsMax && changed(); }

  // The error of the last attempt, as the caller should hear it.
  Error explain(const std::filesystem::path& path, Error error) const;

  std::optional<std::filesystem::path> catalog_dir;  // of the catalog that led to the checkpoint

 private:
  static constexpr int kAttemptsMax = 8;
  struct Kept {
    os::File file;
    os::FileInfo info;
  };

  // Whether its name leads to another file by now, or it was written to.
  bool leads_elsewhere(const os::File& file, const os::FileInfo& info) const;
  bool replaced(const std::optional<Kept>& kept) const;
  bool changed() const { return index_changed() || replaced(catalog_); }

  const os::Directory* within_ = nullptr;
  int attempts_ = 0;
  std::optional<Kept> catalog_;
  std::array<std::optional<Kept>, 2> indexes_;
  bool lost_index_ = false;
};

// Whether an error may come from a writer that came between.
bool may_be_a_race(const Error& error) noexcept;

// The answer of `attempt`, which goes by `trail`: the first one that is `good`, or that no writer
// had a part in.
template <class Attempt, class Good>
std::invoke_result_t<Attempt> until_still(Trail& trail, Attempt attempt, Good good) {
  while (true) {
    trail.begin();
    auto answer = attempt();
    if (good(answer) || !trail.may_go_on()) return answer;
  }
}

// The same for a Result.
template <class Attempt>
std::invoke_result_t<Attempt> until_still(Trail& trail, Attempt attempt) {
  return until_still(trail, attempt,
                     [](const auto& answer) { return answer || !may_be_a_race(answer.error()); });
}

}  // namespace cairn::internal
