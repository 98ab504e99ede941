// The directory that a Saver has opened, whatever becomes of its path; and what a save asks of it.

#include <dirent.h>
#include <dlfcn.h>
#include <doctest/doctest.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <set>
#include <thread>

#include "lib/os/file.h"
#include "sandbox.h"

namespace {

std::atomic<int> listings = 0;

}  // namespace

// Every listing of a directory begins here.
extern "C" DIR* fdopendir(int fd) {
  using Call = DIR* (*)(int);
  static const auto call = reinterpret_cast<Call>(::dlsym(RTLD_NEXT, "fdopendir"));
  ++listings;
  return call(fd);
}

namespace cairn {
namespace {

using test::has;
using test::refusal;
using test::Sandbox;
using test::fs::path;

Result<Saved> save(Saver& saver, std::int32_t step, SaveOptions what = {}) {
  const NamedTensor tensor{{"v", DType::Int32, {}}, std::as_bytes(std::span(&step, 1)), {}};
  what.step = step;
  return saver.save("m", std::span(&tensor, 1), what);
}

Saver opened(const path& dir, const SaverOptions& options = {}) {
  auto saver = Saver::open(dir, options);
  REQUIRE_MESSAGE(saver, refusal(saver));
  return *std::move(saver);
}

std::set<std::string> bases_in(const path& dir) {
  std::set<std::string> bases;
  for (const auto& entry : test::fs::directory_iterator(dir)) {
    if (entry.path().extension() == ".index") bases.insert(entry.path().stem());
  }
  return bases;
}

std::string latest_in(const path& dir) {
  const auto latest = latest_checkpoint(dir);
  return latest && *latest ? (*latest)->filename().string() : "none";
}

// Two saves before the change, two after, of which two stay: all in one directory.
void saves_stay_in(Saver& saver, const path& dir, const path& spelt) {
  for (int step = 3; step <= 4; ++step) {
    const auto saved = save(saver, step);
    REQUIRE_MESSAGE(saved, refusal(saved));
    CHECK(saved->prefix == spelt / ("m-" + std::to_string(step)));
    CHECK(saved->kept.size() == 2);
    REQUIRE(saved->notices.size() == 1);
    CHECK(has(saved->notices[0], test::fs::canonical(dir).string()));
  }
  CHECK(bases_in(dir) == std::set<std::string>{"m-3", "m-4"});
  CHECK(latest_in(dir) == "m-4");
  CHECK(test::values_at(dir / "m-4")->at("v") == test::int_scalar(4));
  CHECK(!test::fs::exists(dir / ".cairn-journal"));
}

SaverOptions keeping_two() {
  SaverOptions options;
  options.keep_any_of = {Retention::newest(2)};
  return options;
}

TEST_CASE("a Saver of a relative path stays in its directory after chdir") {
  Sandbox box;
  test::fs::create_directory(box / "elsewhere");
  const test::WorkingDirectory here(box.root());
  Saver saver = opened("d", keeping_two());
  for (int step = 1; step <= 2; ++step) REQUIRE(save(saver, step)->notices.empty());
  const test::WorkingDirectory there("elsewhere");
  saves_stay_in(saver, box / "d", "d");
  CHECK(test::fs::is_empty(box / "elsewhere"));
}

TEST_CASE("a Saver goes with its directory when that is renamed and a new one is made") {
  Sandbox box;
  Saver saver = opened(box / "d", keeping_two());
  for (int step = 1; step <= 2; ++step) REQUIRE(save(saver, step));
  test::fs::rename(box / "d", box / "old");
  SUBCASE("nothing is there") {}
  SUBCASE("another Saver's") {
    Saver other = opened(box / "d");
    for (int step = 1; step <= 3; ++step) REQUIRE(save(other, step));
  }
  const bool made = test::fs::exists(box / "d");
  saves_stay_in(saver, box / "old", box / "d");
  if (made) CHECK(bases_in(box / "d") == std::set<std::string>{"m-1", "m-2", "m-3"});
  CHECK(made == test::fs::exists(box / "d"));
}

TEST_CASE("a Saver stays where its directory's symbolic link led when it was opened") {
  Sandbox box;
  for (const char* name : {"a", "b"}) test::fs::create_directory(box / name);
  test::fs::create_directory_symlink("a", box / "d");
  Saver saver = opened(box / "d", keeping_two());
  for (int step = 1; step <= 2; ++step) REQUIRE(save(saver, step));
  test::fs::remove(box / "d");
  test::fs::create_directory_symlink("b", box / "d");
  saves_stay_in(saver, box / "a", box / "d");
  CHECK(test::fs::is_empty(box / "b"));
}

TEST_CASE("pins, prunes, lists and asynchronous saves go to the opened directory too") {
  Sandbox box;
  Saver saver = opened(box / "d");
  for (int step = 1; step <= 3; ++step) REQUIRE(save(saver, step));
  test::fs::remove(box / "d/m-1.cairn");  // as TensorFlow's: to pin it is to import it
  test::fs::rename(box / "d", box / "old");
  Saver other = opened(box / "d", keeping_two());
  for (int step = 1; step <= 3; ++step) REQUIRE(save(other, step));
  CHECK(!saver.pin(box / "d/m-9"));
  const auto pinned = saver.pin(box / "d/m-1");
  CHECK_MESSAGE(pinned, refusal(pinned));
  CHECK(test::fs::exists(box / "old/m-1.cairn"));
  CHECK(!test::fs::exists(box / "d/m-1.cairn"));
  CHECK(saver.last_checkpoints()->size() == 3);
  CHECK(saver.prune(false)->size() == 3);
  const std::int32_t value = 4;
  const NamedTensor tensor{{"v", DType::Int32, {}}, std::as_bytes(std::span(&value, 1)), {}};
  const auto pending = saver.save_async("m", std::span(&tensor, 1), Saver::Memory::Copy);
  REQUIRE(pending);
  CHECK(pending->wait()->notices.size() == 1);
  CHECK(bases_in(box / "old") == std::set<std::string>{"m", "m-1", "m-2", "m-3"});
  CHECK(bases_in(box / "d") == std::set<std::string>{"m-2", "m-3"});
}

TEST_CASE("an entry outside of the directory, spelt from it, stays listed after chdir") {
  Sandbox box;
  test::save(box / "out/best", {{{"v", test::int_scalar(7)}}});
  test::fs::create_directory(box / "d");
  test::write_file(box / "d/checkpoint",
                   "model_checkpoint_path: \"../out/best\"\n"
                   "all_model_checkpoint_paths: \"../out/best\"\n");
  const test::WorkingDirectory here(box.root());
  Saver saver = opened("d");
  const test::WorkingDirectory there("out");
  REQUIRE(save(saver, 1));
  CHECK(has(test::read_file(box / "d/checkpoint"), "\"../out/best\""));
}

TEST_CASE("a catalog is never named like a file of Cairn's or of a checkpoint") {
  Sandbox box;
  test::save(box / "m", {{{"v", test::int_scalar(7)}}});
  for (const char* name :
       {".cairn-journal", ".cairn-lock", "m.index", "m.cairn", "m.data-00000-of-00001", "m.meta",
        "m.safetensors", "checkpoint.cairn-tmp-0123456789abcdef", "", "..", "a/b"}) {
    CAPTURE(name);
    SaverOptions options;
    options.latest_filename = name;
    CHECK(has(refusal(Saver::open(box.root(), options)), "Invalid: "));
    WatcherOptions watching;
    watching.latest_filename = name;
    CHECK(has(refusal(Watcher::open(box.root(), watching)), "Invalid: "));
    CHECK(has(refusal(set_latest_checkpoint(box.root(), box / "m", name)), "Invalid: "));
    CHECK(has(refusal(update_checkpoint_state(box.root(), {box / "m", {}, {}, 0}, name)),
              "Invalid: "));
    CHECK(has(refusal(repair_catalog(box.root(), name)), "Invalid: "));
  }
  CHECK(test::values_at(box / "m"));
  SaverOptions options;
  options.latest_filename = "best_checkpoint";
  CHECK(Saver::open(box.root(), options));
}

TEST_CASE("a stop ends one save, and the next goes on") {
  Sandbox box;
  Saver saver = opened(box.root());
  std::stop_source stop;
  SaveOptions stopped;
  stopped.work.emplace().stop = stop.get_token();
  CHECK(save(saver, 1, stopped));
  stop.request_stop();
  CHECK(has(refusal(save(saver, 2, stopped)), "Cancelled: "));
  CHECK(save(saver, 3));
  CHECK(bases_in(box.root()) == std::set<std::string>{"m-1", "m-3"});
}

// Until it goes, every thread would need more memory for its stack than there is.
class NoThreads {
 public:
  NoThreads() {
    ::pthread_getattr_default_np(&before_);
    pthread_attr_t huge;
    ::pthread_getattr_default_np(&huge);
    ::pthread_attr_setstacksize(&huge, std::size_t{1} << 47);
    REQUIRE(::pthread_setattr_default_np(&huge) == 0);
  }
  NoThreads(const NoThreads&) = delete;
  NoThreads& operator=(const NoThreads&) = delete;
  ~NoThreads() { ::pthread_setattr_default_np(&before_); }

