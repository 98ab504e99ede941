// How tensors in memory are cut into calls, and what comes of it.

#include "lib/write/batch.h"

#include <doctest/doctest.h>
#include <signal.h>
#include <sys/resource.h>

#include <array>
#include <random>

#include "format/digest.h"
#include "tests/unit/golden.h"
#include "tests/unit/scratch.h"

namespace cairn::internal {
namespace {

using test::Content;
using test::open_checkpoint;
using test::raw;
using test::refusal;
using test::Scratch;

// Loads of these sizes, side by side from `offset_bytes` on. Nothing looks at their bytes.
struct Row {
  Layout layout;
  std::vector<TensorWrite> writes;
};

Row row_of(std::uint64_t offset_bytes, const std::vector<std::uint64_t>& sizes) {
  static const std::vector<std::byte> memory(32u << 20);
  Row row;
  for (const std::uint64_t size_bytes : sizes) {
    PlannedTensor plan;
    plan.offset_bytes = offset_bytes;
    plan.size_bytes = size_bytes;
    row.writes.push_back({row.layout.tensors.size(), std::span(memory).first(size_bytes), {}});
    row.layout.tensors.push_back(plan);
    offset_bytes += size_bytes;
  }
  return row;
}

// Every byte of every load once and in order, every load summed in one block.
void check_covers(const Row& row, const std::vector<Block>& blocks) {
  std::uint64_t at = row.writes.empty() ? 0 : row.layout.tensors[0].offset_bytes;
  std::size_t begun = 0;
  for (const Block& block : blocks) {
    CHECK(block.offset_bytes == at);
    const PlannedTensor& first = row.layout.tensors[row.writes[block.first].tensor];
    CHECK(first.offset_bytes + block.skip_bytes == at);
    if (block.ends != block.begins) CHECK(block.begins == begun);
    begun = std::max(begun, block.ends);
    at += block.size_bytes;
    CHECK((block.size_bytes == 0 ||
           block.offset_bytes / kWriteBlockBytes == (at - 1) / kWriteBlockBytes));
  }
  CHECK(begun == row.writes.size());
  if (!row.writes.empty()) {
    const PlannedTensor& last = row.layout.tensors.back();
    CHECK(at == last.offset_bytes + last.size_bytes);
  }
}

TEST_CASE("blocks end at multiples of 4 MiB of the file, whatever tensors lie there") {
  constexpr std::uint64_t kMiB = 1u << 20;
  const auto row = row_of(4096, {0, 3 * kMiB, 3 * kMiB, 9 * kMiB, 100, 0});
  const auto blocks = cut_into_blocks(row.layout, row.writes);
  check_covers(row, blocks);
  CHECK(blocks.size() == 4);
  CHECK(blocks[1].offset_bytes == 4 * kMiB);
  CHECK(blocks[3].offset_bytes + blocks[3].size_bytes == 4096 + 15 * kMiB + 100);
}

TEST_CASE("blocks of random tensors hold every byte once") {
  const std::uint64_t seed = std::random_device()();
  MESSAGE("seed ", seed);
  std::mt19937_64 random(seed);
  for (int round = 0; round < 200; ++round) {
    std::vector<std::uint64_t> sizes(random() % 40);
    for (auto& size : sizes) size = random() % 3 == 0 ? 0 : random() % (1u << (1 + random() % 24));
    const auto row = row_of(random() % (1u << 23), sizes);
    check_covers(row, cut_into_blocks(row.layout, row.writes));
  }
}

TEST_CASE("small neighbours go into few calls, what is not given is not written over") {
  auto row = row_of(4096, std::vector<std::uint64_t>(3000, 256));
  CHECK(cut_into_blocks(row.layout, row.writes).size() == 1);
  row.writes.erase(row.writes.begin() + 10);
  const auto blocks = cut_into_blocks(row.layout, row.writes);
  CHECK(blocks[0].size_bytes == 10 * 256);
  CHECK(blocks[1].offset_bytes == 4096 + 11 * 256);
}

std::vector<NamedBytes> named(const std::vector<Content>& contents) {
  std::vector<NamedBytes> tensors;
  for (const Content& content : contents) tensors.push_back({content.spec.name, content.bytes});
  return tensors;
}

// Some 30 MB in tensors of all sizes, one of them over several blocks.
std::vector<Content> mixture() {
  std::vector<Content> contents{raw("huge", DType::Uint8, {13'000'001}),
                                raw("none", DType::Int32, {0}),
                                raw("plain/bf", DType::Bfloat16, {3, 7})};
  for (int i = 0; i < 12; ++i)
    contents.push_back(raw("w" + std::to_string(i), DType::Float32, {1000 * i + 1, 61}));
  for (int i = 0; i < 2000; ++i)
    contents.push_back(raw("row" + std::to_string(i), DType::Float32, {1 + i % 64}));
  return contents;
}

TEST_CASE("all at once, on any number of threads, makes the same shard and sums as one by one") {
  const Scratch scratch;
  const std::vector<Content> contents = mixture();
  test::write_checkpoint(scratch / "single", contents);
  const auto wanted = test::read_file(scratch / "single.data-00000-of-00001");
  for (const unsigned threads : {0u, 1u, 2u, 8u}) {
    const std::string name = "all" + std::to_string(threads);
    auto writer = Writer::create(scratch / name, test::specs_of(contents));
    REQUIRE_OK(writer);
    REQUIRE_OK(writer->write_all(named(contents), {.threads_max = threads}));
    REQUIRE_OK(writer->commit());
    CHECK(test::read_file(scratch / (name + ".data-00000-of-00001")) == wanted);
    const auto checkpoint = open_checkpoint(scratch / name);
    CHECK(checkpoint.verify()->damage.empty());
    for (const Content& content : contents) {
      const Tensor tensor = test::tensor_of(checkpoint, content.spec.name);
      CHECK(tensor.crc32c() == format::crc32c(content.bytes));
      CHECK(tensor.content_hash() == format::xxh3_128(content.bytes));
    }
  }
}

TEST_CASE("what is given at once may be part of it, aligned or not") {
  for (const unsigned alignment : {0u, 64u}) {
    const Scratch scratch;
    const std::vector<Content> contents = mixture();
    WriterOptions options;
    options.alignment_bytes = alignment;
    auto writer = Writer::create(scratch / "p", test::specs_of(contents), options);
    REQUIRE_OK(writer);
    std::vector<NamedBytes> even;
    std::vector<NamedBytes> odd;
    for (std::size_t i = 0; const NamedBytes& tensor : named(contents))
      (i++ % 2 == 0 ? even : odd).push_back(tensor);
    REQUIRE_OK(writer->write_all(even));
    REQUIRE_OK(writer->write_all(odd));
    REQUIRE_OK(writer->commit());
    test::check_holds(open_checkpoint(scratch / "p"), contents);
  }
}

TEST_CASE("one tensor that cannot be taken refuses all, and the right ones are still taken") {
  const Scratch scratch;
  const std::vector<Content> contents{raw("a", DType::Int32, {3}), raw("b", DType::Int32, {5})};
  auto writer = Writer::create(scratch / "p", test::specs_of(contents));
  REQUIRE_OK(writer);
  const auto good = named(contents);
  const std::array<NamedBytes, 2> unknown{good[0], NamedBytes{"c", {}}};
  CHECK(refusal(writer->write_all(unknown), {"\"c\""}) == Code::NotFound);
  const std::array<NamedBytes, 2> short_one{good[0], NamedBytes{"b", contents[0].bytes}};
  CHECK(refusal(writer->write_all(short_one), {"20", "12"}) == Code::Invalid);
  const std::array<NamedBytes, 2> twice{good[0], good[0]};
  CHECK(refusal(writer->write_all(twice), {"\"a\""}) == Code::Invalid);
  REQUIRE_OK(writer->write_all({}));
  REQUIRE_OK(writer->write_all(good));
  CHECK(refusal(writer->write_all(good)) == Code::Invalid);
  REQUIRE_OK(writer->commit());
  test::check_holds(open_checkpoint(scratch / "p"), contents);
}

TEST_CASE("a stop ends write_all with Cancelled, and the writer with it") {
  for (const unsigned threads : {1u, 4u}) {
    const Scratch scratch;
    const std::vector<Content> contents = mixture();
    {
      auto writer = Writer::create(scratch / "p", test::specs_of(contents));
      REQUIRE_OK(writer);
      std::stop_source source;
      source.request_stop();
      ExecOptions exec{.threads_max = threads, .stop = source.get_token(), .progress = {}};
      CHECK(refusal(writer->write_all(named(contents), exec)) == Code::Cancelled);
      CHECK(refusal(writer->write_all(named(contents))) == Code::Io);
    }
    CHECK(scratch.names().empty());
  }
}

TEST_CASE("a disk that is full ends write_all on every thread with one error") {
  const Scratch scratch;
  const std::vector<Content> contents = mixture();
  auto writer = Writer::create(scratch / "p", test::specs_of(contents));
  REQUIRE_OK(writer);
  // The space is reserved with the first bytes; then writes beyond the limit fail.
  REQUIRE_OK(writer->write(contents[2].spec.name, contents[2].bytes));
  auto rest = named(contents);
  rest.erase(rest.begin() + 2);
  ::signal(SIGXFSZ, SIG_IGN);
  const test::Limit limit(RLIMIT_FSIZE, 9u << 20);
  const auto code = refusal(writer->write_all(rest, {.threads_max = 4}), {"cannot write"});
  CHECK(code == Code::NoSpace);
}

TEST_CASE("progress of write_all never falls, and reaches all bytes") {
  const Scratch scratch;
  const std::vector<Content> contents = mixture();
  auto writer = Writer::create(scratch / "p", test::specs_of(contents));
  REQUIRE_OK(writer);
  std::uint64_t total_bytes = 0;
  for (const Content& content : contents) total_bytes += content.bytes.size();
  Progress last;
  ExecOptions exec;
  exec.progress = [&](const Progress& progress) {
    CHECK(progress.done_bytes >= last.done_bytes);
    CHECK(progress.total_bytes == total_bytes);
    last = progress;
  };
  REQUIRE_OK(writer->write_all(named(contents), exec));
  CHECK(last.done_bytes == total_bytes);
}

}  // namespace
}  // namespace cairn::internal
