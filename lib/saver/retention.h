#pragma once

// Which checkpoints stay: rules over facts, without a file or a clock.

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "cairn/saver.h"

namespace cairn::internal {

// What retention knows of a checkpoint that the catalog lists.
struct CheckpointFacts {
  double saved_s = 0;  // since the epoch
  std::optional<std::int64_t> step;
  std::vector<std::pair<std::string, double>> metrics;
  bool pinned = false;
  std::string unread;  // why nobody knows whether it is pinned; empty: it is known
};

// What TensorFlow's algorithms remember between saves.
struct KeepState {
  double next_keep_s = 0;       // the Saver's: the next point of its grid
  double last_preserved_s = 0;  // the Manager's: when the last preserved checkpoint was saved

  bool operator==(const KeepState&) const = default;
};

enum class Retained : std::uint8_t {
  Listed,     // stays, and stays in the catalog
  Preserved,  // leaves the catalog; its files stay (TensorFlow's algorithms; another catalog lists
              // it)
  Deleted,
};

struct Decision {
  Retained retained{};
  std::string why;  // parts of a sentence: "pinned; one of the newest 5"
};

struct RetentionResult {
  std::vector<Decision> of;  // parallel to what was asked about
  KeepState grid;            // as it is from now on
  // What becomes of a pinned one, and of what else the rules let go of and must not go.
  Retained protected_as = Retained::Listed;
};

// How many may go: what TensorFlow's Saver lets go of in one save, or all that are too many.
enum class RemovalLimit : std::uint8_t { Save, Prune };

// The rule of this kind; nullptr: there is none.
const Retention* rule_of(std::span<const Retention> rules, Retention::Rule kind) noexcept;

// Whether the rules make sense together. Invalid: one of TensorFlow's beside another rule, rules
// that keep nothing for counts of 0, every 0 steps, negative or unordered hours, a metric without a
// name.
Result<void> check_rules(std::span<const Retention> rules);

// The grid of TensorFlow's algorithms as they start it, in a directory that has none.
KeepState first_grid(std::span<const Retention> rules, double now_s);

// `rules`: checked. `listed`: oldest first; the last one is the latest, which always stays.
RetentionResult apply_retention(std::span<const Retention> rules,
                                std::span<const CheckpointFacts> listed, const KeepState& grid,
                                RemovalLimit pace);

}  // namespace cairn::internal
