#pragma once

// What a directory may look like after a power cut: the marks that a workload left say it, and this
// looks.
//
// A subject is a prefix, a .safetensors file or a directory with a catalog, under one view:
//
//   open     Checkpoint::open with Verify::Full
//   index    the same by P.index and the shards alone, without P.cairn: what TensorFlow sees
//   latest   latest_checkpoint; each checkpoint that the catalog lists must open
//   resume   one more save by a Saver that keeps so many; then these are whole, and nothing else is
//            in the directory
//
// It goes through versions, "none" (not there) being the first. A power cut may leave the last one
// that is done, or any begun after it, and nothing else: what is older, or absent, or does not open
// is lost; what opens with bytes that no version ever had is wrong. One version, "unsynced", stands
// for what a program that never syncs may leave: whatever does not open, or any earlier version.

#include <cairn/cairn.h>

#include <cstddef>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "contents.h"

namespace power {

enum class Verdict { Lost, Wrong };

struct Finding {
  Verdict verdict;
  std::string what;
};

class Oracle {
 public:
  // `scratch`: a directory of its own, where the shards get links without P.cairn.
  Oracle(std::filesystem::path golden, std::filesystem::path scratch)
      : golden_(std::move(golden)), scratch_(std::move(scratch)) {}

  void hear(std::string_view mark);

  // Looks at the file system mounted at `root`.
  std::vector<Finding> look(const std::filesystem::path& root);
  // Whether looking means writing.
  bool writes() const noexcept { return writes_; }

 private:
  using Name = std::pair<std::string, std::string>;  // view, subject
  struct Story {
    std::vector<std::string> versions{"none"};
    std::size_t done = 0;  // the position of the last version that must be there
  };
  struct Seen {
    std::optional<Contents> contents;
    bool absent = false;
    std::string why;  // there are no contents
  };

  Seen open(const std::filesystem::path& path, bool follow_links) const;
  Seen open_index(const std::filesystem::path& prefix) const;
  std::optional<Finding> judge(const Name& name, const Story& story);
  std::optional<Finding> judge_checkpoint(const Story& story, const Seen& seen);
  std::optional<Finding> judge_latest(const Story& story, const std::string& dir);
  std::optional<Finding> judge_resume(const Story& story, const std::string& dir);
  const Seen& seen(const std::string& prefix);
  bool is_version(const Story& story, std::size_t position, const Seen& seen);
  const Contents& contents(const std::string& description);

  std::filesystem::path golden_;
  std::filesystem::path scratch_;
  std::filesystem::path root_;  // of the look under way
  std::map<Name, Story> stories_;
  std::map<std::string, Seen> seen_;  // by open, in the look under way
  std::map<std::string, Contents> contents_;
  bool writes_ = false;
};

}  // namespace power
