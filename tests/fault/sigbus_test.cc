// A SigbusGuard: faults inside Cairn's mappings become zeros, a mark and a call; all else goes on
// as if it were not there.

#include <doctest/doctest.h>
#include <fcntl.h>
#include <setjmp.h>
#include <sys/mman.h>

#include <atomic>
#include <fstream>
#include <thread>

#include "crew.h"
#include "faults.h"

namespace cairn::faults {
namespace {

using live::Place;

Checkpoint open(const std::filesystem::path& prefix, Access access = Access::Shared,
                Verify verify = Verify::Lazy) {
  OpenOptions options;
  options.access = access;
  options.verify = verify;
  auto checkpoint = Checkpoint::open(prefix, options);
  must(checkpoint);
  return *checkpoint;
}

Tensor tensor_of(const Checkpoint& checkpoint, std::string_view name) {
  auto tensor = checkpoint.tensor(name);
  must(tensor);
  return *tensor;
}

std::span<const std::byte> view_of(const Checkpoint& checkpoint, std::string_view name = "w") {
  auto bytes = tensor_of(checkpoint, name).bytes();
  must(bytes);
  return *bytes;
}

SigbusGuard guard(const SigbusGuardOptions& options = {}) {
  auto installed = SigbusGuard::install(options);
  must(installed);
  return *std::move(installed);
}

struct sigaction action_now() {
  struct sigaction action{};
  ::sigaction(SIGBUS, nullptr, &action);
  return action;
}

void handle_by(void (*handler)(int), int flags = 0) {
  struct sigaction action{};
  action.sa_handler = handler;
  action.sa_flags = flags;
  ::sigaction(SIGBUS, &action, nullptr);
}

// A mapping of the test's own, behind the end of its file.
class OwnMapping {
 public:
  explicit OwnMapping(const Place& place) {
    const auto path = place / "own";
    std::ofstream(path) << std::string(kPageBytes, 'x');
    const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    memory_ = ::mmap(nullptr, kPageBytes, PROT_READ, MAP_SHARED, fd, 0);
    ::close(fd);
    if (memory_ == MAP_FAILED) throw std::runtime_error("cannot map");
    cut(path, 0);
  }
  OwnMapping(const OwnMapping&) = delete;
  OwnMapping& operator=(const OwnMapping&) = delete;
  ~OwnMapping() { ::munmap(memory_, kPageBytes); }
  bool touch() const { return faults::touch({static_cast<std::byte*>(memory_), kPageBytes}) <= 1; }

