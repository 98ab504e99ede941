// Restoring by each way, and which way is chosen.

#include "cairn/restore.h"

#include <doctest/doctest.h>
#include <fcntl.h>

#include <fstream>
#include <numeric>

#include "lib/os/direct.h"
#include "lib/os/machine.h"
#include "lib/os/mapping.h"
#include "lib/read/io_method.h"
#include "tests/unit/golden.h"
#include "tests/unit/open/restore_samples.h"
#include "tests/unit/scratch.h"

namespace cairn {
namespace {

using test::contents;
using test::golden;
using test::has_direct_reads;
using test::kShard;
using test::refusal;
using test::Scratch;
using test::write_checkpoint;

constexpr IoMethod kWays[]{IoMethod::Map, IoMethod::Populate, IoMethod::Read, IoMethod::Direct};

RestoreOptions by(IoMethod method, Verify verify = Verify::Full) {
  RestoreOptions options;
  options.method = method;
  options.verify = verify;
  return options;
}

TEST_CASE("every way restores every tensor, checked or not") {
  const Scratch scratch;
  write_checkpoint(scratch / "p", contents());
  for (const IoMethod method : kWays) {
    for (const Verify verify : {Verify::Full, Verify::Lazy, Verify::None}) {
      INFO(std::string(name(method)));
      auto restored = restore(scratch / "p", by(method, verify));
      if (method == IoMethod::Direct && !has_direct_reads(scratch / kShard)) {
        CHECK(refusal(restored) == Code::Unsupported);
        continue;
      }
      REQUIRE_OK(restored);
      CHECK(restored->method == method);
      CHECK(restored->payload_bytes >= 17'000'000);
      CHECK(restored->available_bytes > 0);
      CHECK(!restored->file_system.empty());
      test::check_holds(restored->checkpoint, contents());
    }
  }
}

TEST_CASE("foreign checkpoints are restored by every way as they open") {
  for (const char* path : {"tensorflow/shapes/all", "tensorflow/partitioned/part",
                           "tensorflow/strings/all", "tensorflow/sharded/shard-42"}) {
    const auto opened = test::open_checkpoint(golden(path));
    for (const IoMethod method : kWays) {
      const auto restored = restore(golden(path), by(method));
      if (!restored && restored.error().code == Code::Unsupported) continue;
      REQUIRE_OK(restored);
      for (std::size_t i = 0; i < opened.tensor_count(); ++i) {
        const Tensor wanted = opened.tensor_at(i);
        const Tensor got = restored->checkpoint.tensor_at(i);
        CHECK(got.name() == wanted.name());
        if (wanted.dtype() == DType::String) {
          CHECK(std::ranges::equal(*got.strings(), *wanted.strings()));
        } else {
          CHECK(test::bytes_of(got) == test::bytes_of(wanted));
        }
      }
    }
  }
}

TEST_CASE("every way finds a changed bit: at once with Full, with Lazy when it is used") {
  const Scratch scratch;
  write_checkpoint(scratch / "p", contents());
  const auto offset_bytes =
      test::tensor_of(test::open_checkpoint(scratch / "p"), "odd").offset_bytes();
  test::flip_bit(scratch / kShard, offset_bytes + 4'500'000);
  for (const IoMethod method : kWays) {
    INFO(std::string(name(method)));
    if (method == IoMethod::Direct && !has_direct_reads(scratch / kShard)) continue;
    CHECK(refusal(restore(scratch / "p", by(method)), {kShard, "\"odd\""}) == Code::Corrupt);
    const auto lazy = restore(scratch / "p", by(method, Verify::Lazy));
    REQUIRE_OK(lazy);
    CHECK(test::tensor_of(lazy->checkpoint, "big").bytes());
    CHECK(refusal(test::tensor_of(lazy->checkpoint, "odd").bytes()) == Code::Corrupt);
  }
}

TEST_CASE(
    "a restore ends with Cancelled when it is stopped, and tells its progress when it is not") {
  const Scratch scratch;
  write_checkpoint(scratch / "p", contents());
  std::stop_source stop;
  stop.request_stop();
  for (const IoMethod method : kWays) {
    INFO(std::string(name(method)));
    if (method == IoMethod::Direct && !has_direct_reads(scratch / kShard)) continue;
    RestoreOptions options = by(method);
    Progress last;
    options.exec.progress = [&](const Progress& progress) { last = progress; };
    REQUIRE_OK(restore(scratch / "p", options));
    CHECK(last.done_bytes == last.total_bytes);
    CHECK(last.total_bytes >= 17'000'000);
    options.exec.stop = stop.get_token();
    CHECK(refusal(restore(scratch / "p", options)) == Code::Cancelled);
  }
}

TEST_CASE("a populated checkpoint is in the page cache, and what is cached is mapped") {
  const Scratch scratch;
  write_checkpoint(scratch / "p", contents());
  const auto restored = restore(scratch / "p");
  REQUIRE_OK(restored);
  CHECK(restored->method == IoMethod::Populate);
  CHECK(restored->reason.find(std::to_string(restored->payload_bytes)) != std::string::npos);
  CHECK(*restored->checkpoint.resident_bytes() == restored->payload_bytes);
}

TEST_CASE("the way follows from what is seen") {
  constexpr std::uint64_t kGiB = std::uint64_t{1} << 30;
  const os::FileSystem disk{"ext4", true, false};
  const os::FileSystem memory{"tmpfs", true, true};
  const os::FileSystem network{"nfs", false, false};
  const os::FileSystem unknown{"0x12345678", false, false};
  struct Case {
    internal::IoConditions seen;
    IoMethod method;
    const char* said;
  };
  const Case cases[]{
      {{8 * kGiB, 0, 20 * kGiB, disk, true}, IoMethod::Populate, "once for all"},
      {{8 * kGiB, 8 * kGiB, 20 * kGiB, disk, true}, IoMethod::Populate, "not copied"},
      {{8 * kGiB, 4 * kGiB, 20 * kGiB, disk, true}, IoMethod::Populate, "not copied"},
      {{8 * kGiB, kGiB, 15 * kGiB, disk, true}, IoMethod::Direct, "out of the page cache"},
      {{8 * kGiB, kGiB, 15 * kGiB, disk, false}, IoMethod::Populate, "once for all"},
      {{8 * kGiB, 5 * kGiB, 15 * kGiB, disk, true}, IoMethod::Populate, "not copied"},
      {{8 * kGiB, std::nullopt, 15 * kGiB, disk, true}, IoMethod::Direct, "not known how many"},
      {{8 * kGiB, std::nullopt, 15 * kGiB, disk, false}, IoMethod::Populate, "not known how many"},
      {{8 * kGiB, std::nullopt, 20 * kGiB, disk, true}, IoMethod::Populate, "not known how many"},
      {{8 * kGiB, std::nullopt, 7 * kGiB, memory, true}, IoMethod::Populate, "not copied"},
      {{8 * kGiB, 0, 7 * kGiB, disk, true}, IoMethod::Map, "available"},
      {{8 * kGiB, 8 * kGiB, 7 * kGiB, disk, true}, IoMethod::Map, "available"},
      {{8 * kGiB, 0, 7 * kGiB, network, true}, IoMethod::Map, "available"},
      {{8 * kGiB, 8 * kGiB, 20 * kGiB, network, true}, IoMethod::Read, "nfs"},
      {{8 * kGiB, 0, 20 * kGiB, unknown, false}, IoMethod::Read, "0x12345678"},
      {{8 * kGiB, 8 * kGiB, 7 * kGiB, memory, true}, IoMethod::Populate, "not copied"},
      {{8 * kGiB, 0, std::nullopt, disk, true}, IoMethod::Populate, "once for all"},
      {{0, 0, 20 * kGiB, network, false}, IoMethod::Populate, "not copied"},
  };
  for (const Case& each : cases) {
    const internal::IoChoice choice = internal::choose(each.seen);
    INFO(choice.reason);
    CHECK(choice.method == each.method);
    CHECK(choice.reason.find(each.said) != std::string::npos);
  }
}

// ---- What it stands on

struct FakeRoot {
  explicit FakeRoot(const Scratch& scratch) : root(scratch / "root") {
    put("proc/meminfo", "MemTotal: 9000 kB\nMemAvailable: 8000 kB\n");
  }
  void put(const std::string& name, std::string_view contents_of_it) const {
    std::filesystem::create_directories((root / name).parent_path());
    std::ofstream(root / name) << contents_of_it;
  }
  std::uint64_t available() const { return *os::available_memory_bytes(root.string()); }
  std::filesystem::path root;
};

TEST_CASE("memory that is available is what the tightest cgroup leaves, page cache not counted") {
  const Scratch scratch;
  const FakeRoot fake(scratch);
  CHECK(fake.available() == 8'192'000);
  fake.put("proc/self/cgroup", "3:cpu:/x\n0::/a/b\n");
  fake.put("sys/fs/cgroup/a/b/memory.max", "max\n");
  fake.put("sys/fs/cgroup/a/b/memory.current", "500000\n");
  CHECK(fake.available() == 8'192'000);
  fake.put("sys/fs/cgroup/a/memory.max", "1000000\n");
  fake.put("sys/fs/cgroup/a/memory.current", "900000\n");
  CHECK(fake.available() == 100'000);
  fake.put("sys/fs/cgroup/a/memory.stat", "anon 300000\ninactive_file 400000\nactive_file 50000\n");
  CHECK(fake.available() == 550'000);
  fake.put("sys/fs/cgroup/memory.max", "600000\n");  // the top, as a container sees it
  fake.put("sys/fs/cgroup/memory.current", "700000\n");
  CHECK(fake.available() == 0);
}

TEST_CASE("cgroups of version 1 are heeded as well") {
  const Scratch scratch;
  const FakeRoot fake(scratch);
  fake.put("proc/self/cgroup", "4:memory:/jobs/7\n0::/\n");
  fake.put("sys/fs/cgroup/memory/jobs/7/memory.limit_in_bytes", "2000000\n");
  fake.put("sys/fs/cgroup/memory/jobs/7/memory.usage_in_bytes", "1500000\n");
  fake.put("sys/fs/cgroup/memory/jobs/7/memory.stat", "total_inactive_file 250000\n");
  CHECK(fake.available() == 750'000);
}

TEST_CASE("reads past the page cache give the file's bytes, by io_uring and by threads") {
  const Scratch scratch;
  const auto wanted = test::random_bytes(40 * 65536, 7);
  std::ofstream(scratch / "file", std::ios::binary)
      .write(reinterpret_cast<const char*>(wanted.data()),
             static_cast<std::streamsize>(wanted.size()));
  if (!has_direct_reads(scratch / "file")) {
    MESSAGE("skipped: the file system has no reads past the page cache");
    return;
  }
  const auto directory = os::Directory::open(scratch.path());
  REQUIRE_OK(directory);
  const auto file = directory->open_file("file", os::Links::Refuse);
  REQUIRE_OK(file);
  const auto direct = os::reopen_direct(*file);
  REQUIRE_OK(direct);
  for (const auto calls : {os::DirectCalls::Ring, os::DirectCalls::Threads}) {
    const auto memory = os::Mapping::allocate(wanted.size());
    REQUIRE_OK(memory);
    std::vector<os::DirectRead> reads;
    for (std::size_t i = 0; i < 40; ++i)
      reads.push_back({&*direct, i * 65536, memory->bytes().subspan(i * 65536, 65536)});
    std::vector<std::atomic<int>> done(reads.size());
    ExecOptions exec;
    exec.threads_max = 3;
    REQUIRE_OK(os::read_direct(
        exec, reads,
        [&](std::size_t i) {
          CHECK(std::ranges::equal(reads[i].out, std::span(wanted).subspan(i * 65536, 65536)));
          ++done[i];
          return Result<void>();
        },
        calls));
    CHECK(std::ranges::all_of(done, [](const auto& count) { return count == 1; }));
    // What fails ends it all, and nothing is under way any more.
    CHECK(refusal(os::read_direct(
              exec, reads,
              [](std::size_t i) {
                return i == 20 ? Result<void>(Error{Code::Corrupt, 0, "20"}) : Result<void>();
              },
              calls)) == Code::Corrupt);
    std::filesystem::resize_file(scratch / "file", 30 * 65536 + 100);
    CHECK(refusal(os::read_direct(
              exec, reads, [](std::size_t) { return Result<void>(); }, calls)) == Code::Io);
    std::filesystem::resize_file(scratch / "file", 0);
    std::ofstream(scratch / "file", std::ios::binary)
        .write(reinterpret_cast<const char*>(wanted.data()),
               static_cast<std::streamsize>(wanted.size()));
  }
}

}  // namespace
}  // namespace cairn
