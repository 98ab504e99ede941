#pragma once

// The files that an attempt to open relies on, and whether writers have replaced them since.

#include <array>
#include <filesystem>
#include <optional>
#include <span>

#include "cairn/error.h"
#include "lib/os/file.h"
#include "lib/os/retries.h"
#include "lib/read/open_checkpoint.h"

namespace cairn::os {
class LinkSnapshot;
}

namespace cairn::internal {

class OpenAttempt {
 public:
  OpenAttempt() = default;
  // For files of one directory: they are compared in this directory, wherever its path leads by
  // then. It must outlive the attempt.
  explicit OpenAttempt(const os::Directory& within) : within_(&within) {}

  // Begins a new attempt, which relies on no file yet.
  void begin();

  // The attempt relies on this file. The file stays open until the next attempt, so that no other
  // file gets its inode.
  const os::File& keep_catalog(os::File file, const os::FileInfo& info);
  const os::File& keep_index(os::File file, const os::FileInfo& info);  // P.cairn, P.index

  // Replaces the P.cairn that is kept by one that still has a temporary name.
  void keep_pending(os::File file, const os::FileInfo& info);

  // The attempt relies on the files in this directory, which a writer may exchange for another
  // directory as a whole (lib/write/model_directory.h).
  Result<void> keep_directory(const os::Directory& directory);

  // Notes that an index disappeared or appeared during the attempt.
  void note_index_gone() noexcept { lost_index_ = true; }

  // Whether an index has been replaced or written to.
  bool index_changed() const;

  // Whether the name of one of these shards, or of a file that the attempt relies on, was a
  // symbolic link and now leads to another file: then the opened files may belong to two different
  // saves.
  bool links_moved(std::span<const os::File> shards);

  // The indexes of a base that the attempt relied on.
  Origin origin(std::string base) const;

  // Whether to try again: a file that this attempt relied on has changed, and there were fewer than
  // os::Retries::kCallsMax attempts. Waits where many were in vain.
  bool may_retry() { return changed() && retries_.once_more(); }

  // The error of the last attempt, with the message for the caller.
  Error explain(const std::filesystem::path& path, Error error) const;

  std::optional<std::filesystem::path> catalog_dir;  // of the catalog that led to the checkpoint

 private:
  struct Kept {
    os::File file;
    os::FileInfo info;
  };

  // Whether its name now leads to another file, or it was written to.
  bool was_replaced(os::LinkSnapshot& links, const os::File& file, const os::FileInfo& info) const;
  bool replaced(os::LinkSnapshot& links, const std::optional<Kept>& kept) const;
  bool index_changed(os::LinkSnapshot& links) const;
  bool directory_changed() const;
  bool changed() const;

  const os::Directory* within_ = nullptr;
  os::Retries retries_;  // of the attempts before this one
  std::optional<Kept> catalog_;
  std::array<std::optional<Kept>, 2> indexes_;
  std::optional<os::Directory> directory_;  // held, so that no other one gets its inode
  bool lost_index_ = false;
};

// Whether an error may come from a writer that replaced files during the attempt.
bool may_be_a_race(const Error& error) noexcept;

// The error of an attempt during which a writer replaced files.
Error written_meanwhile(const std::filesystem::path& prefix);

// Calls `open`, which uses `attempt`, until the answer is `good` or no writer was involved; returns
// that answer.
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
