#pragma once

// Comparing tensors by their bytes: both are read, in windows, on all cores.

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "cairn/diff.h"
#include "cairn/exec_options.h"
#include "lib/edit/diff_indexes.h"
#include "lib/read/open_checkpoint.h"

namespace cairn::internal {

// Whether two tensors have numbers that can be compared, element by element.
bool has_values(const OpenCheckpoint& a, const OpenCheckpoint& b, const DiffPair& pair);

// Two tensors of one dtype and shape; or of which has_values() is true, with
// `values`.
struct ContentRequest {
  DiffPair pair;
  bool ranges = false;
  bool values = false;
};

struct ContentResult {
  bool differs = false;
  std::vector<ContentRange> ranges = {};
  std::optional<ValueDifference> values = {};
};

// How many bytes compare_contents() reads at most.
std::uint64_t bytes_to_compare(const OpenCheckpoint& a, const OpenCheckpoint& b,
                               std::span<const ContentRequest> requests);

// Takes the answer to requests[i].
using ContentSink = std::function<void(std::size_t i, ContentResult result)>;

// Gives `sink` the answers, in the order of the requests, when all are there. A pair without
// `ranges`, `values` and checksums is read up to the first difference; checksums are compared.
// `read_bytes` grows by what was read. Errors: Corrupt (damage), Io, Cancelled; Unsupported
// (index_only). Memory: two blocks of kCachedBlockBytes for each thread, and less than 200 bytes
// for each tensor and for each block; strings and variants as a whole.
Result<void> compare_contents(const OpenCheckpoint& a, const OpenCheckpoint& b,
                              std::span<const ContentRequest> requests, const ExecOptions& exec,
                              std::atomic<std::uint64_t>& read_bytes, const ContentSink& sink);

// Where the chunk sums of both indexes differ; std::nullopt: they do not tell.
std::optional<std::vector<ContentRange>> ranges_by_sums(const OpenCheckpoint& a,
                                                        const OpenCheckpoint& b,
                                                        const DiffPair& pair);

}  // namespace cairn::internal
