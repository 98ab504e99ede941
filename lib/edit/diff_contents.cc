// Most tensors lie in one place on both sides. They are cut into windows that stay in the
// second-level cache, and small ones that are neighbours in both files share a window, so that
// 100,000 small tensors do not take 200,000 system calls. All windows of all tensors are one queue.
// What is partitioned, strided or big-endian is read in slices, each tensor by one thread.
//
// A tensor with a stored checksum is compared with it on the way: the sums of its windows are put
// together at the end. If the bytes of both sides are equal, one sum serves both.

#include "lib/edit/diff_contents.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>
#include <tuple>
#include <utility>

#include "format/checked.h"
#include "format/digest.h"
#include "lib/edit/cut.h"
#include "lib/edit/diff_values.h"
#include "lib/os/parallel.h"
#include "lib/try.h"

namespace cairn::internal {
namespace {

using format::IndexView;

constexpr std::uint64_t kRangeBytes = 1u << 20;  // where no index says how large a chunk is
constexpr std::uint64_t kGroupElements = 256;    // a multiple of every block of elements
constexpr std::size_t kSides[] = {0, 1};
static_assert(format::gguf::kBlockElementsMax == kGroupElements);

// Bytes of both tensors that belong together.
struct Window {
  std::array<std::uint64_t, 2> offset_bytes{};  // in the tensors
  std::array<std::uint32_t, 2> size_bytes{};
  std::array<std::uint32_t, 2> crc32c{};
  std::uint32_t request = 0;
  std::uint32_t element_count = 0;  // with `values`
  std::array<bool, 2> changed{};    // the chunk where it begins, and the next; with `ranges`
  bool done = false;
};

// Windows that are read together.
struct Task {
  std::size_t begin = 0;
  std::size_t end = 0;
};

// The numbers of a pair, and what they come to.
struct PairValues {
  std::array<Numbers, 2> numbers;
  ValueSums sums;
};

struct Pair {
  std::array<format::Span, 2> spans;  // of what has windows
  std::array<bool, 2> summed{};       // its checksum is compared
  std::atomic<bool> differs = false;
  std::size_t windows_begin = 0;
  std::size_t windows_end = 0;
  std::unique_ptr<PairValues> values;  // nullptr: none are asked for, or there are none
};

// Calls `visit` with the number of each chunk that holds a byte that differs.
template <class Visit>
void for_each_changed_chunk(std::uint64_t offset_bytes, std::span<const std::byte> a,
                            std::span<const std::byte> b, const Visit& visit) {
  while (!a.empty()) {
    const std::uint64_t chunk = offset_bytes / kRangeBytes;
    const std::size_t some =
        std::min<std::uint64_t>(a.size(), (chunk + 1) * kRangeBytes - offset_bytes);
    if (std::memcmp(a.data(), b.data(), some) != 0) visit(chunk);
    a = a.subspan(some);
    b = b.subspan(some);
    offset_bytes += some;
  }
}

void mark(std::vector<bool>& chunks, std::uint64_t chunk) {
  if (chunks.size() <= chunk) chunks.resize(chunk + 1);
  chunks[chunk] = true;
}

std::vector<ContentRange> joined(const std::vector<bool>& chunks, std::uint64_t chunk_bytes,
                                 std::uint64_t size_bytes) {
  std::vector<ContentRange> ranges;
  for (std::uint64_t i = 0; i < chunks.size(); ++i) {
    if (!chunks[i]) continue;
    const std::uint64_t begin = i * chunk_bytes;
    const std::uint64_t end = std::min(size_bytes, begin + chunk_bytes);
    if (!ranges.empty() && ranges.back().offset_bytes + ranges.back().size_bytes == begin)
      ranges.back().size_bytes += end - begin;
    else
      ranges.push_back({begin, end - begin});
  }
  return ranges;
}

bool is_in_one_place(const OpenCheckpoint& checkpoint, const IndexView::Tensor& tensor) noexcept {
  // Of Access::Private, the memory may be changed, and the file is checked instead: by read().
  return tensor.encoding == format::Encoding::Raw && !tensor.partitioned() && !tensor.big_endian &&
         tensor.strides.empty() && checkpoint.access() != Access::Private;
}

std::optional<format::Span> span_in_one_place(const OpenCheckpoint& checkpoint,
                                              std::size_t position) noexcept {
  if (checkpoint.access() == Access::Private) return std::nullopt;
  if (const auto span = checkpoint.index().plain_span(position)) return span;
  const IndexView::Tensor tensor = checkpoint.index().tensor(position);
  return is_in_one_place(checkpoint, tensor) ? std::optional(tensor.span) : std::nullopt;
}

// std::nullopt: there are no numbers to compare.
std::optional<std::array<Numbers, 2>> numbers_of_pair(const OpenCheckpoint& a,
                                                      const OpenCheckpoint& b,
                                                      const DiffPair& pair) {
  const auto of_a = numbers_of(a.index().tensor(pair.a));
  const auto of_b = numbers_of(b.index().tensor(pair.b));
  if (!of_a || !of_b || !is_comparable(*of_a, *of_b)) return std::nullopt;
  return std::array{*of_a, *of_b};
}

class Comparison {
 public:
  Comparison(const OpenCheckpoint& a, const OpenCheckpoint& b,
             std::span<const ContentRequest> requests, std::atomic<std::uint64_t>& read_bytes)
      : sides_{&a, &b}, requests_(requests), pairs_(requests.size()), read_bytes_(read_bytes) {}

