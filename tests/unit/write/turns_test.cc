// What another does between two steps of a publisher: it is seen, and not written over.

#include <dlfcn.h>
#include <doctest/doctest.h>

#include <functional>
#include <map>
#include <optional>
#include <semaphore>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "cairn/cairn.h"
#include "lib/write/publisher.h"
#include "lib/write/temp_file.h"
#include "tests/unit/sandbox.h"

namespace {

std::function<void()> at_next_sync;
std::function<void()> at_each_sync;
thread_local std::function<void()> at_next_flock;
thread_local std::function<void()> at_next_unlink;

}  // namespace

// A publisher has read what it replaces before it syncs anything.
extern "C" int fsync(int fd) {
  using Call = int (*)(int);
  static const auto call = reinterpret_cast<Call>(::dlsym(RTLD_NEXT, "fsync"));
  if (const auto act = std::exchange(at_next_sync, nullptr)) act();
  if (at_each_sync) at_each_sync();
  return call(fd);
}

extern "C" int flock(int fd, int operation) noexcept {
  using Call = int (*)(int, int);
  static const auto call = reinterpret_cast<Call>(::dlsym(RTLD_NEXT, "flock"));
  if (const auto act = std::exchange(at_next_flock, nullptr)) act();
  return call(fd, operation);
}

extern "C" int unlinkat(int directory, const char* name, int flags) noexcept {
  using Call = int (*)(int, const char*, int);
  static const auto call = reinterpret_cast<Call>(::dlsym(RTLD_NEXT, "unlinkat"));
  if (const auto act = std::exchange(at_next_unlink, nullptr)) act();
  return call(directory, name, flags);
}

