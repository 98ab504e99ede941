// What a Writer refuses, and what it leaves behind when the system fails it.

#include <doctest/doctest.h>

#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>

#include <algorithm>
#include <fstream>
#include <string>

#include "cairn/writer.h"
#include "tests/unit/golden.h"
#include "tests/unit/scratch.h"

namespace cairn {
namespace {

using test::Content;
using test::Limit;
using test::open_checkpoint;
using test::raw;
using test::refusal;
using test::Scratch;
using test::text;
using test::write_checkpoint;

Writer create(const std::filesystem::path& prefix, std::vector<TensorSpec> specs) {
  auto writer = Writer::create(prefix, std::move(specs));
  REQUIRE_OK(writer);
  return *std::move(writer);
}

TEST_CASE("specs that cannot be written are refused, and nothing is made") {
  const Scratch scratch;
  const auto created = [&](std::vector<TensorSpec> specs, const WriterOptions& options = {}) {
    return Writer::create(scratch / "p", std::move(specs), options);
  };
  CHECK(refusal(created({{"w", DType::Int8, {}}, {"w", DType::Int8, {}}}), {"\"w\"", "twice"}) ==
        Code::Invalid);
  WriterOptions bundle_alone;
  bundle_alone.cairn_index = false;
  CHECK(refusal(created({{"", DType::Int8, {}}}, bundle_alone), {"TensorFlow"}) ==
        Code::Unsupported);
  CHECK(refusal(created({{"w", DType::Opaque, {2}, {"F4", 4}}}, bundle_alone), {"F4 [2]"}) ==
        Code::Unsupported);
  CHECK(refusal(created({{"w", DType::Opaque, {256}, {"Q4_K", 4, 256, 144}}}), {"256", "144"}) ==
        Code::Invalid);
  WriterOptions repeated;
  repeated.safetensors_metadata = {{"k", "1"}, {"k", "2"}};
  CHECK(refusal(created({}, repeated), {"\"k\"", "twice"}) == Code::Invalid);
  repeated.safetensors_metadata = {{"k", "\xff"}};
  CHECK(refusal(created({}, repeated), {"\"k\"", "UTF-8"}) == Code::Invalid);
  CHECK(refusal(created({{"w", DType::Int8, {-1}}}), {"\"w\""}) == Code::Invalid);
  CHECK(refusal(created({{"w", DType::Resource, {}}}), {"resource"}) == Code::Unsupported);
  const std::int64_t huge = std::int64_t{1} << 62;
  CHECK(refusal(created({{"a", DType::Int8, {huge}},
                         {"b", DType::Int8, {huge}},
                         {"c", DType::Int8, {huge}},
                         {"d", DType::Int8, {huge}}}),
                {"bytes"}) == Code::Invalid);
  for (const unsigned alignment : {1u, 32u, 65u, 8192u}) {
    WriterOptions options;
    options.alignment_bytes = alignment;
    CHECK(refusal(created({}, options), {std::to_string(alignment)}) == Code::Invalid);
  }
  WriterOptions neither;
  neither.tensorflow_index = neither.cairn_index = false;
  CHECK(refusal(created({}, neither)) == Code::Invalid);
  CHECK(scratch.names().empty());
}

TEST_CASE("metadata with a key twice is refused before a byte is written") {
  const Scratch scratch;
  WriterOptions options;
  options.metadata = {{"k", "1"}, {"k", "2"}};
  CHECK(refusal(Writer::create(scratch / "p", {}, options), {"\"k\""}) == Code::Invalid);
}

TEST_CASE("a name that no spec announced is refused by every verb") {
  const Scratch scratch;
  Writer writer = create(scratch / "p", {{"w", DType::Int8, {}}});
  const std::vector<std::byte> byte(1);
  CHECK(refusal(writer.write("v", byte), {"\"v\""}) == Code::NotFound);
  CHECK(refusal(writer.append("v", byte), {"\"v\""}) == Code::NotFound);
  CHECK(refusal(writer.write_strings("v", {}), {"\"v\""}) == Code::NotFound);
  CHECK(refusal(writer.write_encoded("v", byte), {"\"v\""}) == Code::NotFound);
}

TEST_CASE("bytes of a wrong size are refused with both sizes, and the right ones still taken") {
  const Scratch scratch;
  Writer writer = create(scratch / "p", {{"w", DType::Int32, {3}}, {"e", DType::Int32, {0}}});
  const std::vector<std::byte> bytes(13);
  const auto first = [&](std::size_t count) { return std::span(bytes).first(count); };
  CHECK(refusal(writer.write("w", first(11)), {"12", "11"}) == Code::Invalid);
  CHECK(refusal(writer.append("w", first(13)), {"12", "13"}) == Code::Invalid);
  CHECK(refusal(writer.append("e", first(1)), {"0", "1"}) == Code::Invalid);
  REQUIRE_OK(writer.write("w", first(12)));
  REQUIRE_OK(writer.commit());
}

TEST_CASE("a tensor takes its bytes once") {
  const Scratch scratch;
  Writer writer = create(scratch / "p", {{"w", DType::Int8, {2}}, {"s", DType::String, {}}});
  const std::vector<std::byte> two(2);
  const std::vector<std::string_view> word{"x"};
  REQUIRE_OK(writer.append("w", std::span(two).first(1)));
  CHECK(refusal(writer.write("w", two), {"already"}) == Code::Invalid);
  CHECK(refusal(writer.append("w", two), {"needs only 1"}) == Code::Invalid);
  REQUIRE_OK(writer.append("w", std::span(two).first(1)));
  CHECK(refusal(writer.append("w", std::span(two).first(1)), {"already"}) == Code::Invalid);
  REQUIRE_OK(writer.write_strings("s", word));
  CHECK(refusal(writer.write_strings("s", word), {"already"}) == Code::Invalid);
  REQUIRE_OK(writer.commit());
}

TEST_CASE("the verb must fit the dtype, and the sentence names the one that does") {
  const Scratch scratch;
  Writer writer = create(scratch / "p", {{"w", DType::Int8, {2}}, {"s", DType::String, {2}}});
  const std::vector<std::byte> two(2);
  const std::vector<std::string_view> words{"x", "y"};
  CHECK(refusal(writer.write("s", two), {"write_strings()"}) == Code::Invalid);
  CHECK(refusal(writer.append("s", two), {"write_strings()"}) == Code::Invalid);
  CHECK(refusal(writer.write_strings("w", words), {"int8"}) == Code::Invalid);
  CHECK(refusal(writer.write_encoded("w", two), {"write()"}) == Code::Invalid);
  CHECK(refusal(writer.write_strings("s", std::span(words).first(1)), {"2", "1"}) == Code::Invalid);
  CHECK(refusal(writer.write_encoded("s", two), {"\"s\""}) == Code::Corrupt);
}

TEST_CASE("commit without all bytes is refused, and may come again") {
  const Scratch scratch;
  Writer writer = create(
      scratch / "p", {{"a", DType::Int8, {2}}, {"b", DType::Int8, {2}}, {"s", DType::String, {0}}});
  const std::vector<std::byte> two(2);
  REQUIRE_OK(writer.write("a", two));
  CHECK(refusal(writer.commit(), {"\"b\""}) == Code::Invalid);
  REQUIRE_OK(writer.append("b", std::span(two).first(1)));
  CHECK(refusal(writer.commit(), {"\"b\""}) == Code::Invalid);
  REQUIRE_OK(writer.append("b", std::span(two).first(1)));
  CHECK(refusal(writer.commit(), {"\"s\""}) == Code::Invalid);
  REQUIRE_OK(writer.write_strings("s", {}));
  REQUIRE_OK(writer.commit());
}

TEST_CASE("after a commit the writer refuses everything as Invalid") {
  const Scratch scratch;
  Writer writer = create(scratch / "p", {{"w", DType::Int8, {1}}});
  const std::vector<std::byte> byte(1);
  REQUIRE_OK(writer.write("w", byte));
  REQUIRE_OK(writer.commit());
  CHECK(refusal(writer.commit(), {"committed"}) == Code::Invalid);
  CHECK(refusal(writer.write("w", byte), {"committed"}) == Code::Invalid);
  CHECK(refusal(writer.append("w", byte), {"committed"}) == Code::Invalid);
  CHECK(Checkpoint::open(scratch / "p"));
}

TEST_CASE("a stopped commit publishes nothing and may come again") {
  const Scratch scratch;
  Writer writer = create(scratch / "p", {{"w", DType::Int8, {1}}});
  const std::vector<std::byte> byte(1);
  REQUIRE_OK(writer.write("w", byte));
  std::stop_source source;
  source.request_stop();
  ExecOptions exec;
  exec.stop = source.get_token();
  CHECK(refusal(writer.commit(exec)) == Code::Cancelled);
  CHECK_FALSE(Checkpoint::open(scratch / "p"));
  REQUIRE_OK(writer.commit());
  CHECK(Checkpoint::open(scratch / "p"));
}

TEST_CASE(
    "after an index that cannot be renamed the old checkpoint opens, and the next save tidies up") {
  const Scratch scratch;
  WriterOptions options;
  options.tensorflow_index = false;
  const std::vector<Content> old{raw("w", DType::Int8, {5})};
  write_checkpoint(scratch / "p", old, options);
  const auto before = scratch.names();
  std::filesystem::create_directories(scratch / "p.index/full");
  {
    Writer writer = create(scratch / "p", {{"w", DType::Int8, {1}}});
    const std::vector<std::byte> byte(1);
    REQUIRE_OK(writer.write("w", byte));
    CHECK(refusal(writer.commit(), {"p.index"}) == Code::Io);
  }
  std::filesystem::remove_all(scratch / "p.index");
  test::check_holds(open_checkpoint(scratch / "p"), old);
  write_checkpoint(scratch / "p", old, options);
  CHECK(scratch.names().size() == before.size());
  test::check_holds(open_checkpoint(scratch / "p"), old);
}

// ---- Limits of the system

TEST_CASE("a write that fails midway is NoSpace, breaks the writer and leaves nothing") {
  ::signal(SIGXFSZ, SIG_IGN);
  const Scratch scratch;
  {
    Writer writer = create(scratch / "p", {{"a", DType::String, {1}}, {"b", DType::String, {1}}});
    const std::string big(3'000'000, 'x');
    const std::vector<std::string_view> value{big};
    {
      const Limit limit(RLIMIT_FSIZE, 1'000'000);
      CHECK(refusal(writer.write_strings("a", value), {"cannot write at byte"}) == Code::NoSpace);
    }
    CHECK(refusal(writer.write_strings("b", value), {"failed before"}) == Code::Io);
    CHECK(refusal(writer.commit(), {"failed before"}) == Code::Io);
  }
  CHECK(scratch.names().empty());
}

TEST_CASE("space that cannot be reserved is NoSpace before a byte is written") {
  ::signal(SIGXFSZ, SIG_IGN);
  const Scratch scratch;
  {
    const Limit limit(RLIMIT_FSIZE, 1'000'000);
    auto writer = Writer::create(scratch / "p", {{"a", DType::Int8, {2'000'000}}});
    const std::vector<std::byte> bytes(2'000'000);
    if (writer) CHECK(refusal(writer->write("a", bytes), {"cannot reserve"}) == Code::NoSpace);
  }
  CHECK(scratch.names().empty());
}

TEST_CASE("without descriptors saving fails with an error at every step, and leaks none") {
  const Scratch scratch;
  const auto contents = std::vector<Content>{raw("w", DType::Int8, {5}), text("s", {1}, {"x"})};
  const std::size_t before = test::open_descriptor_count();
  const auto save = [&]() -> Result<void> {
    auto writer = Writer::create(scratch / "p", test::specs_of(contents));
    if (!writer) return writer.error();
    for (const Content& content : contents) {
      if (auto done = write_content(*writer, content); !done) return done;
    }
    return writer->commit();
  };
  std::size_t failures = 0;
  for (rlim_t free = 0; free < 16; ++free) {
    // The count includes the descriptor of the listing itself.
    const Limit limit(RLIMIT_NOFILE, before - 1 + free);
    const auto done = save();
    if (done) break;
    ++failures;
    CHECK(done.error().code == Code::Io);
    CHECK(done.error().os_errno == EMFILE);
  }
  CHECK(failures >= 3);
  CHECK(failures < 16);
  CHECK(test::open_descriptor_count() == before);
  test::check_holds(open_checkpoint(scratch / "p"), contents);
}

// A file system of this size; nothing where this process may not mount.
class Tmpfs {
 public:
  Tmpfs(const std::filesystem::path& at, const char* options) : at_(at) {
    std::filesystem::create_directory(at);
    mounted_ = ::mount("tmpfs", at.c_str(), "tmpfs", 0, options) == 0;
  }
  Tmpfs(const Tmpfs&) = delete;
  Tmpfs& operator=(const Tmpfs&) = delete;
  ~Tmpfs() {
    if (mounted_) ::umount2(at_.c_str(), MNT_DETACH);
  }
  bool mounted() const noexcept { return mounted_; }