  Result<void> run(const ExecOptions& exec, const ContentSink& sink);

 private:
  using Buffers = std::array<std::vector<std::byte>, 2>;

  void prepare();
  void cut_into_windows(std::size_t request);
  void plan_tasks();
  bool joins(const Task& task, const Window& next) const noexcept;
  std::uint64_t place(std::size_t side, const Window& window) const noexcept;

  Result<std::uint64_t> compare_task(const Task& task, Buffers& buffers);
  void compare_window(Window& window, std::span<const std::byte> a, std::span<const std::byte> b);
  Result<std::uint64_t> compare_otherwise(std::size_t request, const std::stop_token& stop);
  Result<std::uint64_t> compare_strings(std::size_t request);
  Result<std::uint64_t> compare_whole(std::size_t request);
  Result<std::uint64_t> compare_slices(std::size_t request, const std::stop_token& stop);
  Result<void> compare_sums(const Pair& pair, std::size_t of, std::size_t position) const;
  Result<ContentResult> result_of(std::size_t request);
  std::vector<bool>& chunks_of(std::size_t request) { return changed_chunks_[request]; }

  const OpenCheckpoint& side(std::size_t i) const noexcept { return *sides_[i]; }
  // Not just the first difference. If there is a checksum, the difference may be damage.
  bool wants_all(std::size_t request) const noexcept {
    const Pair& pair = pairs_[request];
    return requests_[request].ranges || pair.values != nullptr || pair.summed[0] || pair.summed[1];
  }