namespace cairn {
namespace {

using test::has;
using test::refusal;
using test::Sandbox;
using test::fs::path;

// As TensorFlow, which knows no lock: another file under the same name.
void write_index_anew(const path& index) {
  test::write_file(index.string() + ".new", test::read_file(index));
  test::fs::rename(index.string() + ".new", index);
}

TEST_CASE("what is replaced is whole at every step until the new one is") {
  const test::Values old{{"old", test::floats({1, 2, 3})}};
  const path golden = test::golden("tensorflow/sharded/shard-42");
  Renaming renaming;
  renaming.patterns = {{"^", "x_"}};
  using Publish = std::function<std::string(const path& from, const TransferOptions& to)>;
  const std::map<std::string, Publish> kVerbs{
      {"import", [](const path& from, const auto& to) { return refusal(import_index(from, to)); }},
      {"export",
       [](const path& from, const auto& to) {
         return refusal(export_index(from, Format::TensorFlow, to));
       }},
      {"convert",
       [](const path& from, const auto& to) { return refusal(convert(from, Format::Cairn, to)); }},
      {"merge",
       [](const path& from, const auto& to) { return refusal(merge(std::span(&from, 1), to)); }},
      {"rename", [&](const path& from,
                     const auto& to) { return refusal(rename_tensors(from, renaming, to)); }},
      {"salvage", [](const path& from, const auto& to) {
         SalvageOptions options;
         options.output = to.output;
         options.replace = true;
         return refusal(salvage(from, options));
       }}};
  for (const auto& [verb, publish] : kVerbs) {
    INFO(verb);
    Sandbox box;
    test::copy_checkpoint(golden, box / "from/shard-42");
    test::save(box / "out/m", {old});
    TransferOptions options;
    options.output = box / "out/m";
    options.replace = true;
    int syncs = 0;
    bool replaced = false;
    at_each_sync = [&] {
      const auto values = test::values_at(box / "out/m");
      CHECK_MESSAGE(values, refusal(values));
      replaced = replaced || *values != old;
      CHECK(values->contains("old") == !replaced);
      ++syncs;
    };
    CHECK(publish(box / "from/shard-42", options) == "opened");
    at_each_sync = nullptr;
    CHECK(syncs > 3);
    CHECK(*test::values_at(box / "out/m") != old);
  }
}

TEST_CASE("a name that a stranger takes after it was chosen is not written over") {
  const std::string theirs = "a stranger's";
  const std::int32_t value = 7;
  int refused = 0;
  for (int when = 1; when <= 4; ++when) {  // at this sync
    INFO(when);
    Sandbox box;
    test::save(box / "m", {{{"old", test::floats({1, 2, 3})}}});
    auto writer = Writer::create(box / "m", {{"v", DType::Int32, {}}});
    REQUIRE_MESSAGE(writer, refusal(writer));
    REQUIRE(writer->write("v", std::as_bytes(std::span(&value, 1))));
    std::set<path> taken;
    int syncs = 0;
    at_each_sync = [&] {
      if (++syncs != when) return;
      for (int count = 1; count <= 4; ++count) {  // whatever is free
        const path name = box / ("m.data-00000-of-0000" + std::to_string(count));
        if (test::fs::exists(name)) continue;
        test::write_file(name, theirs);
        taken.insert(name);
      }
    };
    const auto committed = writer->commit();
    at_each_sync = nullptr;
    CHECK(taken.size() >= 2);
    for (const path& name : taken) CHECK(test::read_file(name) == theirs);
    CHECK(test::values_at(box / "m")->contains(committed ? "v" : "old"));
    if (!committed) CHECK(has(refusal(committed), "Exists: "));
    refused += committed ? 0 : 1;
  }
  CHECK(refused > 0);
}

TEST_CASE("what was written anew since it was read is not published over") {
  using Publish = std::function<std::string(const path&)>;
  TransferOptions replacing;
  replacing.replace = true;
  Renaming renaming;
  renaming.patterns = {{"^v", "w"}};
  const std::map<std::string, Publish> kVerbs{
      {"import", [&](const path& prefix) { return refusal(import_index(prefix, replacing)); }},
      {"export",
       [&](const path& prefix) {
         return refusal(export_index(prefix, Format::TensorFlow, replacing));
       }},
      {"rename",
       [&](const path& prefix) { return refusal(rename_tensors(prefix, renaming, replacing)); }},
      {"pin", [](const path& prefix) {
         auto saver = Saver::open(prefix.parent_path());
         return saver ? refusal(saver->pin(prefix)) : refusal(saver);
       }}};
  for (const auto& [verb, publish] : kVerbs) {
    INFO(verb);
    Sandbox box;
    const path prefix = box / "train1";
    test::copy_checkpoint(test::golden("tensorflow/saver_walk/saved/train1"), prefix);
    if (verb == "export" || verb == "pin") REQUIRE(import_index(prefix));
    if (verb == "export") {  // one that says something else, so that there is something to write
      const Renaming other{{}, {{"^v2", "x"}}};
      REQUIRE(rename_tensors(prefix, other, replacing));
      test::fs::remove(prefix.string() + ".index");
    }
    const auto before = test::read_files(box.root());
    const path watched = prefix.string() + (verb == "export" ? ".cairn" : ".index");
    at_next_sync = [&] { write_index_anew(watched); };
    const std::string said = publish(prefix);
    CHECK_FALSE(at_next_sync);
    CHECK(has(said, "Busy: "));
    CHECK(has(said, "another process replaced it while it was read; nothing has changed"));
    CHECK(test::read_files(box.root()) == before);
    CHECK(publish(prefix) == "opened");
  }
}

TEST_CASE(
    "what goes by the rules and another writes anew before it is removed stays, and is named") {
  Sandbox box;
  SaverOptions options;
  options.keep_any_of = {Retention::newest(1)};
  auto saver = Saver::open(box.root(), options);
  REQUIRE_MESSAGE(saver, refusal(saver));
  const std::int32_t value = 7;
  const TensorSpec spec{"v", DType::Int32, {}};
  const auto bytes = std::as_bytes(std::span(&value, 1));
  const auto save = [&](std::int64_t step, const std::function<Result<void>()>& meanwhile) {
    SaveOptions what;
    what.step = step;
    const auto fill = [&](Writer& writer) -> Result<void> {
      if (auto done = meanwhile(); !done) return done;
      return writer.write("v", bytes);
    };
    return saver->save("m", {spec}, fill, what);
  };
  REQUIRE(save(1, [] { return Result<void>(); }));
  const auto saved = save(2, [&]() -> Result<void> {
    auto writer = Writer::create(box / "m-1", {spec});
    if (!writer) return writer.error();
    if (auto done = writer->write("v", bytes); !done) return done;
    return writer->commit();
  });
  REQUIRE_MESSAGE(saved, refusal(saved));
  CHECK(test::values_at(box / "m-1")->at("v") == test::int_scalar(7));
  CHECK(saved->deleted.empty());
  REQUIRE(saved->warnings.size() == 1);
  CHECK(has(saved->warnings[0], "m-1: "));
  const auto pruned = saver->prune(false);
  CHECK(pruned);
  CHECK(test::values_at(box / "m-1"));
}

// Found by the fuzz run of the Python package: eight threads saved one prefix, and a save that did
// nothing wrong ended with NotFound.
TEST_CASE("a temporary file that is swept before its writer has locked it is made anew") {
  Sandbox box;
  const auto directory = os::Directory::open(box.root());
  REQUIRE_MESSAGE(directory, refusal(directory));
  std::binary_semaphore created(0);
  std::binary_semaphore removing(0);
  std::binary_semaphore locked(0);
  std::optional<Result<internal::TempFile>> made;
  std::thread writer([&] {
    at_next_flock = [&] {
      created.release();
      removing.acquire();
    };
    made.emplace(internal::TempFile::create(*directory, "m.data-00000-of-00001"));
    locked.release();
  });
  created.acquire();
  at_next_unlink = [&] {
    removing.release();
    locked.acquire();
  };
  const auto swept = internal::sweep_all(*directory);
  const bool removed = !std::exchange(at_next_unlink, nullptr);
  if (!removed) removing.release();
  writer.join();
  CHECK(swept);
  CHECK(removed);
  REQUIRE_MESSAGE(*made, refusal(*made));
  const auto published = (*made)->publish(internal::TempFile::Taken::Refuse);
  CHECK_MESSAGE(published, refusal(published));
}

}  // namespace
}  // namespace cairn
