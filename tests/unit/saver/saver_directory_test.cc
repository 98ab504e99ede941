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
#include "lib/saver/checkpoint_files.h"
#include "lib/saver/journal.h"
#include "tests/unit/sandbox.h"

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
    REQUIRE(saved->warnings.size() == 1);
    CHECK(has(saved->warnings[0], test::fs::canonical(dir).string()));
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
  for (int step = 1; step <= 2; ++step) REQUIRE(save(saver, step)->warnings.empty());
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
  CHECK(pending->wait()->warnings.size() == 1);
  CHECK(bases_in(box / "old") == std::set<std::string>{"m", "m-1", "m-2", "m-3"});
  CHECK(bases_in(box / "d") == std::set<std::string>{"m-2", "m-3"});
}

TEST_CASE("pins and prunes beside two Savers that save all the time get their turns") {
  Sandbox box;
  for (int step = 1; step <= 2; ++step) {
    Saver first = opened(box / "d");
    REQUIRE(save(first, step));
  }
  std::atomic<bool> over = false;
  std::array<std::atomic<int>, 2> saves{};
  std::array<std::string, 2> failed;
  {
    std::vector<std::jthread> trainers;
    for (std::size_t i = 0; i < saves.size(); ++i) {
      trainers.emplace_back([&, i] {
        Saver saver = opened(box / "d");
        while (!over && failed[i].empty()) {
          const auto saved = save(saver, 10 + static_cast<int>(i));
          if (saved) ++saves[i];
          if (!saved) failed[i] = refusal(saved);
        }
      });
    }
    Saver other = opened(box / "d");  // waits as long as it does unless told
    for (int round = 0; round < 20; ++round) {
      const auto pinned = other.pin(box / "d/m-1", round % 2 == 0);
      CHECK_MESSAGE(pinned, refusal(pinned));
      const auto pruned = other.prune(false);
      CHECK_MESSAGE(pruned, refusal(pruned));
    }
    over = true;
  }
  for (std::size_t i = 0; i < saves.size(); ++i) {
    CHECK(failed[i] == "");
    CHECK(saves[i] >= 5);  // of 40 turns of the third
  }
}

TEST_CASE("a Saver whose directory was removed says so, and another makes it anew") {
  Sandbox box;
  Saver saver = opened(box / "d");
  REQUIRE(save(saver, 1));
  test::fs::remove_all(box / "d");
  const std::string gone =
      (box / "d").string() + ": was removed after it was opened; open it again";
  CHECK(has(refusal(save(saver, 2)), gone));
  test::fs::create_directory(box / "d");
  CHECK(has(refusal(save(saver, 2)), gone));
  CHECK(test::fs::is_empty(box / "d"));
  Saver anew = opened(box / "d");
  CHECK(save(anew, 2));
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
    const std::string said = refusal(get_checkpoint_state(box.root(), name));
    CHECK(has(said, "Invalid: "));
    CHECK(has(said, "cannot be the catalog's name"));
    CHECK(said == refusal(latest_checkpoint(box.root(), name)));
    CHECK(said == refusal(latest_whole(box.root(), name)));
    CHECK(said == refusal(Saver::open(box.root(), options)));
  }
  CHECK(test::values_at(box / "m"));
  SaverOptions options;
  options.latest_filename = "best_checkpoint";
  CHECK(Saver::open(box.root(), options));
}

TEST_CASE("a pin and a prune say that the path leads elsewhere by now") {
  Sandbox box;
  Saver saver = opened(box / "d", keeping_two());
  for (int step = 1; step <= 3; ++step) REQUIRE(save(saver, step));
  REQUIRE(saver.prune(true));
  CHECK(saver.warnings().empty());
  test::fs::rename(box / "d", box / "old");
  test::fs::create_directory(box / "d");
  REQUIRE(saver.pin(box / "d/m-2"));
  REQUIRE(saver.warnings().size() == 1);
  CHECK(has(saver.warnings()[0], "is now a different directory"));
  CHECK(has(saver.warnings()[0], "pinned in the directory that was opened, " +
                                     test::fs::canonical(box / "old").string()));
  REQUIRE(saver.prune(false));
  REQUIRE(saver.warnings().size() == 1);
  CHECK(has(saver.warnings()[0], "pruned the directory that was opened"));
  test::fs::remove(box / "d");
  test::fs::rename(box / "old", box / "d");
  REQUIRE(saver.pin(box / "d/m-2", false));
  CHECK(saver.warnings().empty());
}