 private:
  void* memory_ = nullptr;
};

template <class T>
bool refused(const Result<T>& result, std::string_view part = "while it was mapped") {
  return !result && result.error().code == Code::Io &&
         result.error().what.find(part) != std::string::npos;
}

// ---- What it does -------------------------------------------------------------------------------

TEST_CASE("without a guard, touching a shard that was cut off kills the process") {
  const Place place;
  save(place / "m");
  const Checkpoint checkpoint = open(place / "m");
  const auto bytes = view_of(checkpoint);
  cut(shard_of(place / "m"), 0);
  CHECK(dies([&] { return touch(bytes) != 0; }));
}

TEST_CASE("with a guard what is missing reads as zeros, and what is there as before") {
  const Place place;
  save(place / "m");
  const SigbusGuard guarded = guard();
  const Checkpoint checkpoint = open(place / "m");
  const auto bytes = view_of(checkpoint);
  cut(shard_of(place / "m"), 1 << 20);
  CHECK_FALSE(checkpoint.faulted());
  CHECK(touch(bytes.first(1 << 19)) == 0);
  CHECK_FALSE(checkpoint.faulted());
  const std::size_t zeros = touch(bytes);
  CHECK(checkpoint.faulted());
  CHECK(zeros >= (3u << 20) / kPageBytes);
  CHECK(zeros <= (3u << 20) / kPageBytes + 1);
}

TEST_CASE("a checkpoint that faulted refuses that shard, and no other") {
  const Place place;
  save(place / "m");
  save(place / "other");
  const SigbusGuard guarded = guard();
  const Checkpoint checkpoint = open(place / "m");
  const Checkpoint other = open(place / "other");
  const auto bytes = view_of(checkpoint);
  const auto shard = shard_of(place / "m");
  const auto size_bytes = std::filesystem::file_size(shard);
  cut(shard, 0);
  touch(bytes);
  cut(shard, size_bytes);  // whatever becomes of the file
  const Tensor w = tensor_of(checkpoint, "w");
  std::vector<std::byte> out(w.size_bytes());
  const Read read{"w", {}, out};
  const Range part[]{{0, 100}};
  CHECK(refused(w.bytes(), shard.string()));
  CHECK(refused(w.as<std::int32_t>()));
  CHECK(refused(w.values<std::int32_t>()));
  CHECK(refused(w.values<std::int32_t>(part)));
  CHECK(refused(w.read(out)));
  CHECK(refused(checkpoint.read(std::span(&read, 1))));
  CHECK(refused(checkpoint.verify()));
  CHECK(refused(checkpoint.prefetch()));
  CHECK(refused(tensor_of(checkpoint, "v").bytes()));
  CHECK((*tensor_of(checkpoint, "text").strings())[0] == "a string");
  CHECK_FALSE(other.faulted());
  CHECK(touch(view_of(other)) == 0);
  CHECK(other.verify());
  CHECK_FALSE(open(place / "m", Access::Shared, Verify::None).faulted());
}

struct Heard {
  std::atomic<int> calls{0};
  std::atomic<const std::byte*> mapping{nullptr};
  std::atomic<std::uint64_t> offset_bytes{0};
};

SigbusGuardOptions told_to(Heard& heard) {
  SigbusGuardOptions options;
  options.context = &heard;
  options.on_fault = [](const MappingFault& fault, void* context) noexcept {
    auto& told = *static_cast<Heard*>(context);
    ++told.calls;
    told.mapping = fault.mapping.data();
    told.offset_bytes = fault.offset_bytes;
  };
  return options;
}

TEST_CASE("on_fault is called once for each mapping, with what was touched") {
  const Place place;
  save(place / "m");
  save(place / "n");
  Heard heard;
  const SigbusGuard guarded = guard(told_to(heard));
  const Checkpoint m = open(place / "m");
  const Checkpoint n = open(place / "n");
  const auto bytes = view_of(m);
  const auto more = view_of(n);
  cut(shard_of(place / "m"), 0);
  touch(bytes.subspan(5 * kPageBytes));
  touch(bytes);
  CHECK(heard.calls == 1);
  const std::uint64_t at = tensor_of(m, "w").offset_bytes() + 5 * kPageBytes;
  CHECK(heard.offset_bytes == at);
  CHECK(heard.mapping == bytes.data() - tensor_of(m, "w").offset_bytes());
  cut(shard_of(place / "n"), 0);
  touch(more);
  CHECK(heard.calls == 2);
}

TEST_CASE("mappings that were made before the guard are guarded, and those that went are not") {
  const Place place;
  save(place / "m");
  std::vector<Checkpoint> before;
  for (int i = 0; i < 200; ++i) before.push_back(open(place / "m"));  // more than one chunk's
  before.erase(before.begin(), before.begin() + 150);
  const SigbusGuard guarded = guard();
  std::vector<std::span<const std::byte>> views;
  for (const Checkpoint& checkpoint : before) views.push_back(view_of(checkpoint));
  cut(shard_of(place / "m"), 0);
  for (const auto bytes : views) touch(bytes);
  for (const Checkpoint& checkpoint : before) CHECK(checkpoint.faulted());
  before.clear();
  CHECK(dies([&] { return OwnMapping(place).touch(); }));
  save(place / "n");
  CHECK_FALSE(open(place / "n").faulted());  // in a place of the list that was used before
}

std::size_t mapping_count() {
  std::ifstream maps("/proc/self/maps");
  std::size_t count = 0;
  for (std::string line; std::getline(maps, line);) ++count;
  return count;
}

TEST_CASE("a model that was cut off takes its readers few signals and few mappings") {
  const Place place;
  save(place / "m");
  const SigbusGuard guarded = guard();
  const Checkpoint checkpoint = open(place / "m");
  const auto bytes = view_of(checkpoint);
  cut(shard_of(place / "m"), 0);
  const std::size_t before = mapping_count();
  for (std::size_t i = 0; i < 512; ++i) touch(bytes.subspan(i * 389 % 512 * 2 * kPageBytes, 1));
  CHECK(mapping_count() <= before + 24);  // 11 faults reach all of 1025 pages
  CHECK(touch(bytes) == 1024);
}

TEST_CASE("pages of a private mapping are zeros that can be written to") {
  const Place place;
  save(place / "m");
  const SigbusGuard guarded = guard();
  const Checkpoint checkpoint = open(place / "m", Access::Private);
  const auto values = tensor_of(checkpoint, "w").as_mutable<std::int32_t>();
  must(values);
  cut(shard_of(place / "m"), 0);
  (*values)[5000] = 7;
  CHECK((*values)[5000] == 7);
  CHECK(checkpoint.faulted());
  std::vector<std::int32_t> out(kCount);
  CHECK(refused(tensor_of(checkpoint, "w").read(std::as_writable_bytes(std::span(out)))));
}

TEST_CASE("bytes that were copied need no guard") {
  const Place place;
  save(place / "m");
  const Checkpoint checkpoint = open(place / "m", Access::Copy);
  cut(shard_of(place / "m"), 0);
  CHECK(survives([&] { return touch(view_of(checkpoint)) == 0 && !checkpoint.faulted(); }));
}

TEST_CASE("an index of any size may be cut off, and needs no guard") {
  const Place place;
  save(place / "m", 4000);
  const auto index = (place / "m").string() + ".cairn";
  REQUIRE(std::filesystem::file_size(index) > (1u << 16));
  const auto list = [&](const Checkpoint& checkpoint) {
    std::size_t bytes = 0;
    for (std::size_t i = 0; i < checkpoint.tensor_count(); ++i)
      bytes += checkpoint.tensor_at(i).name().size();
    return bytes > 4000;
  };
  const Checkpoint checkpoint = open(place / "m");
  cut(index, 0);
  CHECK(survives([&] { return list(checkpoint); }));
}

// ---- Threads and processes ----------------------------------------------------------------------

TEST_CASE("threads that fault at once all go on, and one of them is told") {
  for (int round = 0; round < 20; ++round) {
    const Place place;
    save(place / "m");
    Heard heard;
    const SigbusGuard guarded = guard(told_to(heard));
    const Checkpoint checkpoint = open(place / "m");
    const auto bytes = view_of(checkpoint);
    cut(shard_of(place / "m"), 0);
    std::atomic<std::size_t> zeros = 0;
    {
      std::vector<std::jthread> threads;
      for (int i = 0; i < 8; ++i) threads.emplace_back([&] { zeros += touch(bytes); });
    }
    CHECK(zeros == 8u * 1024);
    CHECK(heard.calls == 1);
    CHECK(checkpoint.faulted());
  }
}

TEST_CASE("a forked child is guarded, and marks what is its own") {
  const Place place;
  save(place / "m");
  const SigbusGuard guarded = guard();
  const Checkpoint checkpoint = open(place / "m");
  const auto bytes = view_of(checkpoint);
  cut(shard_of(place / "m"), 0);
  CHECK(survives([&] { return touch(bytes) == 1024 && checkpoint.faulted(); }));
  CHECK_FALSE(checkpoint.faulted());
}

// ---- What is not ours ---------------------------------------------------------------------------

sigjmp_buf back;
std::atomic<int> handled{0};
std::atomic<int> handled_code{0};

void note_and_leave(int, siginfo_t* info, void*) {
  ++handled;
  handled_code = info->si_code;
  ::siglongjmp(back, 1);
}

void note(int) { ++handled; }

TEST_CASE("a fault elsewhere goes to the handler that was there, with what it is told") {
  const Place place;
  const OwnMapping own(place);
  struct sigaction action{};
  action.sa_sigaction = note_and_leave;
  action.sa_flags = SA_SIGINFO;
  const struct sigaction before = action_now();
  ::sigaction(SIGBUS, &action, nullptr);
  {
    const SigbusGuard guarded = guard();
    handled = 0;
    if (::sigsetjmp(back, 1) == 0) own.touch();
    CHECK(handled == 1);
    CHECK(handled_code == BUS_ADRERR);
    if (::sigsetjmp(back, 1) == 0) own.touch();
    CHECK(handled == 2);
  }
  ::sigaction(SIGBUS, &before, nullptr);
}

TEST_CASE("a fault elsewhere is the death that it would have been") {
  const Place place;
  const OwnMapping own(place);
  for (void (*handler)(int) : {SIG_DFL, SIG_IGN}) {
    CHECK(dies([&] {
      handle_by(handler);
      const SigbusGuard guarded = guard();
      return own.touch();
    }));
  }
}

TEST_CASE("a signal that somebody sends does what it would have done") {
  const auto sent_to = [](void (*handler)(int), int flags = 0) {
    handle_by(handler, flags);
    const SigbusGuard guarded = guard();
    handled = 0;
    ::raise(SIGBUS);
    return true;
  };
  CHECK(survives([&] { return sent_to(note) && handled == 1; }));
  CHECK(survives([&] { return sent_to(SIG_IGN) && handled == 0; }));
  CHECK(dies([&] { return sent_to(SIG_DFL); }));
  // Once, and then as by default.
  CHECK(
      dies([&] { return sent_to(note, static_cast<int>(SA_RESETHAND)) && ::raise(SIGBUS) != 0; }));
}

// ---- Its life -----------------------------------------------------------------------------------

TEST_CASE("when the guard ends, what was there before is there again") {
  const Place place;
  save(place / "m");
  const Checkpoint checkpoint = open(place / "m");
  const auto bytes = view_of(checkpoint);
  const struct sigaction before = action_now();
  {
    const SigbusGuard guarded = guard();
    CHECK((action_now().sa_sigaction != before.sa_sigaction));
  }
  CHECK((action_now().sa_handler == before.sa_handler));
  CHECK(action_now().sa_flags == before.sa_flags);
  cut(shard_of(place / "m"), 0);
  CHECK(dies([&] { return touch(bytes) != 0; }));
  const SigbusGuard again = guard();
  CHECK(touch(bytes) == 1024);
}

TEST_CASE("a process has one guard") {
  SigbusGuard guarded = guard();
  const auto second = SigbusGuard::install();
  REQUIRE_FALSE(second);
  CHECK(second.error().code == Code::Exists);
  const SigbusGuard moved = std::move(guarded);
  CHECK_FALSE(SigbusGuard::install());
}

TEST_CASE("a guard that ends under another handler is harmless, and is not doubled") {
  CHECK(survives([] {
    handle_by(note);
    std::optional<SigbusGuard> guarded = guard();
    const struct sigaction ours = action_now();
    static void (*below)(int, siginfo_t*, void*) = ours.sa_sigaction;
    struct sigaction over{};
    over.sa_sigaction = [](int number, siginfo_t* info, void* context) {
      below(number, info, context);
    };
    over.sa_flags = SA_SIGINFO;
    ::sigaction(SIGBUS, &over, nullptr);
    guarded.reset();
    handled = 0;
    ::raise(SIGBUS);  // over → ours, which is off → note
    const auto again = SigbusGuard::install();
    const bool exists = !again && again.error().code == Code::Exists;
    ::sigaction(SIGBUS, &ours, nullptr);  // the other goes
    guarded = guard();
    guarded.reset();
    return handled == 1 && exists && action_now().sa_handler == note;
  }));
  CHECK(survives([] {
    std::optional<SigbusGuard> guarded = guard();
    handle_by(note);
    guarded.reset();
    handle_by(SIG_DFL);  // which calls nobody
    return SigbusGuard::install().has_value();
  }));
}

// ---- Cairn's own calls --------------------------------------------------------------------------

TEST_CASE("no call of Cairn's dies of a shard that was cut off, by whatever access") {
  for (const Access access : {Access::Shared, Access::Private, Access::Copy}) {
    const Place place;
    save(place / "m");
    const Checkpoint checkpoint = open(place / "m", access, Verify::None);
    cut(shard_of(place / "m"), 0);
    cut(shard_of(place / "m", 1), 0);
    CHECK(survives([&] {
      const Tensor w = tensor_of(checkpoint, "w");
      std::vector<std::byte> out(w.size_bytes());
      const Read read{"w", {}, out};
      const Range part[]{{100, 5000}};
      const bool fails = access != Access::Copy;
      return w.read(out).has_value() != fails &&
             w.values<std::int32_t>(part).has_value() != fails &&
             checkpoint.read(std::span(&read, 1)).has_value() != fails &&
             checkpoint.verify().has_value() != fails &&
             checkpoint.prefetch().has_value() != fails &&
             tensor_of(checkpoint, "text").strings().has_value() != fails;
    }));
  }
}

}  // namespace
}  // namespace cairn::faults
