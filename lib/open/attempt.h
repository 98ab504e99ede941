#pragma once

// What an attempt to open went by, and whether writers have changed that since.

#include <array>
#include <filesystem>
#include <optional>
#include <span>

#include "cairn/error.h"
#include "lib/os/file.h"
#include "lib/read/open_checkpoint.h"

namespace cairn::os {
class LinkSnapshot;
}

namespace cairn::internal {

class OpenAttempt {
 public:
  OpenAttempt() = default;
  // Of files of one directory, which are looked at again in it, wherever its path leads by then. It
  // must outlive the attempt.
  explicit OpenAttempt(const os::Directory& within) : within_(&within) {}

  // A new attempt, which goes by nothing yet.
  void begin();

  // The attempt goes by what this file says. It stays open until the next attempt, so that no other
  // one gets its inode.
  const os::File& keep_catalog(os::File file, const os::FileInfo& info);
  const os::File& keep_index(os::File file, const os::FileInfo& info);  // P.cairn, P.index

  // Instead of the P.cairn that is kept: one that waits for its name.
  void keep_pending(os::File file, const os::FileInfo& info);

  // The attempt goes by the files in this directory, for which another one may be exchanged as a
  // whole (lib/write/model_directory.h).
  Result<void> keep_directory(const os::Directory& directory);

  // An index that was there a moment ago is gone, or one that was not is there.
  void note_index_gone() noexcept { lost_index_ = true; }

  // Whether an index is another file by now, or was written to.
  bool index_changed() const;

  // Whether a name, of these shards or of what the attempt went by, was a symbolic link, and one of
  // all of them leads to another file by now: then what was opened may be of two publications.
  bool links_moved(std::span<const os::File> shards);

  // By which indexes of a base the attempt went.
  Origin origin(std::string base) const;

  // Whether another attempt may end better: what this one went by has changed, and not too often.
  bool may_retry() const { return attempts_ < kAttemptsMax && changed(); }

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
  bool was_replaced(os::LinkSnapshot& links, const os::File& file, const os::FileInfo& info) const;
  bool replaced(os::LinkSnapshot& links, const std::optional<Kept>& kept) const;
  bool index_changed(os::LinkSnapshot& links) const;
  bool directory_changed() const;
  bool changed() const;

  const os::Directory* within_ = nullptr;
  int attempts_ = 0;
  std::optional<Kept> catalog_;
  std::array<std::optional<Kept>, 2> indexes_;
  std::optional<os::Directory> directory_;  // held, so that no other one gets its inode
  bool lost_index_ = false;
};

// Whether an error may come from a writer that came between.
bool may_be_a_race(const Error& error) noexcept;

// The error of an attempt between whose looks a writer came.
Error written_meanwhile(const std::filesystem::path& prefix);

// The answer of `open`, which goes by `attempt`: the first one that is `good`, or that no writer
// had a part in.
template <class Open, class Good>
std::invoke_result_t<Open> retry_until_stable(OpenAttempt& attempt, Open open, Good good) {
  while (true) {
    attempt.begin();
    auto answer = open();
    if (good(answer) || !attempt.may_retry()) return answer;
  }
}

// The same for a Result.
template <class Open>
std::invoke_result_t<Open> retry_until_stable(OpenAttempt& attempt, Open open) {
  return retry_until_stable(
      attempt, open, [](const auto& answer) { return answer || !may_be_a_race(answer.error()); });
}

}  // namespace cairn::internal