  std::array<const OpenCheckpoint*, 2> sides_;
  std::span<const ContentRequest> requests_;
  std::vector<Pair> pairs_;  // parallel
  std::vector<Window> windows_;
  std::vector<ValueSums> values_;                  // parallel, if any are asked for
  std::vector<std::vector<bool>> changed_chunks_;  // parallel to requests_, if ranges are asked for
  std::vector<Task> tasks_;
  std::vector<std::size_t> others_;  // requests that have no windows
  std::atomic<std::uint64_t>& read_bytes_;
};

Result<void> Comparison::run(const ExecOptions& exec, const ContentSink& sink) {
  if (requests_.empty()) return {};
  for (const OpenCheckpoint* checkpoint : sides_) {
    CAIRN_CHECK(checkpoint->ensure_has_bytes());
    CAIRN_CHECK(checkpoint->shards().ensure_not_faulted());
  }
  prepare();
  plan_tasks();
  const std::size_t count = tasks_.size() + others_.size();
  const std::size_t threads = count < 2 ? 1 : std::min<std::size_t>(os::thread_count(exec), count);
  const std::uint64_t total_bytes = bytes_to_compare(side(0), side(1), requests_);
  CAIRN_CHECK(os::run_threads(
      exec, {count, total_bytes, static_cast<unsigned>(threads)},
      [&](os::WorkQueue& queue) -> Result<void> {
        Buffers buffers;
        while (const auto next = queue.next()) {
          // The long ones first, so that no thread is alone with one at the end.
          const bool other = *next < others_.size();
          CAIRN_TRY(done_bytes, other ? compare_otherwise(others_[*next], exec.stop)
                                      : compare_task(tasks_[*next - others_.size()], buffers));
          read_bytes_.fetch_add(done_bytes, std::memory_order_relaxed);
          queue.did(done_bytes);
        }
        return {};
      }));
  for (std::size_t i = 0; i < requests_.size(); ++i) {
    CAIRN_TRY(result, result_of(i));
    sink(i, std::move(result));
  }
  return {};
}

// In the order of A's files.
void Comparison::prepare() {
  std::vector<std::size_t> order;
  for (std::size_t i = 0; i < requests_.size(); ++i) {
    Pair& pair = pairs_[i];
    const DiffPair& positions = requests_[i].pair;
    const auto numbers =
        requests_[i].values ? numbers_of_pair(side(0), side(1), positions) : std::nullopt;
    if (numbers) pair.values = std::make_unique<PairValues>(PairValues{*numbers, {}});
    const auto a = span_in_one_place(side(0), positions.a);
    const auto b = span_in_one_place(side(1), positions.b);
    if (!a || !b) {
      others_.push_back(i);
      continue;
    }
    order.push_back(i);
    pair.spans = {*a, *b};
    pair.summed = {a->crc32c.has_value() && !side(0).checks().is_checked(positions.a),
                   b->crc32c.has_value() && !side(1).checks().is_checked(positions.b)};
  }
  const auto place_of = [&](std::size_t i) {
    const format::Span& span = pairs_[i].spans[0];
    return std::tuple(span.shard, span.offset_bytes, i);
  };
  if (!std::ranges::is_sorted(order, {}, place_of)) std::ranges::sort(order, {}, place_of);
  for (const std::size_t request : order) cut_into_windows(request);
  if (std::ranges::any_of(requests_, &ContentRequest::ranges))
    changed_chunks_.resize(requests_.size());
  const auto has_values = [](const Pair& pair) { return pair.values != nullptr; };
  if (std::ranges::any_of(pairs_, has_values)) values_.resize(windows_.size());
}

void Comparison::cut_into_windows(std::size_t request) {
  Pair& pair = pairs_[request];
  pair.windows_begin = windows_.size();
  const std::array<std::uint64_t, 2> sizes = {pair.spans[0].size_bytes, pair.spans[1].size_bytes};
  std::array<std::uint64_t, 2> steps = {kCachedBlockBytes, kCachedBlockBytes};
  std::uint64_t step_elements = 0;
  if (pair.values != nullptr) {
    const auto group_bytes = [&](std::size_t i) -> std::uint64_t {
      const Numbers& numbers = pair.values->numbers[i];
      return kGroupElements / numbers.elements * numbers.bytes;
    };
    const std::uint64_t groups = kCachedBlockBytes / std::max(group_bytes(0), group_bytes(1));
    steps = {groups * group_bytes(0), groups * group_bytes(1)};
    step_elements = groups * kGroupElements;
  }
  Window window;
  window.request = static_cast<std::uint32_t>(request);
  while (window.offset_bytes[0] < sizes[0]) {
    for (const std::size_t i : kSides)
      window.size_bytes[i] =
          static_cast<std::uint32_t>(std::min(steps[i], sizes[i] - window.offset_bytes[i]));
    if (pair.values != nullptr) {
      const Numbers& numbers = pair.values->numbers[0];
      window.element_count = static_cast<std::uint32_t>(std::min(
          step_elements, std::uint64_t{window.size_bytes[0]} / numbers.bytes * numbers.elements));
    }
    windows_.push_back(window);
    for (const std::size_t i : kSides) window.offset_bytes[i] += window.size_bytes[i];
  }
  pair.windows_end = windows_.size();
}

// Where a window begins in its shard.
std::uint64_t Comparison::place(std::size_t side, const Window& window) const noexcept {
  return pairs_[window.request].spans[side].offset_bytes + window.offset_bytes[side];
}

bool Comparison::joins(const Task& task, const Window& next) const noexcept {
  const Window& first = windows_[task.begin];
  const Window& last = windows_[task.end - 1];
  for (const std::size_t i : kSides) {
    const std::uint64_t end = place(i, last) + last.size_bytes[i];
    const std::uint64_t begin = place(i, next);
    if (pairs_[first.request].spans[i].shard != pairs_[next.request].spans[i].shard) return false;
    if (begin < end || begin - end > kReadGapBytesMax) return false;
    if (begin + next.size_bytes[i] - place(i, first) > kCachedBlockBytes) return false;
  }
  return true;
}

void Comparison::plan_tasks() {
  for (std::size_t i = 0; i < windows_.size(); ++i) {
    if (!tasks_.empty() && joins(tasks_.back(), windows_[i]))
      tasks_.back().end = i + 1;
    else
      tasks_.push_back({i, i + 1});
  }
}

Result<std::uint64_t> Comparison::compare_task(const Task& task, Buffers& buffers) {
  Window& first = windows_[task.begin];
  const Window& last = windows_[task.end - 1];
  const Pair& pair = pairs_[first.request];
  const bool known = task.begin + 1 == task.end && !wants_all(first.request) &&
                     pair.differs.load(std::memory_order_relaxed);
  if (known) return 0;
  std::uint64_t done_bytes = 0;
  for (const std::size_t i : kSides) {
    const std::uint64_t begin = place(i, first);
    buffers[i].resize(kCachedBlockBytes);
    const std::span<std::byte> bytes =
        std::span(buffers[i]).first(place(i, last) + last.size_bytes[i] - begin);
    const std::uint32_t shard = pairs_[first.request].spans[i].shard;
    CAIRN_CHECK(side(i).shards().copy_out(shard, begin, bytes));
    done_bytes += bytes.size();
  }
  for (std::size_t w = task.begin; w < task.end; ++w) {
    Window& window = windows_[w];
    const auto bytes_of = [&](std::size_t i) {
      return std::span<const std::byte>(buffers[i])
          .subspan(place(i, window) - place(i, first), window.size_bytes[i]);
    };
    compare_window(window, bytes_of(0), bytes_of(1));
  }
  return done_bytes;
}

void Comparison::compare_window(Window& window, std::span<const std::byte> a,
                                std::span<const std::byte> b) {
  Pair& pair = pairs_[window.request];
  const bool equal = a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size()) == 0;
  if (!equal) pair.differs.store(true, std::memory_order_relaxed);
  if (pair.summed[0]) window.crc32c[0] = format::crc32c(a);
  if (pair.summed[1])
    window.crc32c[1] = equal && pair.summed[0] ? window.crc32c[0] : format::crc32c(b);
  const auto number = static_cast<std::size_t>(&window - windows_.data());
  if (!equal && requests_[window.request].ranges) {
    const std::uint64_t first = window.offset_bytes[0] / kRangeBytes;
    for_each_changed_chunk(window.offset_bytes[0], a, b,
                           [&](std::uint64_t chunk) { window.changed[chunk - first] = true; });
  }
  if (pair.values != nullptr) {
    const auto& numbers = pair.values->numbers;
    values_[number] =
        compare_values({numbers[0], a.data()}, {numbers[1], b.data()}, window.element_count);
  }
  window.done = true;
}

Result<std::uint64_t> Comparison::compare_otherwise(std::size_t request,
                                                    const std::stop_token& stop) {
  const IndexView::Tensor a = side(0).index().tensor(requests_[request].pair.a);
  const IndexView::Tensor b = side(1).index().tensor(requests_[request].pair.b);
  if (a.encoding == format::Encoding::TensorFlowString) return compare_strings(request);
  if (is_addressable(a) && is_addressable(b)) return compare_slices(request, stop);
  return compare_whole(request);
}

Result<std::uint64_t> Comparison::compare_strings(std::size_t request) {
  Pair& pair = pairs_[request];
  CAIRN_TRY(of_a, side(0).copy_strings(requests_[request].pair.a));
  CAIRN_TRY(of_b, side(1).copy_strings(requests_[request].pair.b));
  pair.differs = of_a.values != of_b.values;
  return bytes_to_compare(side(0), side(1), requests_.subspan(request, 1));
}

// Variants, and elements that have no bytes of their own: what can be read only as a whole.
Result<std::uint64_t> Comparison::compare_whole(std::size_t request) {
  Pair& pair = pairs_[request];
  const std::array<std::size_t, 2> positions = {requests_[request].pair.a,
                                                requests_[request].pair.b};
  Buffers bytes;
  for (const std::size_t i : kSides) {
    CAIRN_TRY(size_bytes, side(i).read_bytes(positions[i], {}));
    bytes[i].resize(size_bytes);
    CAIRN_CHECK(side(i).read(positions[i], bytes[i], {}));
  }
  pair.differs = bytes[0] != bytes[1];
  const bool raw = side(0).index().tensor(positions[0]).encoding == format::Encoding::Raw;
  if (requests_[request].ranges && raw && bytes[0].size() == bytes[1].size()) {
    for_each_changed_chunk(0, bytes[0], bytes[1],
                           [&](std::uint64_t chunk) { mark(chunks_of(request), chunk); });
  }
  if (pair.values != nullptr) {
    const auto& numbers = pair.values->numbers;
    pair.values->sums = compare_values({numbers[0], bytes[0].data()}, {numbers[1], bytes[1].data()},
                                       bytes[0].size() / numbers[0].bytes * numbers[0].elements);
  }
  return bytes[0].size() + bytes[1].size();
}

Result<std::uint64_t> Comparison::compare_slices(std::size_t request, const std::stop_token& stop) {
  Pair& pair = pairs_[request];
  const DiffPair& positions = requests_[request].pair;
  const IndexView::Tensor a = side(0).index().tensor(positions.a);
  const IndexView::Tensor b = side(1).index().tensor(positions.b);
  const std::array<std::uint64_t, 2> widths = {a.element_bits / 8u, b.element_bits / 8u};
  const std::uint64_t count = format::element_count(a.shape).value_or(0);
  if (count == 0) return 0;
  Cut cut(a.shape, count, kCachedBlockBytes / std::max(widths[0], widths[1]));
  Buffers bytes;
  std::uint64_t done_elements = 0;
  do {
    CAIRN_CHECK(os::unless_stopped(stop));
    const std::uint64_t elements = cut.slice_elements();
    for (const std::size_t i : kSides) bytes[i].resize(elements * widths[i]);
    CAIRN_CHECK(side(0).read(positions.a, bytes[0], cut.slice()));
    CAIRN_CHECK(side(1).read(positions.b, bytes[1], cut.slice()));
    if (bytes[0] != bytes[1]) pair.differs = true;
    if (requests_[request].ranges) {
      for_each_changed_chunk(done_elements * widths[0], bytes[0], bytes[1],
                             [&](std::uint64_t chunk) { mark(chunks_of(request), chunk); });
    }
    if (pair.values != nullptr) {
      const auto& numbers = pair.values->numbers;
      pair.values->sums.add(
          compare_values({numbers[0], bytes[0].data()}, {numbers[1], bytes[1].data()}, elements));
    }
    done_elements += elements;
  } while ((wants_all(request) || !pair.differs) && cut.next());
  return done_elements * (widths[0] + widths[1]);
}

// The windows were read whole.
Result<void> Comparison::compare_sums(const Pair& pair, std::size_t of,
                                      std::size_t position) const {
  if (!pair.summed[of]) return {};
  std::uint32_t crc = 0;
  for (std::size_t w = pair.windows_begin; w < pair.windows_end; ++w) {
    if (!windows_[w].done) return {};
    crc = format::crc32c_combine(crc, windows_[w].crc32c[of], windows_[w].size_bytes[of]);
  }
  const format::Span& span = pair.spans[of];
  if (crc == *span.crc32c) return {};
  return side(of).damaged(position, span, crc);
}

Result<ContentResult> Comparison::result_of(std::size_t request) {
  Pair& pair = pairs_[request];
  const DiffPair& positions = requests_[request].pair;
  CAIRN_CHECK(compare_sums(pair, 0, positions.a));
  CAIRN_CHECK(compare_sums(pair, 1, positions.b));
  ContentResult result{pair.differs.load()};
  for (std::size_t w = pair.windows_begin; w < pair.windows_end; ++w) {
    if (pair.values != nullptr) pair.values->sums.add(values_[w]);
    const std::uint64_t chunk = windows_[w].offset_bytes[0] / kRangeBytes;
    for (const std::size_t i : kSides)
      if (windows_[w].changed[i]) mark(chunks_of(request), chunk + i);
  }
  if (!requests_[request].ranges && pair.values == nullptr) return result;
  const IndexView::Tensor a = side(0).index().tensor(positions.a);
  if (requests_[request].ranges)
    result.ranges = joined(chunks_of(request), kRangeBytes, a.size_bytes);
  if (pair.values != nullptr) {
    result.values = difference_of(pair.values->sums, format::element_count(a.shape).value_or(0));
  }
  return result;
}

}  // namespace

