// Many reads at once: the same bytes as one by one, in fewer system calls, checked as lazily.

#include <doctest/doctest.h>

#include <random>

#include "cairn/checkpoint.h"
#include "tests/unit/golden.h"
#include "tests/unit/io_counts.h"
#include "tests/unit/scratch.h"

namespace cairn {
namespace {

using test::Content;
using test::flip_bit;
using test::golden;
using test::io_counts;
using test::IoCounts;
using test::open_checkpoint;
using test::raw;
using test::refusal;
using test::Scratch;
using test::tensor_of;
using test::write_checkpoint;

constexpr Access kAccesses[]{Access::Shared, Access::Private, Access::Copy};
constexpr const char* kShard = "p.data-00000-of-00001";

template <class Do>
IoCounts counted(Do body) {
  const IoCounts before = io_counts();
  body();
  const IoCounts after = io_counts();
  return {after.bytes - before.bytes, after.calls - before.calls};
}

OpenOptions options_of(Access access, Verify verify) {
  OpenOptions options;
  options.access = access;
  options.verify = verify;
  return options;
}

// A request with memory of its own, and what read() gives for it.
struct Request {
  std::string name;
  std::vector<Range> slice;
  std::vector<std::byte> out;
  std::vector<std::byte> wanted;
};

std::vector<Range> random_slice(std::span<const std::int64_t> shape, std::mt19937_64& random) {
  std::vector<Range> slice;
  for (const std::int64_t dimension : shape) {
    const auto start =
        static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(dimension + 1));
    const auto count =
        static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(dimension - start + 1));
    slice.push_back({start, random() % 4 == 0 ? -1 : count});
  }
  return slice;
}

std::vector<Request> random_requests(const Checkpoint& checkpoint, std::mt19937_64& random) {
  std::vector<Request> requests;
  const std::size_t count = 1 + random() % 12;
  while (requests.size() < count) {
    const Tensor tensor = checkpoint.tensor_at(random() % checkpoint.tensor_count());
    Request request{std::string(tensor.name()), {}, {}, {}};
    if (random() % 2 == 0) request.slice = random_slice(tensor.shape(), random);
    const auto size_bytes = tensor.read_bytes(request.slice);
    if (!size_bytes) continue;  // strings, in part
    request.wanted.resize(*size_bytes);
    if (!tensor.read(request.wanted, request.slice)) continue;
    request.out.resize(*size_bytes);
    requests.push_back(std::move(request));
  }
  return requests;
}

std::vector<Read> reads_of(std::vector<Request>& requests) {
  std::vector<Read> reads;
  for (Request& request : requests) reads.push_back({request.name, request.slice, request.out});
  return reads;
}

