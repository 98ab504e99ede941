#pragma once

// What the Saver writes into P.cairn's metadata beside the caller's own: when a checkpoint was
// saved, its metrics, whether it is pinned, and where TensorFlow's keep-grid stands. With it a
// Saver that knows nothing goes on where another one ended. FORMAT.md, section 9.

#include <cstdint>
#include <functional>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "cairn/error.h"
#include "format/facts.h"
#include "lib/open/load.h"
#include "lib/write/layout.h"
#include "lib/write/lock.h"

namespace cairn::internal {

// Keys that begin so are ours.

// A point of the grid, and the hours between two: with other hours it is another grid.
struct KeepGrid {
  double hours = 0;
  double next_keep_s = 0;
};

struct SaverMetadata {
  std::optional<double> saved_s;
  std::vector<std::pair<std::string, double>> metrics;
  bool pinned = false;
  std::optional<KeepGrid> grid;
  std::uint64_t saves_since_full = 0;  // 0: it is one, and shares no shard
};

SaverMetadata saver_metadata(const format::IndexView& index);

// As metadata, unsorted.
format::KeyValues metadata_of(const SaverMetadata& metadata);

// Replaces the marks in the P.cairn of a checkpoint, durably, unless `change`, which is asked under
// the prefix's lock, says that they stay; everything else in it stays. NotFound: by then there is
// no P.cairn, or P.index has overtaken it.
Result<void> change_saver_metadata(const Location& location, const LockWait& wait,
                                   const std::function<bool(SaverMetadata&)>& change);

}  // namespace cairn::internal
