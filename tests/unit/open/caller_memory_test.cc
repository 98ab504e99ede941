// Restoring into memory of the caller's own.

#include <doctest/doctest.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <memory>
#include <new>

#include "cairn/restore.h"
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
using test::raw;
using test::refusal;
using test::Scratch;
using test::write_checkpoint;

// Memory that begins `skew_bytes` behind a page, filled with what is no zero.
class Arena {
 public:
  explicit Arena(std::uint64_t skew_bytes = 0, std::uint64_t missing_bytes = 0)
      : skew_bytes_(skew_bytes), missing_bytes_(missing_bytes) {}

  CallerMemory give(std::uint64_t size_bytes) {
    const std::uint64_t all_bytes = size_bytes + skew_bytes_;
    auto* const memory =
        static_cast<std::byte*>(::operator new(all_bytes, std::align_val_t{kDirectAlignment}));
    std::fill_n(memory, all_bytes, std::byte{0xa5});
    given_.push_back({memory + skew_bytes_, size_bytes});
    ++*alive_;
    return {given_.back().first(size_bytes - std::min(size_bytes, missing_bytes_)),
            std::shared_ptr<void>(memory, [alive = alive_](void* gone) {
              --*alive;
              ::operator delete(gone, std::align_val_t{kDirectAlignment});
            })};
  }

  bool holds(std::span<const std::byte> bytes) const {
    return bytes.empty() || std::ranges::any_of(given_, [&](const auto& memory) {
             return bytes.data() >= memory.data() &&
                    bytes.data() + bytes.size() <= memory.data() + memory.size();
           });
  }

  std::size_t given() const noexcept { return given_.size(); }
  int alive() const noexcept { return *alive_; }

 private:
  std::uint64_t skew_bytes_;
  std::uint64_t missing_bytes_;
  std::vector<std::span<std::byte>> given_;
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);
};

RestoreOptions into(Arena& arena, std::optional<IoMethod> method = std::nullopt) {
  RestoreOptions options;
  options.method = method;
  options.memory = [&arena](std::uint64_t size_bytes) { return arena.give(size_bytes); };
  return options;
}

TEST_CASE("a checkpoint is restored into the caller's memory, and views lead there") {
  const Scratch scratch;
  write_checkpoint(scratch / "p", contents());
  for (const Verify verify : {Verify::Full, Verify::Lazy, Verify::None}) {
    for (const auto method : {std::optional<IoMethod>(), std::optional(IoMethod::Read),
                              std::optional(IoMethod::Direct)}) {
      if (method == IoMethod::Direct && !has_direct_reads(scratch / kShard)) continue;
      Arena arena;
      {
        RestoreOptions options = into(arena, method);
        options.verify = verify;
        const auto restored = restore(scratch / "p", options);
        REQUIRE_OK(restored);
        CHECK(restored->method == method.value_or(IoMethod::Read));
        CHECK(arena.given() == 2);  // one for each shard
        test::check_holds(restored->checkpoint, contents());
        for (const char* name : {"big", "byte", "odd", "empty"})
          CHECK(arena.holds(*test::tensor_of(restored->checkpoint, name).bytes()));
        CHECK(test::tensor_of(restored->checkpoint, "big").as<float>());
        const auto verified = restored->checkpoint.verify();
        REQUIRE_OK(verified);
        CHECK(verified->damage.empty());
        const Checkpoint copy = restored->checkpoint;
        CHECK(arena.alive() == 2);
      }
      CHECK(arena.alive() == 0);  // with the last copy of the checkpoint
    }
  }
}

TEST_CASE("memory that Direct cannot use is served by Read, or refused where Direct is requested") {
  const Scratch scratch;
  write_checkpoint(scratch / "p", contents());
  for (const std::uint64_t skew_bytes : {1u, 64u, 512u}) {
    Arena arena(skew_bytes);
    const auto restored = restore(scratch / "p", into(arena));
    REQUIRE_OK(restored);
    CHECK(restored->method == IoMethod::Read);
    test::check_holds(restored->checkpoint, contents());
    // Views need the alignment that the memory has, copies none.
    const Tensor tensor = test::tensor_of(restored->checkpoint, "big");
    CHECK(tensor.as<float>().has_value() == (skew_bytes % 4 == 0));
    CHECK(tensor.values<float>());
    CHECK(refusal(restore(scratch / "p", into(arena, IoMethod::Direct)),
                  {"IoMethod::Direct", "multiple of 4096", "use IoMethod::Read"}) == Code::Invalid);
  }
}

TEST_CASE("a method that leaves the bytes in the page cache is refused with the caller's memory") {
  const Scratch scratch;
  write_checkpoint(scratch / "p", contents());
  for (const IoMethod method : {IoMethod::Map, IoMethod::Populate}) {
    Arena arena;
    CHECK(refusal(restore(scratch / "p", into(arena, method)),
                  {"page cache", "use Read or Direct"}) == Code::Invalid);
    CHECK(arena.given() == 0);
  }
}

TEST_CASE("too little memory is an error, and what was given goes") {
  const Scratch scratch;
  write_checkpoint(scratch / "p", contents());
  Arena arena(0, 1);
  CHECK(refusal(restore(scratch / "p", into(arena)), {kShard, "needs", "RestoreOptions::memory"}) ==
        Code::OutOfMemory);
  CHECK(arena.given() == 1);
  CHECK(arena.alive() == 0);
  RestoreOptions throwing;
  throwing.memory = [](std::uint64_t) -> CallerMemory { throw std::bad_alloc(); };
  CHECK(refusal(restore(scratch / "p", throwing)) == Code::OutOfMemory);
}