 private:
  std::filesystem::path at_;
  bool mounted_;
};

TEST_CASE("a full disk is NoSpace, leaves nothing behind and the old checkpoint whole") {
  const Scratch scratch;
  const Tmpfs disk(scratch / "disk", "size=1m");
  if (!disk.mounted()) {
    MESSAGE("skipped: mounting needs root");
    return;
  }
  const auto prefix = scratch / "disk/p";
  const std::vector<Content> old{raw("w", DType::Int8, {300'000})};
  write_checkpoint(prefix, old);
  const auto names = [&] {
    std::set<std::string> found;
    for (const auto& entry : std::filesystem::directory_iterator(scratch / "disk"))
      found.insert(entry.path().filename().string());
    return found;
  };
  const auto before = names();
  const std::vector<std::byte> bytes(900'000);
  const std::string big(900'000, 'x');
  const std::vector<std::string_view> value{big};
  {
    Writer writer = create(prefix, {{"w", DType::Int8, {900'000}}});
    CHECK(refusal(writer.write("w", bytes), {"p.data"}) == Code::NoSpace);
  }
  CHECK(names() == before);
  {
    Writer writer = create(prefix, {{"s", DType::String, {1}}});
    CHECK(refusal(writer.write_strings("s", value), {"p.data"}) == Code::NoSpace);
  }
  CHECK(names() == before);
  // The shard fits, and the indexes do not.
  {
    std::vector<TensorSpec> specs;
    for (int i = 0; i < 9000; ++i)
      specs.push_back({"a name of some length " + std::to_string(i), DType::Int8, {0}});
    Writer writer = create(prefix, std::move(specs));
    CHECK(refusal(writer.commit()) == Code::NoSpace);
  }
  CHECK(names() == before);
  const auto checkpoint = open_checkpoint(prefix);
  test::check_holds(checkpoint, old);
  CHECK(checkpoint.warnings().empty());
}

TEST_CASE("a disk that a dead writer's files fill is no full disk") {
  const Scratch scratch;
  const Tmpfs disk(scratch / "disk", "size=1m");
  if (!disk.mounted()) {
    MESSAGE("skipped: mounting needs root");
    return;
  }
  const std::vector<Content> contents{raw("w", DType::Int8, {700'000})};
  const auto left = scratch / "disk/x.data-00000-of-00001.cairn-tmp-0123456789abcdef";
  std::ofstream(left) << std::string(900'000, 'x');
  write_checkpoint(scratch / "disk/p", contents);
  CHECK_FALSE(std::filesystem::exists(left));
  test::check_holds(open_checkpoint(scratch / "disk/p"), contents);
}

// ---- Memory

std::size_t peak_bytes() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  return static_cast<std::size_t>(usage.ru_maxrss) * 1024;
}

TEST_CASE("a tensor of 64 MiB passes through a few chunks of memory") {
  const Scratch scratch;
  const std::vector<std::byte> chunk = test::random_bytes(1 << 20, 1);
  Writer writer = create(scratch / "p", {{"big", DType::Uint8, {64 << 20}}});
  REQUIRE_OK(writer.append("big", chunk));
  const std::size_t before = peak_bytes();
  for (int i = 1; i < 64; ++i) REQUIRE_OK(writer.append("big", chunk));
  REQUIRE_OK(writer.commit());
  CHECK(peak_bytes() - before < 4u << 20);
}

TEST_CASE("an encoded tensor of 64 MiB is written without a second copy of it") {
  const Scratch scratch;
  Writer writer = create(scratch / "p", {{"big", DType::String, {1}}});
  const std::string big(64 << 20, 'x');
  const std::vector<std::string_view> value{big};
  const std::size_t before = peak_bytes();
  REQUIRE_OK(writer.write_strings("big", value));
  CHECK(peak_bytes() - before < 4u << 20);
  REQUIRE_OK(writer.commit());
}

}  // namespace
}  // namespace cairn
