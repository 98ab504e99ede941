#include "lib/edit/sums.h"

#include <algorithm>
#include <span>
#include <string>
#include <vector>

#include "format/digest.h"
#include "lib/os/parallel.h"
#include "lib/try.h"

namespace cairn::internal {
namespace {

constexpr std::uint64_t kBlockBytes = 1u << 20;

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

Result<std::uint32_t> sum_of(const os::File& file, const format::Span& span) {
  std::vector<std::byte> block(std::min(kBlockBytes, span.size_bytes));
  std::uint32_t crc = 0;
  for (std::uint64_t done = 0; done < span.size_bytes; done += block.size()) {
    block.resize(std::min<std::uint64_t>(block.size(), span.size_bytes - done));
    CAIRN_CHECK(file.read_at(span.offset_bytes + done, block));
    crc = format::crc32c(block, crc);
  }
  return crc;
}

}  // namespace

Result<void> add_sums(Composed& composed, const ExecOptions& exec) {
  const std::vector<format::Span*> spans = spans_without_sum(composed.facts);
  if (spans.empty()) return {};
  std::uint64_t total_bytes = 0;
  for (const format::Span* span : spans) total_bytes += span->size_bytes;
  CAIRN_CHECK(os::run_parallel(exec, spans.size(), total_bytes,
                               [&](std::size_t i) -> Result<std::uint64_t> {
                                 format::Span& span = *spans[i];
                                 CAIRN_TRY(sum, sum_of(composed.files[span.shard], span));
                                 span.crc32c = sum;
                                 return span.size_bytes;
                               }));
  composed.warnings.push_back(std::to_string(spans.size()) + " tensors had no checksum; " +
                              std::to_string(total_bytes) + " bytes were read to compute them");
  return {};
}

}  // namespace cairn::internal