TEST_CASE("with the caller's memory the table means Read or Direct") {
  using internal::choose_for_memory;
  internal::IoConditions seen;
  seen.payload_bytes = 100;
  seen.resident_bytes = 0;
  seen.available_bytes = 1000;
  seen.file_system = {"ext4", true, false};
  seen.direct_reads = true;
  CHECK(internal::choose(seen).method == IoMethod::Populate);
  CHECK(choose_for_memory(seen).method == IoMethod::Read);
  CHECK(choose_for_memory(seen).reason.find("memory of the caller") != std::string::npos);
  seen.available_bytes = 150;
  CHECK(choose_for_memory(seen).method == IoMethod::Direct);
  seen.available_bytes = 50;
  CHECK(internal::choose(seen).method == IoMethod::Map);
  CHECK(choose_for_memory(seen).method == IoMethod::Direct);
  seen.direct_reads = false;
  CHECK(choose_for_memory(seen).method == IoMethod::Read);
}

TEST_CASE("without descriptors a restore into the caller's memory fails, and the memory goes") {
  const Scratch scratch;
  write_checkpoint(scratch / "p", contents());
  for (rlim_t free = 0;; ++free) {
    REQUIRE(free < 20);
    Arena arena;
    const int next = ::dup(0);
    ::close(next);
    bool restored = false;
    {
      const test::Limit limit(RLIMIT_NOFILE, static_cast<rlim_t>(next) + free);
      const auto result = restore(scratch / "p", into(arena));
      restored = result.has_value();
      if (!restored) CHECK(result.error().code == Code::Io);
    }
    CHECK(arena.alive() == 0);
    if (restored) break;
  }
}

TEST_CASE("damage is found in the caller's memory, at once and on first use, and it goes") {
  const Scratch scratch;
  write_checkpoint(scratch / "p", contents());
  const auto offset_bytes =
      test::tensor_of(test::open_checkpoint(scratch / "p"), "odd").offset_bytes();
  test::flip_bit(scratch / kShard, offset_bytes + 4'500'000);
  for (const IoMethod method : {IoMethod::Read, IoMethod::Direct}) {
    if (method == IoMethod::Direct && !has_direct_reads(scratch / kShard)) continue;
    Arena arena;
    CHECK(refusal(restore(scratch / "p", into(arena, method)), {kShard, "\"odd\""}) ==
          Code::Corrupt);
    CHECK(arena.alive() == 0);
    RestoreOptions lazy = into(arena, method);
    lazy.verify = Verify::Lazy;
    const auto restored = restore(scratch / "p", lazy);
    REQUIRE_OK(restored);
    CHECK(test::tensor_of(restored->checkpoint, "big").bytes());
    CHECK(refusal(test::tensor_of(restored->checkpoint, "odd").bytes()) == Code::Corrupt);
  }
}

TEST_CASE("memory without an owner stays the caller's, for example pages that are locked") {
  const Scratch scratch;
  write_checkpoint(scratch / "p", {raw("w", DType::Float32, {1000})});
  constexpr std::size_t kBytes = 1u << 20;
  void* const memory =
      ::mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  REQUIRE(memory != MAP_FAILED);
  static_cast<void>(::mlock(memory, kBytes));  // as much as the limits allow
  {
    RestoreOptions options;
    options.memory = [&](std::uint64_t) {
      return CallerMemory{{static_cast<std::byte*>(memory), kBytes}, nullptr};  // more than needed
    };
    const auto restored = restore(scratch / "p", options);
    REQUIRE_OK(restored);
    test::check_holds(restored->checkpoint, {raw("w", DType::Float32, {1000})});
  }
  static_cast<std::byte*>(memory)[0] = std::byte{1};  // still there
  CHECK(::munmap(memory, kBytes) == 0);
}

TEST_CASE("every format is restored into the caller's memory as it opens, decoded ones too") {
  for (const char* path :
       {"tensorflow/shapes/all", "tensorflow/partitioned/part", "tensorflow/strings/all",
        "tensorflow/sharded/shard-42", "tensorflow/v1/old.ckpt-3", "gguf/types.gguf",
        "gguf/model-00001-of-00003.gguf", "hdf5/latest.h5", "onnx/listed.onnx", "pytorch/views.pt",
        "pytorch/deflated.pt"}) {
    INFO(path);
    const auto opened = test::open_checkpoint(golden(path));
    Arena arena(64);
    const auto restored = restore(golden(path), into(arena));
    REQUIRE_OK(restored);
    REQUIRE(restored->checkpoint.tensor_count() == opened.tensor_count());
    for (std::size_t i = 0; i < opened.tensor_count(); ++i) {
      const Tensor wanted = opened.tensor_at(i);
      const Tensor got = restored->checkpoint.tensor_at(i);
      if (wanted.dtype() == DType::String) {
        CHECK(std::ranges::equal(*got.strings(), *wanted.strings()));
      } else {
        CHECK(test::bytes_of(got) == test::bytes_of(wanted));
      }
    }
  }
}

}  // namespace
}  // namespace cairn