 private:
  pthread_attr_t before_;
};

TEST_CASE("an asynchronous save without a thread to be had has not begun, and says what to do") {
  Sandbox box;
  Saver saver = opened(box.root());
  const std::int32_t value = 1;
  const NamedTensor tensor{{"v", DType::Int32, {}}, std::as_bytes(std::span(&value, 1)), {}};
  for (const auto memory : {Saver::Memory::Copy, Saver::Memory::Lend}) {
    const NoThreads limit;
    const std::string said = refusal(saver.save_async("m", std::span(&tensor, 1), memory));
    CHECK(has(said, "OutOfMemory: "));
    CHECK(has(said, "save() needs none"));
  }
  CHECK(save(saver, 1));
  CHECK(saver.save_async("m", std::span(&tensor, 1), Saver::Memory::Copy)->wait());
}

TEST_CASE("a limit of a file's size fails the save in a sentence that names it") {
  Sandbox box;
  Saver saver = opened(box.root());
  REQUIRE(save(saver, 1));
  const pid_t child = ::fork();
  if (child == 0) {
    ::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{1 << 20, 1 << 20};
    ::setrlimit(RLIMIT_FSIZE, &limit);
    Saver own = opened(box.root());
    const std::vector<std::byte> bytes(4 << 20);
    const NamedTensor large{{"v", DType::Uint8, {4 << 20}}, bytes, {}};
    const std::string said = refusal(own.save("m", std::span(&large, 1)));
    ::_exit(has(said, "NoSpace: ") && has(said, "ulimit -f") ? 0 : 1);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK(WEXITSTATUS(status) == 0);
  CHECK(WIFEXITED(status));
  CHECK(latest_in(box.root()) == "m-1");
  CHECK(save(saver, 2)->notices.empty());
}

TEST_CASE("a save lists its directory twice at most, however many checkpoints go or are new") {
  Sandbox box;
  Saver saver = opened(box.root(), keeping_two());
  for (int step = 1; step <= 5; ++step) {
    listings = 0;
    REQUIRE(save(saver, step));
    CHECK(listings <= 2);
  }
  CHECK(bases_in(box.root()) == std::set<std::string>{"m-4", "m-5"});
  listings = 0;
  REQUIRE(saver.prune(false));
  CHECK(listings <= 2);
}

TEST_CASE("a copied save that fits into its staging returns before the save has begun") {
  Sandbox box;
  std::atomic<bool> returned = false;
  std::atomic<bool> in_vain = false;
  SaverOptions options;
  // The save asks for the time before it writes: it gets none until the caller goes on.
  options.clock = [&, caller = std::this_thread::get_id()] {
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds{30};
    while (std::this_thread::get_id() != caller && !returned && !in_vain) {
      in_vain = std::chrono::steady_clock::now() > until;
      std::this_thread::sleep_for(std::chrono::milliseconds{1});
    }
    return 1.0;
  };
  Saver saver = opened(box.root(), options);
  std::vector<std::byte> bytes(1000, std::byte{1});
  const NamedTensor tensor{{"v", DType::Uint8, {1000}}, bytes, {}};
  const auto pending = saver.save_async("m", std::span(&tensor, 1), Saver::Memory::Copy);
  returned = true;
  REQUIRE_MESSAGE(pending, refusal(pending));
  std::ranges::fill(bytes, std::byte{9});
  REQUIRE(pending->wait());
  CHECK(!in_vain);
  CHECK(test::values_at(box / "m")->at("v").bytes == std::string(1000, '\1'));
}

TEST_CASE("a copied save lends what does not fit into its staging, strings and all") {
  Sandbox box;
  for (const std::uint64_t staging : {0u, 1u, 1000u, 100'000u, 1u << 20}) {
    CAPTURE(staging);
    SaverOptions options;
    options.staging_bytes_max = staging;
    Saver saver = opened(box.root(), options);
    std::vector<std::byte> small(1000, std::byte{1});
    std::vector<std::byte> large(100'000, std::byte{2});
    std::vector<std::string> texts{"one", std::string(5000, 'x')};
    std::vector<std::string_view> strings(texts.begin(), texts.end());
    const NamedTensor tensors[] = {{{"large", DType::Uint8, {100'000}}, large, {}},
                                   {{"small", DType::Uint8, {1000}}, small, {}},
                                   {{"empty", DType::Uint8, {0}}, {}, {}},
                                   {{"texts", DType::String, {2}}, {}, strings}};
    const auto pending = saver.save_async("m", tensors, Saver::Memory::Copy);
    REQUIRE_MESSAGE(pending, refusal(pending));
    std::ranges::fill(small, std::byte{9});
    std::ranges::fill(large, std::byte{9});
    texts = {"", ""};
    REQUIRE(pending->wait());
    const auto values = test::values_at(box / "m");
    REQUIRE(values);
    CHECK(values->at("small").bytes == std::string(1000, '\1'));
    CHECK(values->at("large").bytes == std::string(100'000, '\2'));
    CHECK(values->at("texts").bytes == "3:one5000:" + std::string(5000, 'x'));
  }
}

}  // namespace
}  // namespace cairn