// Another Saver's catalog beside the first.
SaverOptions named_best(std::uint64_t count) {
  SaverOptions options;
  options.keep_any_of = {Retention::newest(count)};
  options.latest_filename = "best_checkpoint";
  return options;
}

TEST_CASE("what another catalog lists stays, and a warning says so, until that one lets it go") {
  Sandbox box;
  Saver saver = opened(box.root(), keeping_two());
  for (int step = 1; step <= 2; ++step) REQUIRE(save(saver, step));
  REQUIRE(set_latest_checkpoint(box.root(), box / "m-1", "best_checkpoint"));
  const auto saved = save(saver, 3);
  REQUIRE_MESSAGE(saved, refusal(saved));
  CHECK(saved->deleted.empty());
  REQUIRE(saved->warnings.size() == 1);
  CHECK(has(saved->warnings[0],
            "m-1: leaves the catalog, but its files stay, because another catalog of this "
            "directory, best_checkpoint, lists it"));
  CHECK(saved->kept == std::vector<path>{box / "m-2", box / "m-3"});
  CHECK(save(saver, 4)->warnings.empty());
  CHECK(bases_in(box.root()) == std::set<std::string>{"m-1", "m-3", "m-4"});

  Saver best = opened(box.root(), named_best(1));
  const auto better = save(best, 9);
  REQUIRE_MESSAGE(better, refusal(better));
  CHECK(better->deleted == std::vector<path>{box / "m-1"});
  CHECK(bases_in(box.root()) == std::set<std::string>{"m-3", "m-4", "m-9"});
}

TEST_CASE("prune leaves alone what another catalog lists, and its verdict says so") {
  Sandbox box;
  Saver all = opened(box.root(), {.keep_any_of = {}});
  for (int step = 1; step <= 4; ++step) REQUIRE(save(all, step));
  for (const char* base : {"m-2", "m-3"})
    REQUIRE(set_latest_checkpoint(box.root(), box / base, "best_checkpoint"));
  Saver saver = opened(box.root(), keeping_two());
  const auto dry = saver.prune(true);
  const auto verdicts = saver.prune(false);
  REQUIRE(dry);
  REQUIRE_MESSAGE(verdicts, refusal(verdicts));
  REQUIRE(verdicts->size() == 4);
  for (std::size_t i = 0; i < 4; ++i) {
    CHECK((*verdicts)[i].kept == (i > 0));
    CHECK((*verdicts)[i].why == (*dry)[i].why);
  }
  CHECK(has((*verdicts)[1].why,
            "older than the newest 2; its files stay, because another catalog of this directory, "
            "best_checkpoint"));
  CHECK(bases_in(box.root()) == std::set<std::string>{"m-2", "m-3", "m-4"});
  // The other way round: what the main catalog lists stays for it.
  const auto best = opened(box.root(), named_best(1)).prune(false);
  REQUIRE_MESSAGE(best, refusal(best));
  CHECK(bases_in(box.root()) == std::set<std::string>{"m-3", "m-4"});
}

TEST_CASE("what a dead save was to remove stays where another catalog lists it by then") {
  Sandbox box;
  Saver saver = opened(box.root(), {.keep_any_of = {}});
  for (int step = 1; step <= 3; ++step) REQUIRE(save(saver, step));
  const auto directory = os::Directory::open(box.root());
  REQUIRE(directory);
  const auto names = directory->names();
  format::JournalFacts died{"checkpoint", {}, {}, {}};
  for (const char* base : {"m-1", "m-2"})
    died.removing.push_back(*internal::checkpoint_files(*directory, *names, base));
  test::write_file(box / "checkpoint",
                   "model_checkpoint_path: \"m-3\"\nall_model_checkpoint_paths: \"m-3\"\n");
  REQUIRE(internal::write_journal(*directory, died));
  REQUIRE(set_latest_checkpoint(box.root(), box / "m-1", "best_checkpoint"));
  REQUIRE(save(saver, 4));
  CHECK(bases_in(box.root()) == std::set<std::string>{"m-1", "m-3", "m-4"});
}

