#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <optional>
#include <thread>

#include "format/le.h"
#include "lib/os/file.h"
#include "lib/write/lock.h"
#include "tests/unit/saver/saver_parts.h"

namespace cairn {
namespace {

using test::catalog_in;
using test::catalog_of;
using test::has;
using test::keeping;
using test::refusal;
using test::Sandbox;
using test::steps_in;
using test::strays_in;
using test::Trainer;
using test::fs::path;
using namespace std::chrono_literals;

// ---- The walk

TEST_CASE("ten saves keep five, list them oldest first, and the walk goes on from the latest") {
  Sandbox box;
  Trainer trainer(box / "saved");
  for (int step = 0; step < 10; ++step) trainer.save(step);
  CHECK(steps_in(box / "saved") == std::vector{5, 6, 7, 8, 9});
  CHECK(catalog_in(box / "saved") == catalog_of({"m-5", "m-6", "m-7", "m-8", "m-9"}));
  CHECK(strays_in(box / "saved").empty());

  // Restored copy-on-write, changed in place, saved again.
  OpenOptions own;
  own.access = Access::Private;
  auto checkpoint = Checkpoint::open(box / "saved", own);
  REQUIRE(checkpoint);
  auto values = checkpoint->tensor("v")->as_mutable<std::int32_t>();
  REQUIRE(values);
  CHECK((*values)[0] == 9);
  (*values)[0] = 10;
  const NamedTensor next{{"v", DType::Int32, {}}, std::as_bytes(*values), {}};
  SaveOptions what;
  what.step = 10;
  const auto saved = trainer->save("m", std::span(&next, 1), what);
  REQUIRE(saved);
  CHECK(saved->prefix == box / "saved" / "m-10");
  CHECK(saved->deleted == std::vector{box / "saved" / "m-5"});
  CHECK(saved->kept.size() == 5);
  CHECK(steps_in(box / "saved") == std::vector{6, 7, 8, 9, 10});
  CHECK(test::values_at(box / "saved")->at("v") == test::int_scalar(10));
}

TEST_CASE("a name is followed by the step as Python writes it") {
  struct Case {
    std::optional<std::int64_t> step;
    bool padded;
    const char* base;
  };
  for (const Case& each : {Case{{}, false, "m"}, Case{7, false, "m-7"}, Case{-3, false, "m--3"},
                           Case{7, true, "m-00000007"}, Case{-3, true, "m--0000003"},
                           Case{123456789, true, "m-123456789"}, Case{0, false, "m-0"}}) {
    Sandbox box;
    SaverOptions options;
    options.pad_step_number = each.padded;
    auto saver = Saver::open(box.root(), options);
    SaveOptions what;
    what.step = each.step;
    const auto saved = saver->save("m", std::span<const NamedTensor>(), what);
    REQUIRE_MESSAGE(saved, refusal(saved));
    CHECK(saved->prefix == box / each.base);
    CHECK((*Checkpoint::open(saved->prefix)).step() == each.step);
  }
}

TEST_CASE("names, keys and rules that cannot be are refused, and nothing is written") {
  Sandbox box;
  auto saver = Saver::open(box.root());
  const std::span<const NamedTensor> none;
  for (const char* name : {"", ".", "..", "a/b", "\xff"})
    CHECK(has(refusal(saver->save(name, none)), "cannot be the name of a checkpoint"));
  CHECK(has(refusal(saver->save("checkpoint", none)), "would have the name of the catalog"));
  SaveOptions what;
  what.metadata = {{"cairn.pinned", "1"}};
  CHECK(has(refusal(saver->save("m", none, what)), "reserved for the Saver"));
  CHECK(test::read_files(box.root()).empty());
  CHECK(has(refusal(Saver::open(box.root(),
                                keeping({Retention::tensorflow_saver(5), Retention::newest(2)}))),
            "Invalid: "));
  SaverOptions elsewhere;
  elsewhere.latest_filename = "../checkpoint";
  CHECK(has(refusal(Saver::open(box.root(), elsewhere)), "cannot be the catalog's name"));
}

TEST_CASE("what goes along is there again: the graph, metadata, and no index for TensorFlow") {
  Sandbox box;
  SaverOptions options;
  options.tensorflow_index = false;
  auto saver = Saver::open(box.root(), options);
  SaveOptions what;
  what.meta_graph = "graph";
  what.metadata = {{"run", "7"}};
  REQUIRE(saver->save("m", std::span<const NamedTensor>(), what));
  CHECK(test::read_file(box / "m.meta") == "graph");
  CHECK(!test::fs::exists(box / "m.index"));
  CHECK((*Checkpoint::open(box / "m")).metadata("run") == "7");
}

TEST_CASE("what of the checkpoint before goes or changes is said, or refused") {
  Sandbox box;
  auto saver = Saver::open(box.root());
  REQUIRE(saver);
  const std::byte bytes[2]{};
  const NamedTensor before[] = {{{"a", DType::Int8, {}}, std::span(bytes, 1), {}},
                                {{"f", DType::Opaque, {4}, {"F4", 4}}, bytes, {}}};
  const auto first = saver->save("m", before);
  REQUIRE_MESSAGE(first, refusal(first));
  REQUIRE(first->warnings.size() == 1);
  CHECK(has(first->warnings[0], "P.index leaves out 1 tensor that"));
  SaveOptions kept;
  kept.replace = false;
  kept.safetensors_metadata = {{"format", "flax"}};
  REQUIRE(saver->save("m", before, kept));
  CHECK((*Checkpoint::open(box / "m")).safetensors_metadata("format") == "flax");
  const NamedTensor after[] = {{{"a", DType::Uint8, {2}}, bytes, {}}};
  const auto files = test::read_files(box.root());
  const std::string refused = refusal(saver->save("m", after, kept));
  for (const char* word : {"Exists: ", "tensor \"a\" was int8 [] and is now uint8 [2]",
                           "tensor \"f\" (F4 [4]) is not in the new checkpoint", "--replace"})
    CHECK(has(refused, word));
  CHECK(test::read_files(box.root()) == files);
  const auto replaced = saver->save("m", after);
  REQUIRE_MESSAGE(replaced, refusal(replaced));
  REQUIRE(replaced->warnings.size() == 1);
  CHECK(has(replaced->warnings[0], "tensor \"f\" (F4 [4]) is not in the new checkpoint"));
  auto pending = saver->save_async("m", before, Saver::Memory::Copy);
  REQUIRE(pending);
  REQUIRE(pending->wait());
  CHECK(test::values_at(box / "m")->at("f").bytes == std::string(2, '\0'));
}

TEST_CASE("a fill gives tensors their bytes in pieces, and its error is the save's") {
  Sandbox box;
  auto saver = Saver::open(box.root());
  const std::vector<TensorSpec> specs{{"v", DType::Uint8, {6}}};
  const auto in_pieces = [](Writer& writer) -> Result<void> {
    for (const char* piece : {"ab", "cd", "ef"}) {
      if (auto done = writer.append("v", format::as_bytes(piece)); !done) return done;
    }
    return {};
  };
  REQUIRE(saver->save("m", specs, in_pieces));
  CHECK(test::values_at(box / "m")->at("v").bytes == "abcdef");
  const auto before = test::read_files(box.root());
  const auto failing = [](Writer& writer) -> Result<void> {
    if (auto done = writer.append("v", format::as_bytes("xy")); !done) return done;
    return Error{Code::Io, 5, "the source has gone"};
  };
  CHECK(refusal(saver->save("m", specs, failing)) == "Io: the source has gone");
  CHECK(test::read_files(box.root()) == before);
}

// ---- Retention over a directory

TEST_CASE("a process that is started anew before each save keeps what one that goes on keeps") {
  const std::vector<std::vector<Retention>> rules{
      {Retention::tensorflow_saver(2, 1)},
      {Retention::tensorflow_manager(2, 1)},
      {Retention::newest(2), Retention::every_hours(1)},
      {Retention::newest(1), Retention::every_steps(4)},
      {Retention::newest(1), Retention::best_by("loss", Retention::Order::Lowest, 2)}};
  for (const auto& each : rules) {
    Sandbox box;
    Trainer steady(box / "steady", keeping(each));
    Trainer anew(box / "anew", keeping(each));
    for (int step = 0; step < 14; ++step) {
      steady.now_s = anew.now_s = 1001 + 900 * step;
      SaveOptions what;
      what.metrics = {{"loss", (step * 5) % 7}};
      if (step > 0) anew.restart();
      steady.save(step, what);
      anew.save(step, what);
      REQUIRE(steps_in(box / "anew") == steps_in(box / "steady"));
      REQUIRE(catalog_in(box / "anew") == catalog_in(box / "steady"));
    }
    CHECK(steps_in(box / "anew").size() >= 3);
    CHECK(strays_in(box / "anew").empty());
  }
}

TEST_CASE("TensorFlow's Saver on an hourly grid: 4, 8, 12 and 13 of a save each 15 minutes") {
  Sandbox box;
  Trainer trainer(box.root(), keeping({Retention::tensorflow_saver(2, 1)}));
  for (int step = 0; step < 14; ++step) {
    trainer.now_s = 1001 + 900 * step;
    trainer.save(step);
  }
  CHECK(steps_in(box.root()) == std::vector{4, 8, 12, 13});
  CHECK(catalog_in(box.root()) == catalog_of({"m-12", "m-13"}));
}

TEST_CASE("TensorFlow's Manager writes times, and they stay when another rule goes on") {
  Sandbox box;
  Trainer trainer(box.root(), keeping({Retention::tensorflow_manager(2)}));
  trainer.save(0);
  trainer.now_s = 1000.5;
  trainer.save(1);
  const std::string expected = catalog_of({"m-0", "m-1"}) +
                               "all_model_checkpoint_timestamps: 1000.0\n"
                               "all_model_checkpoint_timestamps: 1000.5\n"
                               "last_preserved_timestamp: 999.0\n";
  CHECK(catalog_in(box.root()) == expected);
  Trainer other(box.root());
  other.now_s = 1001;
  other.save(2);
  CHECK(has(catalog_in(box.root()), "all_model_checkpoint_timestamps: 1001.0\n"));
}

TEST_CASE("a pinned checkpoint stays, whoever made it, until the pin is taken away") {
  for (const bool by_tensorflow : {false, true}) {
    Sandbox box;
    Trainer trainer(box.root(), keeping({Retention::newest(1)}));
    trainer.save(0);
    if (by_tensorflow) test::fs::remove(box / "m-0.cairn");
    REQUIRE(trainer->pin(box / "m-0"));
    REQUIRE(trainer->pin("m-0"));
    trainer.save(1);
    trainer.save(2);
    CHECK(steps_in(box.root()) == std::vector{0, 2});
    trainer.save(0);  // again under the name: the pin is the name's
    trainer.save(3);
    CHECK(steps_in(box.root()) == std::vector{0, 3});
    REQUIRE(trainer->pin(box / "m-0", false));
    trainer.save(4);
    CHECK(steps_in(box.root()) == std::vector{4});
    CHECK(has(refusal(trainer->pin(box / "m-9")), "NotFound: "));
  }
}

TEST_CASE("prune says why each stays or goes, and does as it says") {
  Sandbox box;
  Trainer trainer(box.root(), keeping({}));
  for (int step = 0; step < 4; ++step) {
    trainer.now_s += 60;
    SaveOptions what;
    what.pinned = step == 1;
    trainer.save(step, what);
  }
  CHECK(steps_in(box.root()) == std::vector{0, 1, 2, 3});
  trainer.now_s = 10;
  test::save(box / "other", {{{"v", test::int_scalar(0)}}});
  Trainer strict(box.root(), keeping({Retention::newest(1)}));
  const auto before = test::read_files(box.root());
  const auto dry = strict->prune(true);
  REQUIRE(dry);
  CHECK(test::read_files(box.root()) == before);
  const auto done = strict->prune(false);
  REQUIRE(done);
  std::vector<std::string> said;
  for (std::size_t i = 0; i < dry->size(); ++i) {
    CHECK((*done)[i].prefix == (*dry)[i].prefix);
    CHECK((*done)[i].why == (*dry)[i].why);
    said.push_back((*dry)[i].prefix.filename().string() + ((*dry)[i].kept ? " stays" : " goes"));
  }
  CHECK(said ==
        std::vector<std::string>{"m-0 goes", "m-1 stays", "m-2 goes", "m-3 stays", "other stays"});
  CHECK(steps_in(box.root()) == std::vector{1, 3});
  CHECK(test::fs::exists(box / "other.cairn"));
  CHECK(strays_in(box.root()) ==
        std::vector<std::string>{"other.cairn", "other.data-00000-of-00001", "other.index"});
}

TEST_CASE("a checkpoint goes with all its files, and takes no other along") {
  Sandbox box;
  Trainer trainer(box.root(), keeping({Retention::newest(1)}));
  SaveOptions what;
  what.meta_graph = "graph";
  trainer.save(1, what);
  REQUIRE(export_index(box / "m-1", Format::Safetensors));
  for (const char* name :
       {"m-10.index.bak", "m-1.index.bak", "m-1.txt", "m-11.data-00000-of-00001"})
    test::write_file(box / name, "mine");
  trainer.save(2);
  std::vector<std::string> left;
  for (const auto& [name, bytes] : test::read_files(box.root())) {
    if (!name.starts_with("m-2")) left.push_back(name);
  }
  CHECK(left == std::vector<std::string>{"checkpoint", "m-1.index.bak", "m-1.txt", "m-10.index.bak",
                                         "m-11.data-00000-of-00001"});
}

TEST_CASE("a file of the user's own that is named like an export stays") {
  Sandbox box;
  Trainer trainer(box.root(), keeping({Retention::newest(1)}));
  trainer.save(1);
  test::write_file(box / "m-1.safetensors", "mine");
  trainer.save(2);
  CHECK(test::read_file(box / "m-1.safetensors") == "mine");
}

// ---- A directory that others write to

TEST_CASE("entries elsewhere, gone, absolute and doubled: what is listed is what is there") {
  Sandbox box;
  const path dir = box / "saved";
  test::save(box / "elsewhere" / "m-1", {{{"v", test::int_scalar(1)}}});
  for (int step : {2, 3}) {
    test::save(dir / ("m-" + std::to_string(step)), {{{"v", test::int_scalar(step)}}});
  }
  test::write_file(dir / "checkpoint",
                   catalog_of({(box / "elsewhere" / "m-1").string(), "m-2", "m-0", "m-2",
                               (dir / "m-3").string(), (box / "moved" / "m-2").string()}));
  Trainer trainer(dir, keeping({Retention::newest(2)}));
  const auto saved = trainer.try_save(4);
  REQUIRE_MESSAGE(saved, refusal(saved));
  REQUIRE(saved->warnings.size() == 1);
  CHECK(has(saved->warnings[0],
            "leaves the catalog, and its files stay, because they are in another"));
  // m-2, found beside the catalog for the entry whose directory is gone, is the younger one.
  CHECK(catalog_in(dir) == catalog_of({"m-2", "m-4"}));
  CHECK(steps_in(dir) == std::vector{2, 4});
  CHECK(test::values_at(box / "elsewhere" / "m-1"));
}

TEST_CASE("an entry that is doubled counts once and leaves nothing behind") {
  Sandbox box;
  for (int step : {1, 2, 3})
    test::save(box / ("m-" + std::to_string(step)), {{{"v", test::int_scalar(step)}}});
  test::write_file(box / "checkpoint", catalog_of({"m-1", "m-2", (box / "m-1").string(),
                                                   (box / "m-2").string(), "m-3"}));
  Trainer trainer(box.root());
  trainer.save(4);
  CHECK(catalog_in(box.root()) == catalog_of({"m-1", "m-2", "m-3", "m-4"}));
}

TEST_CASE("what TensorFlow's retention leaves of a checkpoint goes when it is a day old") {
  Sandbox box;
  Trainer trainer(box.root());
  trainer.save(0);
  trainer.save(1);
  // TensorFlow deletes what it knows, and writes its catalog.
  test::fs::remove(box / "m-0.index");
  test::fs::remove(box / "m-0.data-00000-of-00001");
  test::write_file(box / "checkpoint", catalog_of({"m-1"}));
  trainer.now_s = static_cast<double>(os::now_ns()) * 1e-9;
  trainer.save(2);
  CHECK(test::fs::exists(box / "m-0.cairn"));
  trainer.now_s += 25.0 * 3600;
  const auto saved = trainer.try_save(3);
  REQUIRE_MESSAGE(saved, refusal(saved));
  CHECK(!test::fs::exists(box / "m-0.cairn"));
  REQUIRE(saved->warnings.size() == 1);
  CHECK(has(saved->warnings[0],
            "m-0.cairn: was removed, because it was the last file of a checkpoint"));
  CHECK(steps_in(box.root()) == std::vector{1, 2, 3});
}

TEST_CASE("what TensorFlow lists while a save is under way stays listed") {
  Sandbox box;
  Trainer trainer(box.root(), keeping({Retention::newest(3)}));
  trainer.save(1);
  trainer.save(2);
  trainer.save(3);
  SaveOptions what;
  what.step = 4;
  const auto slow = [&](Writer& writer) -> Result<void> {
    test::save(box / "t-9", {{{"v", test::int_scalar(9)}}});
    test::write_file(box / "checkpoint", catalog_of({"m-2", "m-3", "t-9"}));
    return writer.write("v", format::as_bytes(test::int_scalar(4).bytes));
  };
  const auto saved =
      trainer->save("m", std::vector<TensorSpec>{{"v", DType::Int32, {}}}, slow, what);
  REQUIRE_MESSAGE(saved, refusal(saved));
  CHECK(catalog_in(box.root()) == catalog_of({"m-3", "t-9", "m-4"}));
  CHECK(saved->deleted == std::vector{box / "m-2"});
  CHECK(steps_in(box.root()) == std::vector{1, 3, 4});  // m-1 was taken out by somebody else
  CHECK(test::values_at(box / "t-9"));
}

TEST_CASE("a catalog that cannot be read stops the save, and nothing is lost") {
  Sandbox box;
  Trainer trainer(box.root());
  trainer.save(0);
  test::write_file(box / "checkpoint", "nonsense");
  const std::string said = refusal(trainer.try_save(1));
  CHECK(has(said, "Corrupt: "));
  CHECK(has(said, "cairn state --repair"));
  CHECK(catalog_in(box.root()) == "nonsense");
  CHECK(steps_in(box.root()) == std::vector{0});
  CHECK(strays_in(box.root()).empty());
}

TEST_CASE("times that are no numbers are no times") {
  Sandbox box;
  Trainer trainer(box.root(), keeping({Retention::tensorflow_manager(3)}));
  for (int step = 0; step < 3; ++step) trainer.save(step);
  std::string text = catalog_in(box.root());
  for (std::size_t at = 0; (at = text.find("timestamps: 1000.0", at)) != text.npos; ++at)
    text.replace(at + 12, 6, "nan");
  test::write_file(box / "checkpoint", text);
  REQUIRE(trainer->prune(true));
  RepairOptions all;
  all.all = true;
  REQUIRE(repair_catalog(box.root(), "checkpoint", all));
  trainer.save(3);
  CHECK(steps_in(box.root()) == std::vector{1, 2, 3});
  CHECK(!has(catalog_in(box.root()), "nan"));
}

TEST_CASE("one writer at a time: a second is told who holds the lock, or waits for it") {
  Sandbox box;
  SaverOptions hasty;
  hasty.lock_wait = 0ms;
  Trainer trainer(box.root(), hasty);
  trainer.save(0);
  const auto directory = os::Directory::open(box.root());
  auto taken = internal::Lock::of_directory(*directory, {});
  REQUIRE(taken);
  std::optional<internal::Lock> lock(*std::move(taken));
  const std::string said = refusal(trainer.try_save(1));
  CHECK(has(said, "Busy: "));
  CHECK(has(said, "process " + std::to_string(::getpid()) + " on "));
  CHECK(has(refusal(trainer->pin("m-0")), "Busy: "));
  CHECK(has(refusal(trainer->prune(false)), "Busy: "));
  CHECK(trainer->prune(true));
  CHECK(has(refusal(trainer->save_async("m", {}, Saver::Memory::Borrow)), "Busy: "));
  SaverOptions patient;
  patient.lock_wait = 10s;
  Trainer waiting(box.root(), patient);
  std::atomic<bool> released = false;
  std::thread other([&] {
    std::this_thread::sleep_for(30ms);
    released = true;
    lock.reset();
  });
  waiting.save(2);
  CHECK(released);
  other.join();
}

TEST_CASE("a lock that is no regular file is refused, and blocks nobody") {
  for (const char* kind : {"link", "fifo", "directory"}) {
    INFO(kind);
    Sandbox box;
    Trainer trainer(box / "saved");
    const path lock = box / "saved" / ".cairn-lock";
    if (kind == std::string_view("link")) test::fs::create_symlink(box / "outside", lock);
    if (kind == std::string_view("fifo")) REQUIRE(::mkfifo(lock.c_str(), 0600) == 0);
    if (kind == std::string_view("directory")) test::fs::create_directory(lock);
    CHECK(!trainer.try_save(0));
    CHECK(!test::fs::exists(box / "outside"));
  }
}

// ---- Behind the caller's back

TEST_CASE("a copied save holds what the tensors held when the call returned") {
  Sandbox box;
  SaverOptions options;
  options.staging_bytes_max = 64 << 10;  // less than the tensor
  auto saver = Saver::open(box.root(), options);
  std::string bytes(5 << 20, 'a');
  const std::vector<std::string_view> words{"one", "two"};
  const NamedTensor tensors[] = {{{"v", DType::Uint8, {5 << 20}}, format::as_bytes(bytes), {}},
                                 {{"s", DType::String, {2}}, {}, words}};
  const auto pending = saver->save_async("m", tensors, Saver::Memory::Copy);
  REQUIRE_MESSAGE(pending, refusal(pending));
  std::ranges::fill(bytes, 'b');
  const auto saved = pending->wait();
  REQUIRE_MESSAGE(saved, refusal(saved));
  CHECK(pending->done());
  const auto values = test::values_at(box / "m");
  CHECK(values->at("v").bytes == std::string(5 << 20, 'a'));
  CHECK(values->at("s").bytes == "3:one3:two");
}

TEST_CASE("a lent save is written from the caller's memory, and the next one waits for it") {
  Sandbox box;
  auto saver = Saver::open(box.root());
  const std::string bytes(1 << 20, 'a');
  for (int step = 0; step < 8; ++step) {
    const NamedTensor tensor{{"v", DType::Uint8, {1 << 20}}, format::as_bytes(bytes), {}};
    SaveOptions what;
    what.step = step;
    REQUIRE(saver->save_async("m", std::span(&tensor, 1), Saver::Memory::Borrow, what));
  }
  CHECK(saver->last_checkpoints()->size() <= 5);
  CHECK(saver->prune(false));  // waits too
  CHECK(saver->last_checkpoints()->back() == box / "m-7");
  CHECK(Checkpoint::open(box / "m-7"));
}

TEST_CASE("an asynchronous error is on the future, and at the next call where nobody waited") {
  for (const auto memory : {Saver::Memory::Copy, Saver::Memory::Borrow}) {
    Sandbox box;
    auto saver = Saver::open(box.root());
    const NamedTensor wrong{{"v", DType::Uint8, {3}}, format::as_bytes("too long"), {}};
    const std::span<const NamedTensor> none;
    const auto heard = saver->save_async("m", std::span(&wrong, 1), memory);
    REQUIRE(heard);
    CHECK(has(refusal(heard->wait()), "Invalid: "));
    CHECK(has(refusal(heard->wait()), "Invalid: "));
    CHECK(saver->save("m", none));
    REQUIRE(saver->save_async("n", std::span(&wrong, 1), memory));
    const std::string said = refusal(saver->save("m", none));
    CHECK(has(said, "Invalid: the previous asynchronous save failed"));
    CHECK(saver->save("m", none));
    CHECK(!test::fs::exists(box / "n.cairn"));
  }
}

TEST_CASE("a Saver that goes away waits for its save") {
  Sandbox box;
  const std::string bytes(1 << 20, 'a');
  const NamedTensor tensor{{"v", DType::Uint8, {1 << 20}}, format::as_bytes(bytes), {}};
  std::optional<PendingSave> pending;
  {
    auto saver = Saver::open(box.root());
    pending = *saver->save_async("m", std::span(&tensor, 1), Saver::Memory::Borrow);
  }
  CHECK(pending->done());
  CHECK(pending->wait());
  CHECK(Checkpoint::open(box / "m"));
}

TEST_CASE("a stopped save leaves everything as it was") {
  Sandbox box;
  std::stop_source stop;
  SaverOptions options;
  options.exec.stop = stop.get_token();
  Trainer trainer(box.root(), options);
  trainer.save(0);
  const auto before = test::read_files(box.root());
  stop.request_stop();
  CHECK(has(refusal(trainer.try_save(1)), "Cancelled: "));
  CHECK(test::read_files(box.root()) == before);
}

}  // namespace
}  // namespace cairn
