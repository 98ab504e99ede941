// Tensors of a foreign index that lie over each other: each byte is summed once, and every tensor
// gets the sum of its own range.

#include <doctest/doctest.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <ctime>
#include <fstream>
#include <random>
#include <set>

#include "cairn/checkpoint.h"
#include "cairn/restore.h"
#include "format/digest.h"
#include "format/facts.h"
#include "format/le.h"
#include "format/tensorflow/bundle.h"
#include "format/tensorflow/varint.h"
#include "tests/unit/scratch.h"

namespace {

std::atomic<std::uint64_t> read_bytes = 0;

}  // namespace

// Every read of a file's bytes begins here.
extern "C" ssize_t pread64(int fd, void* to, size_t size_bytes, off64_t offset_bytes) {
  read_bytes += size_bytes;
  return ::syscall(SYS_pread64, fd, to, size_bytes, offset_bytes);
}

namespace cairn {
namespace {

using test::open_checkpoint;
using test::Scratch;

constexpr const char* kShard = "p.data-00000-of-00001";

struct Range {
  std::uint64_t offset_bytes = 0;
  std::uint64_t size_bytes = 0;
};

std::string name_of(std::size_t position) { return "t" + std::to_string(1'000'000 + position); }

void write_file(const std::filesystem::path& path, std::string_view bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}

// P.index over a shard that is there: one uint8 tensor for each range, with these sums.
void write_index(const std::filesystem::path& prefix, std::span<const Range> ranges,
                 const std::vector<std::uint32_t>& sums) {
  std::vector<format::TensorFacts> tensors(ranges.size());
  for (std::size_t i = 0; i < ranges.size(); ++i) {
    tensors[i].name = name_of(i);
    tensors[i].dtype = DType::Uint8;
    tensors[i].shape = {static_cast<std::int64_t>(ranges[i].size_bytes)};
    tensors[i].span = {0, ranges[i].offset_bytes, ranges[i].size_bytes, sums[i]};
  }
  const auto index = format::tensorflow::encode_bundle({}, tensors);
  REQUIRE(index);
  write_file(prefix.string() + ".index", *index);
}

// Ranges as a forger and as a tied model would have them: at random, and at each other's edges.
std::vector<Range> random_ranges(std::uint64_t size_bytes, std::mt19937_64& random) {
  std::vector<std::uint64_t> edges{0, size_bytes, 4u << 20, (4u << 20) + 1, 8u << 20};
  for (int i = 0; i < 12; ++i) edges.push_back(random() % (size_bytes + 1));
  std::vector<Range> ranges;
  for (int i = 0; i < 120; ++i) {
    const std::uint64_t one = edges[random() % edges.size()];
    const std::uint64_t other =
        i % 3 == 0 ? random() % (size_bytes + 1) : edges[random() % edges.size()];
    const std::uint64_t from = std::min(one, other);
    const std::uint64_t to = std::max(one, other);
    ranges.push_back({from, to - from});
  }
  return ranges;
}

TEST_CASE("each of many overlapping tensors gets the sum of its own bytes, by every way") {
  constexpr std::uint64_t kSizeBytes = 9'000'000;
  const std::uint64_t seed = std::random_device()();
  CAPTURE(seed);
  std::mt19937_64 random(seed);
  const Scratch scratch;
  std::vector<std::byte> bytes = test::random_bytes(kSizeBytes, seed);
  write_file(scratch / kShard, {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  const std::vector<Range> ranges = random_ranges(kSizeBytes, random);
  std::vector<std::uint32_t> sums;
  for (const Range& range : ranges) {
    sums.push_back(format::crc32c(std::span(bytes).subspan(range.offset_bytes, range.size_bytes)));
  }
  write_index(scratch / "p", ranges, sums);
  const auto whole = open_checkpoint(scratch / "p").verify();
  REQUIRE_OK(whole);
  CHECK(whole->damage.empty());
  CHECK(whole->bytes_checked <= kSizeBytes);
  for (const IoMethod method : {IoMethod::Map, IoMethod::Populate, IoMethod::Read})
    REQUIRE_OK(restore(scratch / "p", {.method = method}));

  const std::uint64_t hurt = random() % kSizeBytes;
  test::flip_bit(scratch / kShard, hurt);
  bytes[hurt] ^= std::byte{1};
  const auto verified = open_checkpoint(scratch / "p").verify();
  REQUIRE_OK(verified);
  std::set<std::string> wanted;
  for (std::size_t i = 0; i < ranges.size(); ++i) {
    if (hurt - ranges[i].offset_bytes < ranges[i].size_bytes) wanted.insert(name_of(i));
  }
  std::set<std::pair<std::uint64_t, std::uint64_t>> hurt_ranges;
  for (const Damage& damage : verified->damage) {
    CHECK(wanted.contains(std::string(damage.tensor)));
    CHECK(damage.computed_crc32c ==
          format::crc32c(std::span(bytes).subspan(damage.offset_bytes, damage.size_bytes)));
    hurt_ranges.emplace(damage.offset_bytes, damage.size_bytes);
  }
  for (const Range& range : ranges) {
    CHECK(hurt_ranges.contains({range.offset_bytes, range.size_bytes}) ==
          (hurt - range.offset_bytes < range.size_bytes));
  }
}

// The most memory since the last call of forget_peak().
void forget_peak() { std::ofstream("/proc/self/clear_refs") << "5"; }
std::uint64_t peak_bytes() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  return static_cast<std::uint64_t>(usage.ru_maxrss) * 1024;
}

// Tensors that all but cover a shard of zeros, each a byte behind the one before.
Checkpoint overlapping(const Scratch& scratch, std::uint64_t size_bytes, std::size_t tensors) {
  write_file(scratch / kShard, "");
  std::filesystem::resize_file(scratch / kShard, size_bytes);
  std::vector<Range> ranges;
  for (std::size_t i = 0; i < tensors; ++i) ranges.push_back({i, size_bytes - tensors});
  write_index(scratch / "p", ranges, std::vector<std::uint32_t>(tensors, 1));
  return open_checkpoint(scratch / "p");
}

// A thousandfold of the index would be more than this.
TEST_CASE("overlapping tensors over a sparse shard are verified in memory bounded by the index") {
  constexpr std::uint64_t kSizeBytes = 256u << 20;
  constexpr std::size_t kTensors = 20'000;
  const Scratch scratch;
  const Checkpoint checkpoint = overlapping(scratch, kSizeBytes, kTensors);
  const std::uint64_t index_bytes = std::filesystem::file_size(scratch / "p.index");
  forget_peak();
  const std::uint64_t before = peak_bytes();
  const auto verified = checkpoint.verify();  // 5 TB, were each tensor summed by itself
  REQUIRE_OK(verified);
  CHECK(verified->damage.size() == kTensors);
  CHECK(verified->bytes_checked == kSizeBytes - 1);
  CHECK(peak_bytes() - before < 40 * index_bytes + (16u << 20));
}

// Scalars one within the other: each holds its own head, and as its one string all that follow.
struct Nested {
  std::vector<Range> ranges;
  std::vector<std::uint32_t> sums;
};

Nested write_nested(const std::filesystem::path& shard, std::uint64_t size_bytes,
                    std::size_t count) {
  constexpr std::uint64_t kHeadBytes = 8;  // of lengths that take four bytes
  std::string heads;
  std::vector<std::uint32_t> head_sums;
  for (std::size_t i = 0; i < count; ++i) {
    const std::uint64_t length = size_bytes - (i + 1) * kHeadBytes;
    format::tensorflow::append_varint(heads, length);
    const std::uint32_t lengths = format::tensorflow::feed_length(0, length, false);
    format::append_le(heads, format::crc32c_mask(lengths));
    const std::string_view sum = std::string_view(heads).substr(heads.size() - 4);
    head_sums.push_back(format::crc32c(format::as_bytes(sum), lengths));
    REQUIRE(heads.size() == (i + 1) * kHeadBytes);
  }
  write_file(shard, heads);
  std::filesystem::resize_file(shard, size_bytes);
  Nested nested{std::vector<Range>(count), std::vector<std::uint32_t>(count)};
  std::uint32_t behind = 0;  // of what follows a head
  const std::vector<std::byte> zeros(1u << 20);
  for (std::uint64_t left = size_bytes - heads.size(); left > 0;) {
    const std::uint64_t part = std::min<std::uint64_t>(left, zeros.size());
    behind = format::crc32c(std::span(zeros).first(part), behind);
    left -= part;
  }
  for (std::size_t i = count; i-- > 0;) {
    const std::uint64_t at = i * kHeadBytes;
    const std::uint64_t rest_bytes = size_bytes - at - kHeadBytes;
    nested.ranges[i] = {at, size_bytes - at};
    nested.sums[i] = format::crc32c_combine(head_sums[i], behind, rest_bytes);
    const auto head = format::as_bytes(heads).subspan(at, kHeadBytes);
    behind = format::crc32c_combine(format::crc32c(head), behind, rest_bytes);
  }
  return nested;
}

TEST_CASE(
    "each byte under overlapping string tensors is read once, in memory that the index bounds") {
  constexpr std::uint64_t kSizeBytes = 128u << 20;
  constexpr std::size_t kTensors = 2000;
  const Scratch scratch;
  const Nested nested = write_nested(scratch / kShard, kSizeBytes, kTensors);
  std::vector<format::TensorFacts> tensors(kTensors);
  for (std::size_t i = 0; i < kTensors; ++i) {
    const Range& range = nested.ranges[i];
    tensors[i].name = name_of(i);
    tensors[i].dtype = DType::String;
    tensors[i].encoding = format::Encoding::TensorFlowString;
    tensors[i].span = {0, range.offset_bytes, range.size_bytes, nested.sums[i]};
  }
  const auto index = format::tensorflow::encode_bundle({}, tensors);
  REQUIRE(index);
  write_file(scratch / "p.index", *index);
  const Checkpoint checkpoint = open_checkpoint(scratch / "p");

  forget_peak();
  const std::uint64_t before = peak_bytes();
  read_bytes = 0;
  const auto whole = checkpoint.verify();  // 268 GB, were each tensor read by itself
  REQUIRE_OK(whole);
  CHECK(whole->damage.empty());
  CHECK(whole->bytes_checked == kSizeBytes);
  CHECK(read_bytes < kSizeBytes + 100 * kTensors);  // the heads once more
  CHECK(peak_bytes() - before < 40 * index->size() + (16u << 20));

  test::flip_bit(scratch / kShard, kSizeBytes - 1);
  const auto hurt = checkpoint.verify();
  REQUIRE_OK(hurt);
  CHECK(hurt->damage.size() == kTensors);
  test::flip_bit(scratch / kShard, kSizeBytes - 1);
  test::flip_bit(scratch / kShard, 8 * 10);  // the length of one, and a byte of ten others
  const auto length = checkpoint.verify();
  REQUIRE_OK(length);
  CHECK(length->damage.size() == 11);
  CHECK(length->damage.back().tensor == name_of(10));
}

// Of the processor, which does not depend on who else uses it.
double seconds_to_verify(std::size_t tensors) {
  const Scratch scratch;
  const Checkpoint checkpoint = overlapping(scratch, 1u << 20, tensors);
  const std::clock_t before = std::clock();
  REQUIRE_OK(checkpoint.verify());
  return static_cast<double>(std::clock() - before) / CLOCKS_PER_SEC;
}

TEST_CASE("what overlapping tensors take grows with their number, not with its square") {
  const double few = seconds_to_verify(2'500);
  const double many = seconds_to_verify(20'000);
  INFO(few, " and ", many);
  CHECK(many < 20 * few + 0.5);  // 8 times; by the square 64
}

}  // namespace
}  // namespace cairn
