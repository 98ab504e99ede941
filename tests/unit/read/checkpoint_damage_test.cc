// Damage: who finds it, when, and what the sentence says.

#include <doctest/doctest.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <set>

#include "cairn/checkpoint.h"
#include "format/cairn/index.h"
#include "format/digest.h"
#include "format/le.h"
#include "tests/unit/golden.h"
#include "tests/unit/scratch.h"

namespace cairn {
namespace {

using test::bytes_of;
using test::Content;
using test::flip_bit;
using test::golden;
using test::open_checkpoint;
using test::raw;
using test::refusal;
using test::Scratch;
using test::tensor_of;
using test::text;
using test::write_checkpoint;

constexpr std::string_view kShard = "p.data-00000-of-00001";

OpenOptions options_of(Access access, Verify verify) {
  OpenOptions options;
  options.access = access;
  options.verify = verify;
  return options;
}

// Writes P.cairn anew from changed facts.
template <class Edit>
void edit_index(const std::filesystem::path& file, Edit edit) {
  const std::string text = test::read_file(file);
  std::vector<std::byte> bytes(text.size());
  std::ranges::copy(std::as_bytes(std::span(text)), bytes.begin());
  const auto index = format::IndexView::decode(bytes);
  REQUIRE(index);
  format::IndexFacts facts = index->facts();
  edit(facts);
  const auto encoded = format::encode_index(facts);
  REQUIRE(encoded);
  std::ofstream out(file, std::ios::binary | std::ios::trunc);
  for (const std::byte byte : *encoded) out.put(static_cast<char>(byte));
}

std::vector<Content> two_tensors() {
  return {raw("good", DType::Int32, {1000}), raw("hurt", DType::Int32, {3000})};
}

// A checkpoint of two_tensors(), one of which has one bit flipped.
void write_damaged(const std::filesystem::path& prefix, const std::filesystem::path& shard) {
  write_checkpoint(prefix, two_tensors());
  const auto offset = tensor_of(open_checkpoint(prefix), "hurt").offset_bytes();
  flip_bit(shard, offset + 5000, 3);
}

// An index of more than 2 MiB, which two threads check where they may: many names for four bytes.
std::string large_index(std::size_t tensor_count) {
  format::IndexFacts facts;
  facts.shards.push_back({std::string(kShard), format::ShardKind::Headerless, {4, 0, 0}, 0, 0, 4});
  for (std::size_t i = 0; i < tensor_count; ++i) {
    format::TensorFacts& added = facts.tensors.emplace_back();
    added.name = "tensor" + std::to_string(1'000'000 + i);
    added.dtype = DType::Int32;
    added.span = {0, 0, 4, {}};
  }
  const auto bytes = format::encode_index(facts);
  REQUIRE(bytes);
  REQUIRE(bytes->size() > (2u << 20));
  return std::string(format::as_text(*bytes));
}

// A forger's digest over what the index says by now.
void sign(std::string& index) {
  constexpr std::size_t kDigestAt = 48;
  constexpr std::size_t kHeaderBytes = 64;
  format::Xxh3Stream stream;
  stream.update(format::as_bytes(std::string_view(index).substr(0, kDigestAt)));
  stream.update(format::as_bytes(std::string_view(index).substr(kHeaderBytes)));
  const Digest128 digest = stream.digest();
  index.replace(kDigestAt, kHeaderBytes - kDigestAt, format::as_text(digest.bytes));
}

TEST_CASE("a large index is refused for the same reason by one thread and by several") {
  const Scratch scratch;
  const auto write = [&](std::string_view name, std::string_view bytes) {
    std::ofstream(scratch / name, std::ios::binary) << bytes;
  };
  constexpr std::size_t kTensors = 40'000;
  const std::string good = large_index(kTensors);
  std::string forged = good;
  forged[forged.find("tensor1000777")] = 'a';
  sign(forged);
  std::string damaged = forged;  // in both halves of the check: the digest comes first
  damaged[damaged.find("tensor1000888")] = 'a';
  write(kShard, "1234");
  for (const unsigned threads_max : {0u, 1u, 2u}) {
    CAPTURE(threads_max);
    OpenOptions options;
    options.exec.threads_max = threads_max;
    const auto open = [&](std::string_view index) {
      write("p.cairn", index);
      return Checkpoint::open(scratch / "p", options);
    };
    const auto opened = open(good);
    REQUIRE_MESSAGE(opened, refusal(opened));
    CHECK(opened->tensor_count() == kTensors);
    CHECK(opened->tensor("tensor1039999").has_value());
    CHECK(refusal(open(forged), {"ascending order"}) == Code::Corrupt);
    CHECK(refusal(open(damaged), {"digest"}) == Code::Corrupt);
  }
}

TEST_CASE("a flipped bit is found at first use and ever after, and other tensors stay fine") {
  const Scratch scratch;
  write_damaged(scratch / "p", scratch / kShard);
  const std::vector<Range> untouched{{0, 1}};
  for (const Access access : {Access::Shared, Access::Private, Access::Copy}) {
    const auto checkpoint = open_checkpoint(scratch / "p", options_of(access, Verify::Lazy));
    const Tensor tensor = tensor_of(checkpoint, "hurt");
    std::vector<std::byte> out(12'000);
    for (int again = 0; again < 2; ++again) {
      CHECK(refusal(tensor.bytes(), {"\"hurt\"", std::string(kShard)}) == Code::Corrupt);
      CHECK(refusal(tensor.as<std::int32_t>()) == Code::Corrupt);
      CHECK(refusal(tensor.values<std::int32_t>()) == Code::Corrupt);
      CHECK(refusal(tensor.read(out)) == Code::Corrupt);
      CHECK(refusal(tensor.read(std::span(out).first(4), untouched)) == Code::Corrupt);
      const Read reads[]{{"hurt", {}, out}};
      CHECK(refusal(checkpoint.read(reads), {"\"hurt\""}) == Code::Corrupt);
    }
    CHECK(bytes_of(tensor_of(checkpoint, "good")) == two_tensors()[0].bytes);
  }
  const auto checkpoint = open_checkpoint(scratch / "p", options_of(Access::Private, Verify::Lazy));
  CHECK(refusal(tensor_of(checkpoint, "hurt").as_mutable<std::int32_t>()) == Code::Corrupt);
}

TEST_CASE("the sentence tells the tensor, the file, the range and both sums") {
  const Scratch scratch;
  write_damaged(scratch / "p", scratch / kShard);
  const auto checkpoint = open_checkpoint(scratch / "p");
  const Tensor tensor = tensor_of(checkpoint, "hurt");
  std::vector<std::byte> bytes = two_tensors()[1].bytes;
  bytes[5000] ^= std::byte{8};
  const std::string end = std::to_string(tensor.offset_bytes() + 12'000);
  const std::string computed = format::crc32c_hex(format::crc32c(bytes));
  const std::string stored = format::crc32c_hex(*tensor.crc32c());
  const std::string shard = (scratch / kShard).string();
  const std::string begin = std::to_string(tensor.offset_bytes());
  CHECK(refusal(tensor.bytes(), {"\"hurt\"", shard, begin, end, computed, stored}) ==
        Code::Corrupt);
  std::vector<std::byte> out(12'000);
  CHECK(refusal(tensor.read(out), {"\"hurt\"", shard, begin, end, computed, stored}) ==
        Code::Corrupt);
}

TEST_CASE("without verification nobody looks") {
  const Scratch scratch;
  write_damaged(scratch / "p", scratch / kShard);
  for (const Access access : {Access::Shared, Access::Private, Access::Copy}) {
    const auto checkpoint = open_checkpoint(scratch / "p", options_of(access, Verify::None));
    CHECK(tensor_of(checkpoint, "hurt").bytes());
    CHECK(bytes_of(tensor_of(checkpoint, "hurt")) != two_tensors()[1].bytes);
  }
}

TEST_CASE("a shard touched since is checked lazily even without verification") {
  const Scratch scratch;
  write_damaged(scratch / "p", scratch / kShard);
  std::filesystem::last_write_time(scratch / kShard, std::filesystem::file_time_type::clock::now());
  const auto checkpoint = open_checkpoint(scratch / "p", options_of(Access::Shared, Verify::None));
  CHECK_FALSE(checkpoint.warnings().empty());
  CHECK(refusal(tensor_of(checkpoint, "hurt").bytes()) == Code::Corrupt);
}

TEST_CASE("full verification refuses to open, and says where") {
  const Scratch scratch;
  write_damaged(scratch / "p", scratch / kShard);
  for (const Access access : {Access::Shared, Access::Private, Access::Copy}) {
    CHECK(refusal(Checkpoint::open(scratch / "p", options_of(access, Verify::Full)),
                  {"\"hurt\"", std::string(kShard), "1 damaged range"}) == Code::Corrupt);
  }
}

TEST_CASE("verify tells tensor, shard, range and both sums, and of a large tensor the chunk") {
  const Scratch scratch;
  const std::vector<Content> contents{raw("big", DType::Uint8, {3'000'000}),
                                      raw("small", DType::Int32, {100})};
  write_checkpoint(scratch / "p", contents);
  const auto checkpoint = open_checkpoint(scratch / "p");
  const std::uint64_t big = tensor_of(checkpoint, "big").offset_bytes();
  const std::uint64_t small = tensor_of(checkpoint, "small").offset_bytes();
  flip_bit(scratch / kShard, big + (1 << 20) + 5);
  flip_bit(scratch / kShard, big + 2'999'999);
  flip_bit(scratch / kShard, small + 7);
  const auto seen = checkpoint.verify();
  REQUIRE_OK(seen);
  CHECK(seen->bytes_checked == std::filesystem::file_size(scratch / kShard));
  REQUIRE(seen->damage.size() == 3);
  std::map<std::uint64_t, Damage> by_offset;
  for (const Damage& damage : seen->damage) {
    CHECK(damage.shard == kShard);
    CHECK(damage.stored_crc32c != damage.computed_crc32c);
    by_offset[damage.offset_bytes] = damage;
  }
  CHECK(by_offset.at(big + (1 << 20)).size_bytes == 1 << 20);
  CHECK(by_offset.at(big + (1 << 20)).tensor == "big");
  CHECK(by_offset.at(big + (2 << 20)).size_bytes == 3'000'000 - (2 << 20));
  CHECK(by_offset.at(small).size_bytes == 400);
  CHECK(by_offset.at(small).stored_crc32c == tensor_of(checkpoint, "small").crc32c());
  const std::span<const std::byte> chunk = std::span(contents[0].bytes).subspan(1 << 20, 1 << 20);
  CHECK(by_offset.at(big + (1 << 20)).stored_crc32c == format::crc32c(chunk));
}

TEST_CASE("every flipped bit of a small checkpoint's shards is found, in headers and padding too") {
  for (const unsigned alignment : {0u, 64u}) {
    const Scratch scratch;
    WriterOptions options;
    options.alignment_bytes = alignment;
    write_checkpoint(scratch / "p",
                     {raw("a", DType::Int32, {3}), raw("b", DType::Int4, {5}),
                      text("s", {2}, {"xy", "z"}), text("t", {1}, {"w"})},
                     options);
    const auto checkpoint = open_checkpoint(scratch / "p");
    for (std::size_t i = 0; i < checkpoint.shard_count(); ++i) {
      const std::string shard(checkpoint.shard_at(i).name);
      // Every byte of small shards, every 61st of the header's.
      const std::uint64_t size = checkpoint.shard_at(i).size_bytes;
      for (std::uint64_t at = 0; at < size; at += size > 4096 && at + 100 < size ? 61 : 1) {
        flip_bit(scratch / shard, at, static_cast<unsigned>(at % 8));
        const auto seen = checkpoint.verify();
        REQUIRE_OK(seen);
        INFO(shard, " byte ", at);
        REQUIRE(seen->damage.size() == 1);
        CHECK(seen->damage[0].shard == shard);
        CHECK(seen->damage[0].offset_bytes <= at);
        CHECK(at < seen->damage[0].offset_bytes + seen->damage[0].size_bytes);
        flip_bit(scratch / shard, at, static_cast<unsigned>(at % 8));
      }
    }
    CHECK(checkpoint.verify()->damage.empty());
  }
}

TEST_CASE("damage to a string tensor is found at first use") {
  const Scratch scratch;
  write_checkpoint(scratch / "p", {text("s", {2}, {"hello", "there"}), text("t", {1}, {"fine"})});
  const auto offset = tensor_of(open_checkpoint(scratch / "p"), "s").offset_bytes();
  for (const std::uint64_t at : {0u, 1u, 3u, 8u}) {  // lengths, their sum, a string
    flip_bit(scratch / kShard, offset + at);
    const auto checkpoint = open_checkpoint(scratch / "p");
    for (int again = 0; again < 2; ++again)
      CHECK(refusal(tensor_of(checkpoint, "s").strings(), {"\"s\""}) == Code::Corrupt);
    CHECK((*tensor_of(checkpoint, "t").strings())[0] == "fine");
    flip_bit(scratch / kShard, offset + at);
  }
}

TEST_CASE("a copy is checked where it lies: what happens to the file later is not its damage") {
  const Scratch scratch;
  write_checkpoint(scratch / "p", {raw("w", DType::Int32, {100}), text("s", {1}, {"hello"})});
  const auto copy = open_checkpoint(scratch / "p", options_of(Access::Copy, Verify::Lazy));
  for (std::size_t i = 0; i < copy.shard_count(); ++i) {
    const auto shard = copy.shard_at(i);
    test::truncate_file(scratch / shard.name, 0);
  }
  CHECK(tensor_of(copy, "w").as<std::int32_t>());
  CHECK((*tensor_of(copy, "s").strings())[0] == "hello");
  const auto seen = copy.verify();
  REQUIRE_OK(seen);
  CHECK(seen->damage.empty());
}

TEST_CASE("a file truncated behind an open checkpoint is an error of reading, never a fault") {
  const Scratch scratch;
  write_checkpoint(scratch / "p", two_tensors());
  const auto checkpoint = open_checkpoint(scratch / "p");
  test::truncate_file(scratch / kShard, 100);
  std::vector<std::byte> out(4000);
  CHECK(refusal(tensor_of(checkpoint, "good").bytes(), {"truncated"}) == Code::Io);
  CHECK(refusal(tensor_of(checkpoint, "good").read(out), {"truncated"}) == Code::Io);
  CHECK(refusal(checkpoint.verify(), {"truncated"}) == Code::Io);
  CHECK(refusal(checkpoint.prefetch(), {std::string(kShard)}) == Code::Io);
}

TEST_CASE("every other length of a shard is refused before it is mapped") {
  const Scratch scratch;
  write_checkpoint(scratch / "p", {raw("a", DType::Int4, {300}), text("s", {2}, {"xy", "z"})});
  const auto path = scratch / kShard;
  const std::uint64_t size = std::filesystem::file_size(path);
  for (std::uint64_t length = 0; length <= size + 40; ++length) {
    test::truncate_file(path, length);
    if (length == size) continue;
    CHECK(refusal(Checkpoint::open(scratch / "p"), {std::string(kShard), std::to_string(length),
                                                    std::to_string(size)}) == Code::Corrupt);
  }
}

TEST_CASE("spans that overlap are refused by verify") {
  const Scratch scratch;
  write_checkpoint(scratch / "p", two_tensors());
  edit_index(scratch / "p.cairn", [](format::IndexFacts& facts) {
    auto& good = facts.tensors[0].span;
    const auto& hurt = facts.tensors[1].span;
    good.offset_bytes = hurt.offset_bytes + 8;
  });
  const auto checkpoint = open_checkpoint(scratch / "p");
  CHECK(refusal(checkpoint.verify(), {"overlaps", "byte"}) == Code::Corrupt);
  CHECK(refusal(Checkpoint::open(scratch / "p", options_of(Access::Shared, Verify::Full)),
                {"overlaps"}) == Code::Corrupt);
}

TEST_CASE("sums of the whole and of the chunks that contradict each other are damage") {
  const Scratch scratch;
  write_checkpoint(scratch / "p", {raw("big", DType::Uint8, {2'000'000})});
  edit_index(scratch / "p.cairn",
             [](format::IndexFacts& facts) { ++*facts.tensors[0].span.crc32c; });
  const auto checkpoint = open_checkpoint(scratch / "p");
  const auto seen = checkpoint.verify();
  REQUIRE_OK(seen);
  REQUIRE(seen->damage.size() == 1);
  CHECK(seen->damage[0].size_bytes == 2'000'000);
}

// How many bytes of their shards the tensors cover.
std::uint64_t covered_bytes(const Checkpoint& checkpoint) {
  std::set<std::pair<std::string_view, std::uint64_t>> bytes;
  for (std::size_t i = 0; i < checkpoint.tensor_count(); ++i) {
    const Tensor tensor = checkpoint.tensor_at(i);
    for (std::uint64_t at = 0; at < tensor.size_bytes(); ++at)
      bytes.emplace(tensor.shard(), tensor.offset_bytes() + at);
  }
  return bytes.size();
}

TEST_CASE("shared ranges are counted once") {
  const Scratch scratch;
  Content owner = raw("owner", DType::Int32, {500});
  Content alias = owner;
  alias.spec.name = "alias";
  auto writer = Writer::create(scratch / "p", {owner.spec, alias.spec});
  REQUIRE_OK(writer);
  REQUIRE_OK(writer->tie("owner", "alias"));
  REQUIRE_OK(writer->write("alias", owner.bytes));
  REQUIRE_OK(writer->commit());
  CHECK(open_checkpoint(scratch / "p").verify()->bytes_checked ==
        std::filesystem::file_size(scratch / kShard));
  // TensorFlow's files may share and overlap as they like.
  for (const char* prefix : {"hostile/partial_overlap", "hostile/ok", "tensorflow/shapes/all"}) {
    INFO(prefix);
    const auto checkpoint = open_checkpoint(golden(prefix));
    const auto seen = checkpoint.verify();
    REQUIRE_OK(seen);
    CHECK(seen->bytes_checked == covered_bytes(checkpoint));
  }
}

TEST_CASE("the number of threads changes nothing that verify sees") {
  const Scratch scratch;
  std::vector<Content> contents;
  for (int i = 0; i < 30; ++i)
    contents.push_back(raw("t" + std::to_string(i), DType::Uint8, {400'000 + i}));
  contents.push_back(text("s", {1}, {std::string(5'000'000, 'x')}));
  write_checkpoint(scratch / "p", contents);
  const auto checkpoint = open_checkpoint(scratch / "p");
  for (std::size_t i = 0; i < checkpoint.tensor_count(); i += 3) {
    const Tensor tensor = checkpoint.tensor_at(i);
    flip_bit(scratch / tensor.shard(), tensor.offset_bytes() + 17);
  }
  std::vector<Verification> seen;
  for (const unsigned threads : {1u, 4u}) {
    ExecOptions exec;
    exec.threads_max = threads;
    std::uint64_t last = 0;
    exec.progress = [&](const Progress& progress) {
      CHECK(progress.done_bytes <= progress.total_bytes);
      CHECK(progress.done_bytes >= last);
      last = progress.done_bytes;
    };
    const auto verification = checkpoint.verify(exec);
    REQUIRE_OK(verification);
    CHECK(last == verification->bytes_checked);
    seen.push_back(*verification);
  }
  CHECK(seen[0].bytes_checked == seen[1].bytes_checked);
  REQUIRE(seen[0].damage.size() == seen[1].damage.size());
  for (std::size_t i = 0; i < seen[0].damage.size(); ++i) {
    CHECK(seen[0].damage[i].tensor == seen[1].damage[i].tensor);
    CHECK(seen[0].damage[i].computed_crc32c == seen[1].damage[i].computed_crc32c);
  }
}

TEST_CASE("a stop ends open, verify, prefetch and read with Cancelled") {
  const Scratch scratch;
  write_checkpoint(scratch / "p", two_tensors());
  const auto checkpoint = open_checkpoint(scratch / "p");
  std::stop_source source;
  source.request_stop();
  ExecOptions exec;
  exec.stop = source.get_token();
  std::vector<std::byte> out(4000);
  const Read reads[]{{"good", {}, out}};
  CHECK(refusal(checkpoint.verify(exec)) == Code::Cancelled);
  CHECK(refusal(checkpoint.prefetch({}, exec)) == Code::Cancelled);
  CHECK(refusal(checkpoint.read(reads, exec)) == Code::Cancelled);
  OpenOptions full = options_of(Access::Shared, Verify::Full);
  full.exec = exec;
  CHECK(refusal(Checkpoint::open(scratch / "p", full)) == Code::Cancelled);
  OpenOptions copy = options_of(Access::Copy, Verify::None);
  copy.exec = exec;
  CHECK(refusal(Checkpoint::open(scratch / "p", copy)) == Code::Cancelled);
}

TEST_CASE("a copy of several shards reports one progress that never falls and reaches the total") {
  const Scratch scratch;
  write_checkpoint(scratch / "p",
                   {raw("w", DType::Int32, {1'000'000}), raw("x", DType::Int4, {3'000'000})});
  OpenOptions options = options_of(Access::Copy, Verify::None);
  Progress last;
  options.exec.progress = [&](const Progress& progress) {
    CHECK(progress.done_bytes >= last.done_bytes);
    last = progress;
  };
  const auto checkpoint = open_checkpoint(scratch / "p", options);
  REQUIRE(checkpoint.shard_count() == 2);
  const std::uint64_t total = checkpoint.shard_at(0).size_bytes + checkpoint.shard_at(1).size_bytes;
  CHECK(last.done_bytes == total);
  CHECK(last.total_bytes == total);
}

TEST_CASE("opening fails with an error for want of descriptors, and leaks none") {
  const Scratch scratch;
  write_checkpoint(scratch / "p", {raw("w", DType::Int32, {10}), raw("x", DType::Int4, {3})});
  const std::size_t before = test::open_descriptor_count();
  std::size_t failures = 0;
  for (rlim_t free = 0; free < 10; ++free) {
    const test::Limit limit(RLIMIT_NOFILE, before - 1 + free);
    const auto checkpoint = Checkpoint::open(scratch / "p");
    if (checkpoint) break;
    ++failures;
    CHECK(checkpoint.error().os_errno == EMFILE);
  }
  CHECK(failures >= 2);
  CHECK(failures < 10);
  CHECK(test::open_descriptor_count() == before);
}

}  // namespace
}  // namespace cairn
