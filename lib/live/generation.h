#pragma once

// A checkpoint that is published, and the one word from which all readers take it.
//
// A reader that has loaded the word and not yet counted itself is the problem: the generation must
// not go between the two. std::atomic<std::shared_ptr> solves it by a lock inside of the word. Who
// is preempted while he holds it makes every reader spin until he runs again, and the one who
// publishes may have to wait for a processor: with two busy cores readers spun for up to 20 ms
// (docs/decisions/0021). So readers say that they are between the two (`entering_`), which costs
// them two atomic additions and never a wait. Who publishes does not wait for them either: the old
// generation stays, until a moment is seen in which nobody enters.

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "cairn/live.h"

namespace cairn::internal {

struct Generation {
  explicit Generation(Checkpoint its) noexcept : checkpoint(std::move(its)) {}

  // Snapshots that refer to it, and Live, which lets go of it last, unless Live itself goes.
  std::atomic<std::uint64_t> holders{1};
  std::uint64_t number = 0;
  Checkpoint checkpoint;
  std::optional<Digest128> digest;
  std::shared_ptr<void> model;  // goes before the checkpoint

  // What Live knows of it. Only Live uses this.
  std::filesystem::path prefix;    // as it was seen
  Digest128 sums;                  // digest_of_sums()
  bool has_all_sums = false;       // every tensor has a checksum
  std::vector<SeenFile> identity;  // the files that belong to its prefix
  std::vector<SeenFile> shards;    // as they were opened
  std::vector<SeenFile> opened;    // these and the index files, as far as they have names
  std::vector<std::string> warnings;
};

inline void hold(Generation* generation) noexcept {
  if (generation != nullptr) generation->holders.fetch_add(1, std::memory_order_relaxed);
}

inline void let_go(Generation* generation) noexcept {
  if (generation != nullptr && generation->holders.fetch_sub(1, std::memory_order_acq_rel) == 1)
    delete generation;
}

class CurrentGeneration {
 public:
  // Adds a holder. Any thread; never waits.
  Generation* take() noexcept {
    entering_.fetch_add(1);
    Generation* const generation = current_.load();
    hold(generation);
    entering_.fetch_sub(1);
    return generation;
  }

  // For the one thread that publishes.
  Generation* get() const noexcept { return current_.load(); }
  Generation* exchange(Generation* next) noexcept { return current_.exchange(next); }

  // If true, nobody can still take what was exchanged before this call: who loaded the word then
  // has counted himself by now.
  bool is_settled() const noexcept { return entering_.load() == 0; }

 private:
  std::atomic<Generation*> current_{nullptr};
  std::atomic<std::uint64_t> entering_{0};
};

}  // namespace cairn::internal
