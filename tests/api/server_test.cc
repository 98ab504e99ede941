// A server that brings its threads, memory and log, as README.md shows it, against the shared
// library alone.

#include <cairn/cairn.h>
#include <doctest/doctest.h>
#include <stdlib.h>

#include <cstdlib>
#include <filesystem>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace {

// The simplest pool: a thread for each task.
class Pool {
 public:
  bool submit(std::function<void()> task) {
    const std::lock_guard lock(mutex_);
    threads_.emplace_back(std::move(task));
    return true;
  }

 private:
  std::mutex mutex_;
  std::vector<std::jthread> threads_;
};

// Gives aligned memory, and takes it back when it goes.
class Arena {
 public:
  std::span<std::byte> pinned(std::uint64_t size_bytes) {
    constexpr std::uint64_t kAlignment = cairn::kDirectAlignment;
    const std::uint64_t rounded = (size_bytes + kAlignment - 1) / kAlignment * kAlignment;
    blocks_.push_back({std::aligned_alloc(kAlignment, rounded), &std::free});
    return {static_cast<std::byte*>(blocks_.back().get()), size_bytes};
  }

 private:
  std::vector<std::unique_ptr<void, decltype(&std::free)>> blocks_;
};

TEST_CASE("a server gives Cairn its threads, its memory and its log") {
  std::string directory = (std::filesystem::temp_directory_path() / "cairn-server-XXXXXX").string();
  REQUIRE(::mkdtemp(directory.data()) != nullptr);
  const std::string prefix = directory + "/m";
  const std::vector<float> values(100'000, 2.5f);
  auto writer = cairn::Writer::create(prefix, {{"w", cairn::DType::Float32, {100'000}}});
  REQUIRE(writer);
  REQUIRE(writer->write("w", values));
  REQUIRE(writer->commit());
  {
    Pool pool;
    Arena arena;
    std::vector<std::string> heard;
    cairn::RestoreOptions options;
    options.exec.executor = [&](std::function<void()> task) {
      return pool.submit(std::move(task));
    };
    options.memory = [&](std::uint64_t size_bytes) {
      return cairn::CallerMemory{arena.pinned(size_bytes), {}};
    };
    options.on_event = [&](const cairn::Event& event) {
      heard.emplace_back(cairn::name(event.kind));
    };
    cairn::Future<cairn::Restored> restoring = cairn::restore_async(prefix, options);
    const auto restored = restoring.wait();
    REQUIRE(restored);
    CHECK(restored->checkpoint.tensor("w")->as<float>()->back() == 2.5f);
    CHECK(heard == std::vector<std::string>{"checked", "opened"});
    cairn::OpenOptions listing;
    listing.index_only = true;
    auto opening = cairn::Checkpoint::open_async(prefix, listing);
    CHECK(opening.wait_for(std::chrono::seconds(60)));
    CHECK(opening.wait().value().tensor_count() == 1);
    opening.cancel();
    CHECK(opening.done());
  }
  std::filesystem::remove_all(directory);
}

}  // namespace