bool has_values(const OpenCheckpoint& a, const OpenCheckpoint& b, const DiffPair& pair) {
  const bool same_shape =
      std::ranges::equal(a.index().tensor_shape(pair.a), b.index().tensor_shape(pair.b));
  return same_shape && numbers_of_pair(a, b, pair).has_value();
}

std::uint64_t bytes_to_compare(const OpenCheckpoint& a, const OpenCheckpoint& b,
                               std::span<const ContentRequest> requests) {
  std::uint64_t total_bytes = 0;
  for (const ContentRequest& request : requests) {
    total_bytes +=
        a.index().tensor_size_bytes(request.pair.a) + b.index().tensor_size_bytes(request.pair.b);
  }
  return total_bytes;
}

Result<void> compare_contents(const OpenCheckpoint& a, const OpenCheckpoint& b,
                              std::span<const ContentRequest> requests, const ExecOptions& exec,
                              std::atomic<std::uint64_t>& read_bytes, const ContentSink& sink) {
  return Comparison(a, b, requests, read_bytes).run(exec, sink);
}

std::optional<std::vector<ContentRange>> ranges_by_sums(const OpenCheckpoint& a,
                                                        const OpenCheckpoint& b,
                                                        const DiffPair& pair) {
  const IndexView::Tensor of_a = a.index().tensor(pair.a);
  const IndexView::Tensor of_b = b.index().tensor(pair.b);
  const std::uint64_t chunk_bytes = a.index().chunk_bytes();
  if (!is_in_one_place(a, of_a) || !is_in_one_place(b, of_b)) return std::nullopt;
  const bool one_chunk = of_a.size_bytes <= chunk_bytes && of_b.size_bytes <= chunk_bytes;
  if (one_chunk) return std::vector<ContentRange>{{0, of_a.size_bytes}};
  const bool known = chunk_bytes == b.index().chunk_bytes() && !of_a.chunk_crc32cs.empty() &&
                     of_a.chunk_crc32cs.size() == of_b.chunk_crc32cs.size();
  if (!known) return std::nullopt;
  std::vector<bool> chunks(of_a.chunk_crc32cs.size());
  for (std::size_t i = 0; i < chunks.size(); ++i)
    chunks[i] = of_a.chunk_crc32cs[i] != of_b.chunk_crc32cs[i];
  auto ranges = joined(chunks, chunk_bytes, of_a.size_bytes);
  // All sums are equal, and the contents are not: only the bytes tell.
  if (ranges.empty()) return std::nullopt;
  return ranges;
}

}  // namespace cairn::internal