TEST_CASE("a plan gives the bytes that each request gives by itself, whatever is asked together") {
  const Scratch scratch;
  write_checkpoint(
      scratch / "p",
      {raw("big", DType::Float32, {700, 1500}), raw("cube", DType::Int16, {30, 40, 50}),
       raw("empty", DType::Float32, {0, 4}), raw("long", DType::Uint8, {5'000'001}),
       raw("odd", DType::Uint8, {1'000'003}), raw("scalar", DType::Int32, {}),
       raw("small", DType::Int8, {3}), raw("thin", DType::Float64, {90'000, 2})});
  const std::uint64_t seed = std::random_device()();
  INFO("seed ", seed);
  std::mt19937_64 random(seed);
  const std::filesystem::path paths[]{scratch / "p", golden("tensorflow/shapes/all"),
                                      golden("tensorflow/partitioned/part"),
                                      golden("tensorflow/dtypes/all")};
  for (int round = 0; round < 120; ++round) {
    const auto& path = paths[random() % std::size(paths)];
    const auto verify = random() % 2 == 0 ? Verify::Lazy : Verify::None;
    auto requests = random_requests(open_checkpoint(path), random);
    const auto checkpoint = open_checkpoint(path, options_of(kAccesses[random() % 3], verify));
    const unsigned ranks = 1 + static_cast<unsigned>(random() % 3);
    ExecOptions exec;
    exec.threads_max = 1 + static_cast<unsigned>(random() % 4);
    const auto reads = reads_of(requests);
    REQUIRE_OK(checkpoint.read(reads, exec, {static_cast<unsigned>(random() % ranks), ranks}));
    for (const Request& request : requests) {
      INFO(request.name);
      CHECK(request.out == request.wanted);
    }
  }
}

TEST_CASE("small tensors that lie together come in few reads") {
  const Scratch scratch;
  std::vector<Content> contents;
  for (int i = 0; i < 5000; ++i)
    contents.push_back(raw("t" + std::to_string(i), DType::Uint8, {256}));
  write_checkpoint(scratch / "p", contents);
  const auto checkpoint = open_checkpoint(scratch / "p");
  std::vector<std::vector<std::byte>> out(contents.size(), std::vector<std::byte>(256));
  std::vector<Read> reads;
  for (std::size_t i = 0; i < out.size(); ++i) reads.push_back({contents[i].spec.name, {}, out[i]});
  const IoCounts counts = counted([&] { REQUIRE_OK(checkpoint.read(reads)); });
  for (std::size_t i = 0; i < out.size(); ++i) REQUIRE(out[i] == contents[i].bytes);
  CHECK(counts.calls < 60);  // 1.28 MB in blocks of 256 KiB, and what asking costs
}

TEST_CASE("what several ask for is read once, and checking it reads nothing again") {
  const Scratch scratch;
  const Content content = raw("w", DType::Uint8, {1000, 8192});
  write_checkpoint(scratch / "p", {content});
  const auto checkpoint = open_checkpoint(scratch / "p");
  std::vector<std::byte> whole(8'192'000);
  std::vector<std::byte> again(8'192'000);
  std::vector<std::byte> rows(500 * 8192);
  const Range upper_rows[]{{500, 500}, {}};
  const Read reads[]{{"w", {}, whole}, {"w", upper_rows, rows}, {"w", {}, again}};
  const IoCounts counts = counted([&] { REQUIRE_OK(checkpoint.read(reads)); });
  CHECK(whole == content.bytes);
  CHECK(again == content.bytes);
  CHECK(std::ranges::equal(rows, std::span(content.bytes).subspan(500 * 8192)));
  CHECK(counts.bytes < 8'192'000 + 100'000);
  if (counts.bytes != 0) CHECK(counts.bytes >= 8'192'000);
}

TEST_CASE("a slice reads the chunks that it touches, and finds damage in these alone") {
  const Scratch scratch;
  const Content content = raw("w", DType::Uint8, {4000, 4096});
  write_checkpoint(scratch / "p", {content});
  const std::uint64_t begin = tensor_of(open_checkpoint(scratch / "p"), "w").offset_bytes();
  flip_bit(scratch / kShard, begin + 10'000'000);
  const auto checkpoint = open_checkpoint(scratch / "p");
  std::vector<std::byte> out(100 * 4096);
  const Range first_rows[]{{0, 100}, {}};
  const Range damaged_rows[]{{2400, 100}, {}};
  const Read good[]{{"w", first_rows, out}};
  const IoCounts counts = counted([&] { REQUIRE_OK(checkpoint.read(good)); });
  CHECK(counts.bytes < 2'200'000);
  CHECK(std::ranges::equal(out, std::span(content.bytes).first(out.size())));
  const Read bad[]{{"w", first_rows, std::span(out).first(out.size())}, {"w", damaged_rows, out}};
  CHECK(refusal(checkpoint.read(bad), {"\"w\" is damaged", kShard}) == Code::Corrupt);
}

TEST_CASE("a plan says what is wrong with a request before a byte moves") {
  const Scratch scratch;
  write_checkpoint(scratch / "p", {raw("a", DType::Uint8, {100}), raw("b", DType::Uint8, {100})});
  const auto checkpoint = open_checkpoint(scratch / "p");
  std::vector<std::byte> out(100);
  const Range outside[]{{90, 20}};
  const Read missing[]{{"a", {}, out}, {"c", {}, out}};
  const Read short_out[]{{"a", {}, out}, {"b", {}, std::span(out).first(99)}};
  const Read beyond[]{{"a", {}, out}, {"b", outside, std::span(out).first(20)}};
  CHECK(refusal(checkpoint.read(missing), {"\"c\""}) == Code::NotFound);
  CHECK(refusal(checkpoint.read(short_out), {"\"b\"", "100", "99"}) == Code::Invalid);
  CHECK(refusal(checkpoint.read(beyond), {"\"b\""}) == Code::Invalid);
  CHECK(out == std::vector<std::byte>(100));
  const Read good[]{{"a", {}, out}};
  CHECK(refusal(checkpoint.read(good, {}, {2, 2}), {"2 of 2"}) == Code::Invalid);
}

TEST_CASE("the progress of a plan ends at its total") {
  const Scratch scratch;
  write_checkpoint(scratch / "p",
                   {raw("a", DType::Uint8, {9'000'000}), test::text("s", {2}, {"x", "yz"})});
  const auto checkpoint = open_checkpoint(scratch / "p");
  std::vector<std::byte> a(9'000'000);
  std::vector<std::byte> s(tensor_of(checkpoint, "s").size_bytes());
  const Read reads[]{{"a", {}, a}, {"s", {}, s}};
  Progress last;
  ExecOptions exec;
  exec.progress = [&](const Progress& progress) {
    CHECK(progress.done_bytes >= last.done_bytes);
    last = progress;
  };
  REQUIRE_OK(checkpoint.read(reads, exec));
  CHECK(last.done_bytes == a.size() + s.size());
  CHECK(last.total_bytes == a.size() + s.size());
}

}  // namespace
}  // namespace cairn
