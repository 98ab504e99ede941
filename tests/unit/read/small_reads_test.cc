// Many small tensors at once: the bytes and the errors of the general plan, in fewer calls.

#include <doctest/doctest.h>

#include <algorithm>
#include <random>

#include "cairn/checkpoint.h"
#include "tests/unit/io_counts.h"
#include "tests/unit/scratch.h"

namespace cairn {
namespace {

using test::Content;
using test::flip_bit;
using test::io_counts;
using test::open_checkpoint;
using test::raw;
using test::refusal;
using test::Scratch;
using test::tensor_of;
using test::write_checkpoint;

constexpr const char* kShard = "p.data-00000-of-00001";

std::string numbered(int number) {
  const std::string digits = std::to_string(number);
  return "t" + std::string(5 - digits.size(), '0') + digits;
}

// Names in the order of the file.
std::vector<Content> contents_of(std::span<const std::int64_t> sizes) {
  std::vector<Content> contents;
  for (const std::int64_t size : sizes)
    contents.push_back(raw(numbered(static_cast<int>(contents.size())), DType::Uint8, {size}));
  return contents;
}

// The numbers of contents with memory for their bytes.
struct Requests {
  Requests(const std::vector<Content>& contents, const std::vector<std::size_t>& numbers) {
    for (const std::size_t number : numbers) out.emplace_back(contents[number].bytes.size());
    for (std::size_t i = 0; i < numbers.size(); ++i)
      reads.push_back({contents[numbers[i]].spec.name, {}, out[i]});
  }
  std::vector<std::vector<std::byte>> out;
  std::vector<Read> reads;
};

TEST_CASE("any choice of small tensors gives their bytes, in and out of order, once and twice") {
  const std::uint64_t seed = std::random_device()();
  INFO("seed ", seed);
  std::mt19937_64 random(seed);
  std::vector<std::int64_t> sizes;
  for (int i = 0; i < 600; ++i) {
    const std::uint64_t most = i % 50 == 0 ? 70'000 : i % 3 == 0 ? 9'000 : 300;
    sizes.push_back(static_cast<std::int64_t>(random() % most));
  }
  const Scratch scratch;
  const auto contents = contents_of(sizes);
  write_checkpoint(scratch / "p", contents);
  for (int round = 0; round < 60; ++round) {
    OpenOptions options;
    options.verify = round % 3 == 0 ? Verify::None : Verify::Lazy;
    const auto checkpoint = open_checkpoint(scratch / "p", options);
    std::vector<std::size_t> numbers;
    const std::uint64_t one_in = 1 + random() % 8;
    for (std::size_t i = 0; i < contents.size(); ++i)
      if (random() % one_in == 0) numbers.push_back(i);
    if (numbers.empty()) continue;
    if (round % 4 == 1) std::ranges::shuffle(numbers, random);
    if (round % 4 == 2) numbers.insert(numbers.begin(), numbers.front());
    Requests requests(contents, numbers);
    ExecOptions exec;
    exec.threads_max = 1 + static_cast<unsigned>(random() % 3);
    Progress last;
    exec.progress = [&](const Progress& progress) { last = progress; };
    const unsigned ranks = 1 + static_cast<unsigned>(random() % 3);
    const ReaderPartition partition{static_cast<unsigned>(random() % ranks), ranks};
    REQUIRE_OK(checkpoint.read(requests.reads, exec, partition));
    CHECK(last.done_bytes == last.total_bytes);
    for (std::size_t i = 0; i < numbers.size(); ++i)
      REQUIRE(requests.out[i] == contents[numbers[i]].bytes);
  }
}

TEST_CASE("one small tensor is one read of the file, and asks the system nothing else") {
  const Scratch scratch;
  const auto contents = contents_of(std::vector<std::int64_t>{100, 200, 300});
  write_checkpoint(scratch / "p", contents);
  const auto checkpoint = open_checkpoint(scratch / "p");
  Requests requests(contents, {1});
  const std::uint64_t begin = io_counts().calls;
  const std::uint64_t of_counting = io_counts().calls - begin;
  const std::uint64_t before = io_counts().calls;
  REQUIRE_OK(checkpoint.read(requests.reads));
  const std::uint64_t calls = io_counts().calls - before;
  CHECK(requests.out[0] == contents[1].bytes);
  if (calls != 0) CHECK(calls == of_counting + 1);
}

TEST_CASE("the progress counts what is read, with the gaps, and never more than its total") {
  const Scratch scratch;
  const auto contents = contents_of(std::vector<std::int64_t>{100, 100, 100});
  write_checkpoint(scratch / "p", contents);
  const auto checkpoint = open_checkpoint(scratch / "p");
  const std::uint64_t begin = tensor_of(checkpoint, "t00000").offset_bytes();
  const std::uint64_t end = tensor_of(checkpoint, "t00002").offset_bytes() + 100;
  REQUIRE(end - begin >= 300);
  Requests requests(contents, {0, 2});
  Progress last;
  ExecOptions exec;
  exec.progress = [&](const Progress& progress) { last = progress; };
  REQUIRE_OK(checkpoint.read(requests.reads, exec));
  CHECK(last.total_bytes == end - begin);
  CHECK(last.done_bytes == end - begin);
}

TEST_CASE("of several damaged tensors the first is named, and the sound ones can be had") {
  const Scratch scratch;
  const auto contents = contents_of(std::vector<std::int64_t>(3000, 1000));
  write_checkpoint(scratch / "p", contents);
  for (const int damaged : {2900, 700, 1500}) {
    const std::uint64_t begin =
        tensor_of(open_checkpoint(scratch / "p"), numbered(damaged)).offset_bytes();
    flip_bit(scratch / kShard, begin + 999);
  }
  std::vector<std::size_t> all;
  std::vector<std::size_t> sound;
  for (std::size_t i = 0; i < contents.size(); ++i) {
    all.push_back(i);
    if (i != 700 && i != 1500 && i != 2900) sound.push_back(i);
  }
  for (int round = 0; round < 5; ++round) {
    const auto checkpoint = open_checkpoint(scratch / "p");
    Requests requests(contents, all);
    CHECK(refusal(checkpoint.read(requests.reads), {"\"t00700\" is damaged", kShard}) ==
          Code::Corrupt);
    Requests rest(contents, sound);
    REQUIRE_OK(checkpoint.read(rest.reads));
    for (std::size_t i = 0; i < sound.size(); ++i) REQUIRE(rest.out[i] == contents[sound[i]].bytes);
    CHECK(refusal(checkpoint.read(requests.reads), {"\"t00700\" is damaged"}) == Code::Corrupt);
  }
}

TEST_CASE("a tensor that was read is checked; a wrong request moves no byte") {
  const Scratch scratch;
  const auto contents = contents_of(std::vector<std::int64_t>{100, 200, 300});
  write_checkpoint(scratch / "p", contents);
  const auto checkpoint = open_checkpoint(scratch / "p");
  Requests requests(contents, {0, 1, 2});
  auto wrong = requests.reads;
  wrong[2].out = wrong[2].out.first(299);
  CHECK(refusal(checkpoint.read(wrong), {"300", "299"}) == Code::Invalid);
  wrong[2] = {"t00009", {}, requests.out[2]};
  CHECK(refusal(checkpoint.read(wrong), {"t00009"}) == Code::NotFound);
  CHECK(requests.out[0] == std::vector<std::byte>(100));
  REQUIRE_OK(checkpoint.read(requests.reads));
  // Damage that comes later is not looked for again.
  flip_bit(scratch / kShard, tensor_of(checkpoint, "t00001").offset_bytes());
  CHECK(checkpoint.read(requests.reads));
  CHECK(requests.out[1] != contents[1].bytes);
}

TEST_CASE("a stop between two blocks ends it") {
  const Scratch scratch;
  const auto contents = contents_of(std::vector<std::int64_t>(200, 60'000));
  write_checkpoint(scratch / "p", contents);
  const auto checkpoint = open_checkpoint(scratch / "p");
  std::vector<std::size_t> all(contents.size());
  for (std::size_t i = 0; i < all.size(); ++i) all[i] = i;
  Requests requests(contents, all);
  std::stop_source source;
  source.request_stop();
  ExecOptions exec;
  exec.stop = source.get_token();
  CHECK(refusal(checkpoint.read(requests.reads, exec), {"cancelled"}) == Code::Cancelled);
}

}  // namespace
}  // namespace cairn
