#pragma once

// What of a directory's catalog a Watcher has given, and what is next.

#include <array>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cairn/catalog.h"
#include "cairn/tensor.h"
#include "format/facts.h"

namespace cairn::internal {

class WatchState {
 public:
  // `patience`: how long the newest entry may take to become whole. `follow_links`: as in
  // OpenOptions.
  WatchState(std::filesystem::path dir, std::chrono::milliseconds patience, bool follow_links)
      : dir_(std::move(dir)), patience_(patience), follow_links_(follow_links) {}

  // Takes up what an earlier WatchState said; false where the text is none of its.
  bool restore(std::string_view text);
  std::string text() const;

  // The catalog as it is now.
  void update(const CheckpointState& catalog);

  // The next checkpoint that is whole, if there is one; what comes before it is skipped.
  std::optional<std::filesystem::path> advance(std::vector<SkippedCheckpoint>& skipped);

  // Whether the newest entry may become whole while one waits.
  bool is_waiting() const noexcept { return !waiting_.empty(); }

 private:
  // P.index and P.cairn as they are in the directory; zeros: no such file.
  using Stamp = std::array<format::FileIdentity, 2>;

  // By its key an entry is recognised however the catalog spells it: the bare name where it lies in
  // the catalog's directory, else the path.
  struct Entry {
    std::string key;
    std::filesystem::path prefix;
  };
  struct Delivered {
    Digest128 tensors;           // names, shapes, checksums
    std::optional<Stamp> stamp;  // nothing: not looked at since it was taken up
    std::uint64_t position = 0;  // in the order of giving
  };

  Entry entry_of(const std::filesystem::path& path) const;
  bool settled(const Entry& entry) const;
  bool give(const Entry& entry, const Stamp& stamp, const Digest128& tensors);
  bool may_become_whole(const Entry& entry);
  bool to_be_named(const Entry& entry, const Stamp& stamp);
  void forget_unlisted();
  static Stamp stamp_of(const std::filesystem::path& prefix);

  std::filesystem::path dir_;
  std::chrono::milliseconds patience_;
  bool follow_links_;
  std::map<std::string, Delivered> delivered_;
  std::uint64_t delivered_count_ = 0;
  std::set<std::string> listed_;
  std::string newest_;                    // the key of the catalog's last entry
  std::vector<Entry> waiting_;            // in the order of their turns
  std::map<std::string, Stamp> skipped_;  // of listed entries: so that each is named once
  // Since when the newest entry has been found not whole.
  std::optional<std::pair<std::string, std::chrono::steady_clock::time_point>> doubted_;
};

}  // namespace cairn::internal