// The value that another publishes under the prefix while this save's source is open.
void publish_beside(const path& prefix, std::int32_t number) {
  test::save(prefix, {{{"v", test::int_scalar(number)}}});
}

TEST_CASE("a save of what it replaces is Busy where another has published there meanwhile") {
  Sandbox box;
  Saver saver = opened(box.root());
  REQUIRE(save(saver, 1));
  REQUIRE(save(saver, 2));
  SaveOptions what;
  what.read_from = *Checkpoint::open(box / "m-1");
  std::int32_t wanted = 7;
  SUBCASE("by a Writer") { publish_beside(box / "m-1", wanted); }
  SUBCASE("by a pin") {
    wanted = 1;
    REQUIRE(saver.pin(box / "m-1"));
  }
  SUBCASE("after chdir") {
    const test::WorkingDirectory here(box.root());
    what.read_from = *Checkpoint::open("m-1");
    const test::WorkingDirectory there("/");
    publish_beside(box / "m-1", wanted);
    CHECK(save(saver, 3, what));  // elsewhere it may go
    wanted = 7;
    what.read_from = *Checkpoint::open(box / "m-1");
    publish_beside(box / "m-1", wanted);
  }
  const auto before = test::read_files(box.root());
  const std::string said = refusal(save(saver, 1, what));
  CHECK(has(said, "Busy: "));
  CHECK(has(said, "m-1: another process replaced it while it was read; nothing has changed"));
  CHECK(test::read_files(box.root()) == before);
  CHECK(test::values_at(box / "m-1")->at("v") == test::int_scalar(wanted));
  what.read_from = *Checkpoint::open(box / "m-1");
  CHECK(save(saver, 1, what));
}

TEST_CASE("a save of what it replaces goes through where nobody came between, and elsewhere") {
  Sandbox box;
  Saver saver = opened(box.root());
  REQUIRE(save(saver, 1));
  SaveOptions what;
  SUBCASE("over it") {}
  SUBCASE("with TensorFlow's index alone") { test::fs::remove(box / "m-1.cairn"); }
  SUBCASE("without TensorFlow's index") { test::fs::remove(box / "m-1.index"); }
  what.read_from = *Checkpoint::open(box / "m-1");
  CHECK(save(saver, 1, what));
  // A checkpoint of the same name in another directory is another one.
  Saver elsewhere = opened(box / "other");
  what.read_from = *Checkpoint::open(box / "m-1");
  REQUIRE(save(elsewhere, 1));
  publish_beside(box / "m-1", 7);
  CHECK(save(elsewhere, 1, what));
}

TEST_CASE("a Writer of what it replaces is Busy where another has published there meanwhile") {
  Sandbox box;
  publish_beside(box / "m", 1);
  test::Save what{{{"v", test::int_scalar(2)}}};
  what.options.read_from = *Checkpoint::open(box / "m");
  publish_beside(box / "m", 3);
  const auto done = test::try_save(box / "m", what);
  CHECK(has(refusal(done), "Busy: "));
  CHECK(test::values_at(box / "m")->at("v") == test::int_scalar(3));
  CHECK(test::fs::exists(box / "m.data-00000-of-00002"));
}

TEST_CASE("a stop ends one save, and the next goes on") {
  Sandbox box;
  Saver saver = opened(box.root());
  std::stop_source stop;
  SaveOptions stopped;
  stopped.exec.emplace().stop = stop.get_token();
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
  for (const auto memory : {Saver::Memory::Copy, Saver::Memory::Borrow}) {
    const NoThreads limit;
    const std::string said = refusal(saver.save_async("m", std::span(&tensor, 1), memory));
    CHECK(has(said, "OutOfMemory: "));
    CHECK(has(said, "use save(), which needs no thread"));
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
  CHECK(save(saver, 2)->warnings.empty());
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
