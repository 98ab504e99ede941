#include "lib/edit/sums.h"

#include <algorithm>
#include <span>
#include <string>
#include <tuple>
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

// The first of the spans that are the same bytes; sorted, so that these stand together.
std::vector<std::size_t> first_of_each(std::vector<format::Span*>& spans) {
  const auto place = [](const format::Span* span) {
    return std::tuple(span->shard, span->offset_bytes, span->size_bytes);
  };
  std::ranges::sort(spans, {}, place);
  std::vector<std::size_t> firsts;
  for (std::size_t i = 0; i < spans.size(); ++i) {
    if (i == 0 || place(spans[i]) != place(spans[i - 1])) firsts.push_back(i);
  }
  return firsts;
}

}  // namespace

Result<std::string> add_sums(format::IndexFacts& facts, std::span<const os::File> files,
                             const ExecOptions& exec) {
  std::vector<format::Span*> spans = spans_without_sum(facts);
  if (spans.empty()) return std::string();
  const std::vector<std::size_t> firsts = first_of_each(spans);
  std::uint64_t total_bytes = 0;
  for (const std::size_t first : firsts) total_bytes += spans[first]->size_bytes;
  CAIRN_CHECK(os::run_parallel(
      exec, firsts.size(), total_bytes, [&](std::size_t i) -> Result<std::uint64_t> {
        const format::Span& span = *spans[firsts[i]];
        CAIRN_TRY(sum, crc32c_of(files[span.shard], span.offset_bytes, span.size_bytes));
        const std::size_t end = i + 1 < firsts.size() ? firsts[i + 1] : spans.size();
        for (std::size_t same = firsts[i]; same < end; ++same) spans[same]->crc32c = sum;
        return span.size_bytes;
      }));
  return std::to_string(spans.size()) + (spans.size() == 1 ? " tensor" : " tensors") +
         " had no checksum; " + std::to_string(total_bytes) + " bytes were read to compute them";
}

}  // namespace cairn::internal
