#pragma once

// Measuring, shared by demo and bench: repeat, drop the page cache, sort, and never a mean.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "cairn/checkpoint.h"
#include "cairn/error.h"

namespace cairn::tools {

struct Spread {
  double min = 0;
  double median = 0;
  double max = 0;
};

// What is timed, between what is not.
struct Trial {
  std::function<Result<void>()> prepare;  // not timed, such as opening
  std::function<Result<void>()> run;      // timed
  std::function<void()> clear;            // not timed, such as unmapping
};

enum class PageCache : std::uint8_t {
  Warm,  // the trial ran once before, untimed
  Cold,  // the shards are synced and dropped from the page cache before each run
  AsIs,  // nothing is done about it
};

// Times trials on one checkpoint.
class Stopwatch {
 public:
  Stopwatch(std::filesystem::path checkpoint, unsigned repeat, bool follow_links = false)
      : checkpoint_(std::move(checkpoint)), repeat_(repeat), follow_links_(follow_links) {}

  // Seconds. Errors: those of the trial.
  Result<Spread> time(PageCache cache, const Trial& trial);

  // The same of runs that say themselves how many seconds they took.
  Result<Spread> collect(PageCache cache, unsigned count,
                         const std::function<Result<double>()>& run);

  // The largest share of the shards that stayed in the page cache when they were dropped; nothing:
  // the system does not say.
  std::optional<double> stayed_resident_max() const { return stayed_resident_max_; }

 private:
  Result<void> drop_page_cache();

  std::filesystem::path checkpoint_;
  unsigned repeat_;
  bool follow_links_;
  std::optional<double> stayed_resident_max_ = 0;
};

// What to say beside cold figures, where that share is not near 0: the kernel would not let go
// (tmpfs, or mapped by others). Empty: nothing.
std::string cold_caveat(std::optional<double> stayed_resident_max);

// Reads one byte of every page of every tensor, through the mapping, on this thread. Tensors that
// do not lie in one piece are left out.
Result<void> touch_every_page(const Checkpoint& checkpoint);

// Copies every tensor into memory of the caller's, in groups that fit into it.
class Copier {
 public:
  explicit Copier(const Checkpoint& checkpoint);  // allocates the memory and touches its pages
  Result<void> copy(const Checkpoint& checkpoint, const ExecOptions& exec);

 private:
  std::vector<std::byte> memory_;
};

// The files of the shards, each once. Shards that are decoded into memory have none.
std::vector<std::filesystem::path> shard_files(const Checkpoint& checkpoint);

// The bytes of all tensors.
std::uint64_t tensor_bytes(const Checkpoint& checkpoint);

}  // namespace cairn::tools
