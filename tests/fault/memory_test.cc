// No memory: each allocation of each call fails, once, and from there on. The call answers with an
// error, what was there before stays whole, and the same call succeeds when there is memory again,
// or had done its work.

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstdlib>
#include <functional>
#include <new>
#include <thread>

#include "tests/unit/sandbox.h"

namespace {

// How many allocations still succeed; below zero: all do.
std::atomic<long> left = -1;
std::atomic<bool> persistent = false;
std::atomic<long> failed = 0;

bool fails() {
  if (left.load(std::memory_order_relaxed) < 0) return false;
  if (left.fetch_sub(1) > 0) return false;
  left = persistent ? 0 : -1;
  ++failed;
  return true;
}

void* allocate(std::size_t size, std::size_t alignment) {
  if (fails()) throw std::bad_alloc();
  size = (size + alignment - 1) / alignment * alignment;
  void* const memory = std::aligned_alloc(alignment, size == 0 ? alignment : size);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

}  // namespace

void* operator new(std::size_t size) { return allocate(size, alignof(std::max_align_t)); }
void* operator new(std::size_t size, std::align_val_t alignment) {
  return allocate(size, static_cast<std::size_t>(alignment));
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept { std::free(memory); }

namespace cairn {
namespace {

using test::Sandbox;
using test::fs::path;

const test::Save kSmall{{{"a", test::floats({1, 2})}, {"b", test::int_scalar(3)}},
                        {{"s", {"x", "", "a string that is longer than fifteen letters"}}}};

// One call, on a fresh directory that holds the checkpoint m (both indexes), t (TensorFlow's index
// alone), c (P.cairn alone) and x.safetensors, and a catalog that names m.
struct Call {
  const char* name;
  std::function<Result<void>(const path& dir)> run;
};

template <class T>
Result<void> forget(Result<T> result) {
  if (!result) return std::move(result).error();
  return {};
}

Result<void> open_and_read(const path& given, Access access) {
  OpenOptions options;
  options.access = access;
  auto checkpoint = Checkpoint::open(given, options);
  if (!checkpoint) return std::move(checkpoint).error();
  if (auto seen = checkpoint->verify(); !seen) return std::move(seen).error();
  for (std::size_t i = 0; i < checkpoint->tensor_count(); ++i) {
    const Tensor tensor = checkpoint->tensor_at(i);
    if (tensor.dtype() == DType::String) {
      if (auto strings = tensor.strings(); !strings) return std::move(strings).error();
    } else if (auto bytes = tensor.bytes(); !bytes) {
      return std::move(bytes).error();
    }
  }
  return {};
}

Result<void> transfer_to(const path& dir, Format format) {
  TransferOptions elsewhere;
  elsewhere.output = dir / "out";
  elsewhere.allow_lossy = true;
  return forget(convert(dir / "t", format, elsewhere));
}

Result<void> save_step(const path& dir) {
  auto saver = Saver::open(dir);
  if (!saver) return std::move(saver).error();
  const float values[] = {1, 2, 3, 4};
  const NamedTensor tensors[] = {
      {{"w", DType::Float32, {4}}, std::as_bytes(std::span(values)), {}}};
  SaveOptions options;
  options.step = 7;
  return forget(saver->save("m", tensors, options));
}

Result<void> open_opened(const path& dir) {
  const int fd = ::open(dir.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  auto opened = Checkpoint::open_descriptor(fd, "m");
  ::close(fd);
  return forget(std::move(opened));
}

// By an executor that runs the tasks at once, so that each time the same allocation fails.
Result<void> restore_in_background(const path& dir) {
  static std::array<std::byte, 1 << 16> memory;
  RestoreOptions options;
  options.exec.executor = [](const std::function<void()>& task) {
    task();
    return true;
  };
  options.memory = [](std::uint64_t) { return CallerMemory{memory, nullptr}; };
  return forget(restore_async(dir / "x.safetensors", options).wait());
}

// A poll that found no memory is tried again by the next one.
Result<void> follow(const path& dir) {
  auto live = Live::open(dir, {.poll = std::chrono::milliseconds(1)});
  if (!live) return std::move(live).error();
  for (int i = 0; i < 20 && !live->current(); ++i)
    std::this_thread::sleep_for(live->poll(std::chrono::milliseconds(1)));
  if (!live->current()) return Error{Code::OutOfMemory, 0, "nothing was published"};
  static_cast<void>(live->rollback());
  auto status = live->status();
  if (!status) return std::move(status).error();
  return forget(prometheus_text(*status));
}

const Call kCalls[] = {
    {"follow", follow},
    {"open P.cairn", [](const path& dir) { return open_and_read(dir / "m", Access::Shared); }},
    {"open a copy", [](const path& dir) { return open_and_read(dir / "m", Access::Copy); }},
    {"open P.index", [](const path& dir) { return open_and_read(dir / "t", Access::Shared); }},
    {"open a directory", [](const path& dir) { return open_and_read(dir, Access::Shared); }},
    {"open safetensors",
     [](const path& dir) { return open_and_read(dir / "x.safetensors", Access::Shared); }},
    {"open a descriptor", open_opened},
    {"restore in the background", restore_in_background},
    {"restore", [](const path& dir) { return forget(restore(dir / "m")); }},
    {"save", [](const path& dir) { return test::try_save(dir / "new", kSmall); }},
    {"save over", [](const path& dir) { return test::try_save(dir / "m", kSmall); }},
    {"save a step", save_step},
    {"import", [](const path& dir) { return forget(import_index(dir / "t")); }},
    {"export", [](const path& dir) { return forget(export_index(dir / "c", Format::TensorFlow)); }},
    {"convert to Cairn", [](const path& dir) { return transfer_to(dir, Format::Cairn); }},
    {"convert to safetensors",
     [](const path& dir) { return transfer_to(dir, Format::Safetensors); }},
    {"merge",
     [](const path& dir) {
       TransferOptions elsewhere;
       elsewhere.output = dir / "out";
       const path sources[] = {dir / "x.safetensors", dir / "m"};
       return forget(merge(sources, elsewhere));
     }},
    {"rename",
     [](const path& dir) {
       TransferOptions replace;
       replace.replace = true;
       return forget(rename_tensors(dir / "m", {{{"a", "z"}}, {}}, replace));
     }},
    {"the catalog", [](const path& dir) { return forget(latest_whole(dir)); }},
};

// What every call finds.
struct Ground {
  Sandbox made;
  test::Values before;

  Ground() {
    test::save(made / "m", kSmall);
    before = *test::values_at(made / "m");
    test::Save foreign = kSmall;
    foreign.options.cairn_index = false;
    test::save(made / "t", foreign);
    test::Save own = kSmall;
    own.options.tensorflow_index = false;
    test::save(made / "c", own);
    test::save(made / "x", {{{"x", test::floats({4})}}});
    test::fs::rename(made / "x.data-00000-of-00001", made / "x.safetensors");
    test::fs::remove(made / "x.cairn");
    test::fs::remove(made / "x.index");
    test::write_file(made / "checkpoint", "model_checkpoint_path: \"m\"\n");
  }
};

struct Counts {
  long failures = 0;
  long errors = 0;
};

// What the test itself allocates may fail too; what a public function throws ends the process.
Result<void> run(const Call& call, const path& dir) {
  try {
    return call.run(dir);
  } catch (const std::bad_alloc&) {
    return Error{Code::OutOfMemory, 0, "in the test"};
  }
}

void starve(const Ground& ground, const Call& call, bool from_there_on, Counts& counts) {
  for (long n = 0;; n += from_there_on ? 3 : 1) {
    Sandbox box;
    test::fs::copy(ground.made.root(), box.root(), test::fs::copy_options::recursive);
    failed = 0;
    persistent = from_there_on;
    left = n;
    const Result<void> done = run(call, box.root());
    left = -1;
    const bool any_failed = failed != 0;
    INFO(std::string(call.name), ", allocation ", n, ": ", test::refusal(done));
    counts.failures += any_failed;
    counts.errors += !done;
    if (!any_failed) {
      CHECK(done);
      return;
    }
    if (!done) CHECK(done.error().code == Code::OutOfMemory);
    if (done || std::string(call.name) != "rename") {
      const auto after = test::values_at(box / "m");
      REQUIRE_MESSAGE(after, test::refusal(after));
      if (std::string(call.name) != "rename") CHECK(*after == ground.before);
    }
    if (done) continue;
    const Result<void> again = run(call, box.root());
    if (again) continue;
    // What failed came behind the commit: then its work is done, and whole.
    CHECK_MESSAGE((again.error().code == Code::Exists || again.error().code == Code::NotFound),
                  test::refusal(again));
    const path done_file = test::fs::exists(box / "out.safetensors") ? "out.safetensors" : "out";
    const auto there =
        test::values_at(box / (std::string(call.name) == "rename" ? "m" : done_file));
    CHECK_MESSAGE(there, test::refusal(there));
  }
}

TEST_CASE("each allocation fails, once and for good: an error, and what was there stays whole") {
  const Ground ground;
  for (const bool from_there_on : {false, true}) {
    Counts all;
    for (const Call& call : kCalls) {
      Counts counts;
      starve(ground, call, from_there_on, counts);
      CHECK(counts.errors > 0);
      all.failures += counts.failures;
      all.errors += counts.errors;
    }
    MESSAGE(all.failures, std::string(from_there_on ? " failed for good, " : " failed once, "),
            all.errors, " calls said so");
  }
}

// ---- A Writer's calls

struct Step {
  const char* name;
  std::function<Result<void>(Writer&)> run;
};

std::span<const std::byte> as_bytes_of(std::span<const float> values) {
  return std::as_bytes(values);
}

// A call that found no memory is made again, and the commit holds what was given.
void starve_writer(const Step& step, std::span<const float> values, Counts& counts) {
  const std::vector<std::int64_t> shape{static_cast<std::int64_t>(values.size())};
  for (long n = 0;; ++n) {
    Sandbox box;
    const std::vector<TensorSpec> specs{
        {"a", DType::Float32, shape}, {"b", DType::Float32, shape}, {"s", DType::String, {2}}};
    auto writer = Writer::create(box / "m", specs);
    REQUIRE(writer);
    const ExecOptions alone{.threads_max = 1};
    failed = 0;
    left = n;
    Result<void> done = step.run(*writer);
    left = -1;
    INFO(std::string(step.name), ", allocation ", n, ": ", test::refusal(done));
    const bool any_failed = failed != 0;
    counts.failures += any_failed;
    counts.errors += !done;
    if (!done) {
      CHECK(done.error().code == Code::OutOfMemory);
      done = step.run(*writer);
      REQUIRE_MESSAGE(done, test::refusal(done));
    }
    const std::string_view strings[] = {"x", "a string that is longer than fifteen letters"};
    for (const char* name : {"a", "b"}) static_cast<void>(writer->write(name, as_bytes_of(values)));
    static_cast<void>(writer->write_strings("s", strings));
    REQUIRE(writer->commit(alone));
    const auto opened = Checkpoint::open(box / "m");
    REQUIRE(opened);
    const auto seen = opened->verify();
    REQUIRE(seen);
    CHECK(seen->damage.empty());
    for (const char* name : {"a", "b"}) {
      const auto stored = opened->tensor(name)->as<float>();
      REQUIRE(stored);
      CHECK(std::ranges::equal(*stored, values));
    }
    CHECK(std::ranges::equal(*opened->tensor("s")->strings(), strings));
    if (!any_failed) return;
  }
}

TEST_CASE("a Writer takes a call again that found no memory") {
  const std::vector<float> values(600'000, 1.5f);  // more than one chunk
  const std::string_view strings[] = {"x", "a string that is longer than fifteen letters"};
  const auto bytes = as_bytes_of(values);
  const NamedBytes both[] = {{"a", bytes}, {"b", bytes}};
  const Step steps[] = {
      {"append", [&](Writer& writer) { return writer.append("a", bytes); }},
      {"write", [&](Writer& writer) { return writer.write("a", bytes); }},
      {"write_all", [&](Writer& writer) { return writer.write_all(both, {.threads_max = 1}); }},
      {"write_all by threads", [&](Writer& writer) { return writer.write_all(both); }},
      {"write_strings", [&](Writer& writer) { return writer.write_strings("s", strings); }},
  };
  for (const Step& step : steps) {
    Counts counts;
    starve_writer(step, values, counts);
    CHECK(counts.errors > 3);
  }
}

// ---- Address space
#ifndef CAIRN_SANITIZED  // a sanitizer takes terabytes of it

// What the child answers: 0 it opened, 1 OutOfMemory or Io, 2 anything else.
int open_within(const path& prefix, std::uint64_t limit_bytes) {
  const pid_t child = ::fork();
  if (child == 0) {
    const rlimit limit{limit_bytes, limit_bytes};
    ::setrlimit(RLIMIT_AS, &limit);
    const auto done = open_and_read(prefix, Access::Shared);
    if (done) ::_exit(0);
    ::_exit(done.error().code == Code::OutOfMemory || done.error().code == Code::Io ? 1 : 2);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 3;
}

TEST_CASE("an address space that is too small is an error, at every size") {
  Sandbox box;
  test::save(box / "m", {{{"big", {DType::Uint8, {8 << 20}, std::string(8 << 20, 'x')}}}});
  int opened = 0;
  int refused = 0;
  for (std::uint64_t limit = 1 << 20; limit <= (std::uint64_t{1} << 30); limit += limit / 8) {
    const int answer = open_within(box / "m", limit);
    INFO("an address space of ", limit, " bytes");
    CHECK(answer <= 1);
    ++(answer == 0 ? opened : refused);
  }
  MESSAGE(refused, " refused, ", opened, " opened");
  CHECK(refused > 0);
  CHECK(opened > 0);
}
#endif

}  // namespace
}  // namespace cairn
