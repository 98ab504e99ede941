#include "lib/edit/sums.h"

#include <algorithm>
#include <span>
#include <string>
#include <vector>

#include "lib/os/parallel.h"
#include "lib/read/sums.h"
#include "lib/try.h"

namespace cairn::internal {
namespace {

std::vector<format::Span*> spans_without_sum(format::IndexFacts& facts) {
  std::vector<format::Span*> spans;
  for (format::TensorFacts& tensor : facts.tensors) {
    if (tensor.encoding != format::Encoding::Raw) continue;
    if (tensor.slices.empty() && !tensor.span.crc32c) spans.push_back(&tensor.span);
    for (format::SliceFacts& slice : tensor.slices) {
      if (!slice.span.crc32c) spans.push_back(&slice.span);
    }
  }
  return spans;
}

}  // namespace

Result<void> add_sums(Composed& composed, const ExecOptions& exec) {
  const std::vector<format::Span*> spans = spans_without_sum(composed.facts);
  if (spans.empty()) return {};
  std::uint64_t total_bytes = 0;
  for (const format::Span* span : spans) total_bytes += span->size_bytes;
  CAIRN_CHECK(os::run_parallel(
      exec, spans.size(), total_bytes, [&](std::size_t i) -> Result<std::uint64_t> {
        format::Span& span = *spans[i];
        CAIRN_TRY(sum, crc32c_of(composed.files[span.shard], span.offset_bytes, span.size_bytes));
        span.crc32c = sum;
        return span.size_bytes;
      }));
  composed.warnings.push_back(std::to_string(spans.size()) + " tensors had no checksum; " +
                              std::to_string(total_bytes) + " bytes were read to compute them");
  return {};
}

}  // namespace cairn::internal
