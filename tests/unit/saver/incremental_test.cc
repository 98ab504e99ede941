// Incremental saves: what is shared, what is written, and what stays when checkpoints go.

#include <doctest/doctest.h>

#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "cairn/checkpoint.h"
#include "cairn/convert.h"
#include "format/le.h"
#include "lib/write/linked_shards.h"
#include "tests/unit/saver/saver_parts.h"

namespace cairn {
namespace {

namespace fs = std::filesystem;
using test::has;
using test::refusal;
using test::Sandbox;

constexpr std::size_t kTensorBytes = 1u << 20;

// Tensors of 1 MiB, t00 and so on, and two strings.
struct Model {
  std::vector<std::string> bytes;
  std::vector<std::string_view> words{"a", "word"};

  explicit Model(std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) {
      bytes.emplace_back(kTensorBytes, '\0');
      change(i, static_cast<unsigned>(i));
    }
  }
  static std::string name(std::size_t i) {
    return "t" + std::string(i < 10 ? "0" : "") + std::to_string(i);
  }

  void change(std::size_t tensor, unsigned seed) {
    std::mt19937_64 random(seed);
    for (std::size_t at = 0; at < kTensorBytes; at += 8) {
      const std::uint64_t value = random();
      std::copy_n(reinterpret_cast<const char*>(&value), 8, bytes[tensor].data() + at);
    }
  }

  std::vector<NamedTensor> tensors() const {
    std::vector<NamedTensor> all;
    for (std::size_t i = 0; i < bytes.size(); ++i)
      all.push_back({{name(i), DType::Uint8, {static_cast<std::int64_t>(kTensorBytes)}},
                     format::as_bytes(bytes[i]),
                     {}});
    all.push_back({{"words", DType::String, {2}}, {}, words});
    return all;
  }
};

void check_holds(const fs::path& prefix, const Model& model) {
  OpenOptions full;
  full.verify = Verify::Full;
  const auto checkpoint = Checkpoint::open(prefix, full);
  REQUIRE_MESSAGE(checkpoint, refusal(checkpoint));
  CHECK(checkpoint->warnings().empty());
  const auto verified = checkpoint->verify();
  REQUIRE_MESSAGE(verified, refusal(verified));
  CHECK(verified->damage.empty());
  for (std::size_t i = 0; i < model.bytes.size(); ++i) {
    const auto tensor = checkpoint->tensor(Model::name(i));
    REQUIRE(tensor);
    const auto bytes = tensor->bytes();
    REQUIRE(bytes);
    CHECK(format::as_text(*bytes) == model.bytes[i]);
  }
}

SaveOptions step_of(std::int64_t step) {
  SaveOptions what;
  what.step = step;
  return what;
}

SaverOptions incremental(std::uint64_t kept = 0) {
  SaverOptions options;
  options.incremental = true;
  options.keep_any_of.clear();
  if (kept != 0) options.keep_any_of = {Retention::newest(kept)};
  return options;
}

Saved save(Saver& saver, const Model& model, const SaveOptions& what) {
  const auto saved = saver.save("m", model.tensors(), what);
  REQUIRE_MESSAGE(saved, refusal(saved));
  return *saved;
}

Saver open(const fs::path& dir, const SaverOptions& options) {
  auto saver = Saver::open(dir, options);
  REQUIRE_MESSAGE(saver, refusal(saver));
  return *std::move(saver);
}

TEST_CASE("what has not changed is not written again, and its shard has two names") {
  Sandbox box;
  Model model(20);
  Saver saver = open(box.root(), incremental());
  const Saved first = save(saver, model, step_of(1));
  CHECK(first.base.empty());
  CHECK(first.written_bytes > 20 * kTensorBytes);
  CHECK(first.shared_bytes == 0);
  model.change(3, 1000);
  const Saved second = save(saver, model, step_of(2));
  CHECK(second.warnings.empty());
  CHECK(second.base == box.root() / "m-1");
  CHECK(second.written_bytes < kTensorBytes + 9000);
  CHECK(second.shared_bytes == 19 * kTensorBytes);
  CHECK(second.dead_bytes >= kTensorBytes);
  check_holds(box.root() / "m-2", model);
  CHECK(fs::hard_link_count(box.root() / "m-1.data-00000-of-00002") == 2);
  // Its base goes, by anybody.
  for (const auto& file : fs::directory_iterator(box.root()))
    if (file.path().filename().string().starts_with("m-1.")) fs::remove(file.path());
  check_holds(box.root() / "m-2", model);
}

TEST_CASE("a save in which nothing has changed writes indexes only") {
  Sandbox box;
  const Model model(4);
  Saver saver = open(box.root(), incremental());
  save(saver, model, step_of(1));
  const Saved second = save(saver, model, step_of(2));
  CHECK(second.shared_bytes >= 4 * kTensorBytes);
  CHECK(second.written_bytes < 10'000);
  check_holds(box.root() / "m-2", model);
}

TEST_CASE("a save over its own base keeps what it shares") {
  Sandbox box;
  Model model(8);
  Saver saver = open(box.root(), incremental());
  save(saver, model, {});
  for (unsigned round = 0; round < 4; ++round) {
    model.change(round, 100 + round);
    const Saved saved = save(saver, model, {});
    CHECK(saved.shared_bytes > 0);
    check_holds(box.root() / "m", model);
  }
}

TEST_CASE("each N-th save is a full one") {
  Sandbox box;
  Model model(4);
  SaverOptions options = incremental(2);
  options.full_every = 3;
  std::string shared;
  for (int step = 0; step < 9; ++step) {
    Saver saver = open(box.root(), options);  // nothing is remembered but what is on the disk
    const Saved saved = save(saver, model, step_of(step));
    shared += saved.base.empty() ? "F" : "i";
    CHECK(saved.base.empty() == (saved.shared_bytes == 0));
    if (step == 4) REQUIRE(saver.pin(box.root() / "m-4"));  // which writes P.cairn anew
    check_holds(saved.prefix, model);
  }
  CHECK(shared == "FiiFiiFii");
}

TEST_CASE(
    "by the caller's word a tensor needs no bytes, and whatever is not in the base is refused") {
  Sandbox box;
  Model model(6);
  Saver saver = open(box.root(), incremental());
  SaveOptions what = step_of(1);
  what.unchanged = {"t00"};
  auto refused = saver.save("m", model.tensors(), what);
  REQUIRE(!refused);
  CHECK(refused.error().code == Code::Invalid);
  what.unchanged.clear();
  save(saver, model, what);

  auto tensors = model.tensors();
  for (std::size_t i = 1; i < 6; ++i) tensors[i].bytes = {};
  model.change(0, 77);
  what = step_of(2);
  what.unchanged = {"t01", "t02", "t03", "t04", "t05"};
  auto saved = saver.save("m", tensors, what);
  REQUIRE_MESSAGE(saved, refusal(saved));
  CHECK(saved->shared_bytes >= 5 * kTensorBytes);
  check_holds(box.root() / "m-2", model);

  // Too little of its shard is used: it is read from the base.
  tensors = model.tensors();
  tensors.resize(2);
  tensors[1].bytes = {};
  tensors[0].bytes = format::as_bytes(model.bytes[5]);
  what = step_of(3);
  what.unchanged = {"t01"};
  saved = saver.save("m", tensors, what);
  REQUIRE_MESSAGE(saved, refusal(saved));
  CHECK(saved->shared_bytes == 0);
  CHECK(saved->base.empty());
  const auto opened = Checkpoint::open(box.root() / "m-3");
  REQUIRE(opened);
  CHECK(format::as_text(*opened->tensor("t01")->bytes()) == model.bytes[1]);

  const auto refuses = [&](const std::string& name, std::vector<NamedTensor> given,
                           const char* why) {
    what = step_of(9);
    what.base = box.root() / "m-2";
    what.unchanged = {name};
    const auto answer = saver.save("m", given, what);
    REQUIRE(!answer);
    CHECK(answer.error().code == Code::Invalid);
    CHECK_MESSAGE(has(answer.error().what, why), answer.error().what);
    CHECK(!fs::exists(box.root() / "m-9.cairn"));
  };
  refuses("nobody", tensors, "not among the tensors");
  std::vector<NamedTensor> other = model.tensors();
  other[1].spec.dtype = DType::Int8;
  refuses("t01", other, "another dtype");
  other = model.tensors();
  other[1].spec.name = "new";
  refuses("new", other, "no such tensor");
}

TEST_CASE("a save that fills a writer shares by the caller's word") {
  Sandbox box;
  Model model(6);
  Saver saver = open(box.root(), incremental());
  save(saver, model, step_of(1));
  model.change(2, 500);
  std::vector<TensorSpec> specs;
  for (const NamedTensor& tensor : model.tensors()) specs.push_back(tensor.spec);
  SaveOptions what = step_of(2);
  what.unchanged = {"t00", "t01", "t03", "t04", "t05", "words"};
  const auto saved = saver.save(
      "m", specs,
      [&](Writer& writer) -> Result<void> {
        CHECK(!writer.write("t00", format::as_bytes(model.bytes[0])));
        CHECK(!writer.tie("t02", "t00"));
        return writer.write("t02", format::as_bytes(model.bytes[2]));
      },
      what);
  REQUIRE_MESSAGE(saved, refusal(saved));
  CHECK(saved->shared_bytes >= 5 * kTensorBytes);
  check_holds(box.root() / "m-2", model);
}

TEST_CASE("saves in the background share too") {
  for (const Saver::Memory memory : {Saver::Memory::Copy, Saver::Memory::Borrow}) {
    Sandbox box;
    Model model(8);
    Saver saver = open(box.root(), incremental(2));
    for (unsigned step = 0; step < 4; ++step) {
      model.change(step, 900 + step);
      const auto pending = saver.save_async("m", model.tensors(), memory, step_of(step));
      REQUIRE(pending);
      const auto saved = pending->wait();
      REQUIRE_MESSAGE(saved, refusal(saved));
      CHECK((saved->shared_bytes == 0) == (step == 0));
      check_holds(saved->prefix, model);
    }
  }
}

TEST_CASE("a base that is missing, damaged, foreign or without hashes is not shared with") {
  Sandbox box;
  Model model(4);
  Saver saver = open(box.root(), incremental());
  save(saver, model, step_of(1));

  SUBCASE("missing, by the caller's word: an error") {
    SaveOptions what = step_of(2);
    what.base = box.root() / "m-7";
    const auto refused = saver.save("m", model.tensors(), what);
    REQUIRE(!refused);
    CHECK(refused.error().code == Code::NotFound);
  }
  SUBCASE("the latest cannot be opened: everything is written, and a warning says so") {
    fs::resize_file(box.root() / "m-1.cairn", 100);
    fs::remove(box.root() / "m-1.index");
    const Saved second = save(saver, model, step_of(2));
    CHECK(second.shared_bytes == 0);
    REQUIRE(!second.warnings.empty());
    CHECK(has(second.warnings.front(), "everything is written"));
    check_holds(box.root() / "m-2", model);
  }
  SUBCASE("P.index alone has no content hashes") {
    fs::remove(box.root() / "m-1.cairn");
    const Saved second = save(saver, model, step_of(2));
    CHECK(second.shared_bytes == 0);
    check_holds(box.root() / "m-2", model);
  }
  SUBCASE("a copy of the directory, whose bytes nobody has compared") {
    fs::create_directory(box.root() / "other");
    for (const char* suffix : {".cairn", ".index", ".data-00000-of-00002", ".data-00001-of-00002"})
      fs::copy_file(box.root().string() + "/m-1" + suffix,
                    box.root().string() + "/other/m-1" + suffix);
    SaveOptions what = step_of(2);
    what.base = box.root() / "other/m-1";
    const auto second = saver.save("m", model.tensors(), what);
    REQUIRE_MESSAGE(second, refusal(second));
    CHECK(second->shared_bytes == 0);
    check_holds(box.root() / "m-2", model);
  }
  SUBCASE("another directory of the same file system") {
    fs::create_directory(box.root() / "other");
    Saver other = open(box.root() / "other", SaverOptions());
    SaveOptions what = step_of(2);
    what.base = box.root() / "m-1";
    const Saved second = save(other, model, what);
    CHECK(second.shared_bytes >= 4 * kTensorBytes);
    check_holds(box.root() / "other/m-2", model);
  }
}

TEST_CASE("of a base on another file system everything is written, and a warning says so") {
  const Sandbox box;
  const fs::path shm = "/dev/shm";
  struct stat here{};
  struct stat there{};
  REQUIRE(::stat(box.root().c_str(), &here) == 0);
  if (::stat(shm.c_str(), &there) != 0 || here.st_dev == there.st_dev) return;
  const Sandbox other(shm);
  const Model model(4);
  Saver first = open(box.root(), SaverOptions());
  save(first, model, step_of(1));
  Saver second = open(other.root(), SaverOptions());
  SaveOptions what = step_of(2);
  what.base = box.root() / "m-1";
  const Saved saved = save(second, model, what);
  CHECK(saved.shared_bytes == 0);
  REQUIRE(!saved.warnings.empty());
  CHECK(has(saved.warnings.front(), "written again"));
  check_holds(other.root() / "m-2", model);
}

TEST_CASE("verify_linked finds damage before it is shared") {
  Sandbox box;
  Model model(4);
  Saver saver = open(box.root(), incremental());
  save(saver, model, step_of(1));
  const fs::path shard = box.root() / "m-1.data-00000-of-00002";
  const auto time = fs::last_write_time(shard);
  fs::permissions(shard, fs::perms::owner_write, fs::perm_options::add);
  std::fstream file(shard, std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(4096 + 100);
  file.put('?').put('!');
  file.close();
  fs::last_write_time(shard, time);
  SaveOptions what = step_of(2);
  what.verify_linked = true;
  const Saved second = save(saver, model, what);
  REQUIRE(second.warnings.size() == 1);
  CHECK(has(second.warnings.front(), "is damaged"));
  CHECK(second.shared_bytes == 3 * kTensorBytes);
  check_holds(box.root() / "m-2", model);
  auto tensors = model.tensors();
  for (std::size_t i = 0; i < 4; ++i) what.unchanged.push_back(Model::name(i));
  for (auto& tensor : tensors) tensor.bytes = {};
  what.step = 3;
  what.base = box.root() / "m-1";
  const auto refused = saver.save("m", tensors, what);
  REQUIRE(!refused);
  CHECK(refused.error().code == Code::Corrupt);
}

TEST_CASE("no stale header is served as a safetensors file") {
  Sandbox box;
  Model model(6);
  Saver saver = open(box.root(), incremental());
  save(saver, model, step_of(1));
  model.change(0, 31);
  save(saver, model, step_of(2));
  const auto refused = export_index(box.root() / "m-2", Format::Safetensors);
  REQUIRE(!refused);
  CHECK(refused.error().code == Code::Unsupported);
  CHECK(!fs::exists(box.root() / "m-2.safetensors"));
  TransferOptions out;
  out.output = box.root() / "out";
  out.allow_lossy = true;
  const auto converted = convert(box.root() / "m-2", Format::Safetensors, out);
  REQUIRE_MESSAGE(converted, refusal(converted));
  const auto opened = Checkpoint::open(box.root() / "out.safetensors");
  REQUIRE(opened);
  CHECK(format::as_text(*opened->tensor("t00")->bytes()) == model.bytes[0]);
}

TEST_CASE("checkpoints may go in any order") {
  std::mt19937 random(7);
  for (int round = 0; round < 6; ++round) {
    Sandbox box;
    Model model(12);
    Saver saver = open(box.root(), incremental());
    std::map<int, Model> alive;
    for (int step = 0; step < 12; ++step) {
      model.change(random() % 12, static_cast<unsigned>(random()));
      save(saver, model, step_of(step));
      alive.emplace(step, model);
      while (alive.size() > 1 && random() % 2 == 0) {
        auto gone = std::next(alive.begin(), static_cast<int>(random() % alive.size()));
        // As TensorFlow does: by the names of its own files, and whatever the catalog says.
        const std::string begin = "m-" + std::to_string(gone->first) + ".";
        for (const auto& file : fs::directory_iterator(box.root())) {
          const std::string name = file.path().filename().string();
          if (name.starts_with(begin) && (round % 2 == 0 || !name.ends_with(".cairn")))
            fs::remove(file.path());
        }
        alive.erase(gone);
      }
      for (const auto& [number, held] : alive)
        check_holds(box.root() / ("m-" + std::to_string(number)), held);
    }
  }
}

// ---- Which shards are linked --------------------------------------------------------------------

TEST_CASE("a shard is linked if half of it and 1 MiB are used, and at most 62 are") {
  using internal::choose_linked;
  using internal::ShardUse;
  constexpr std::uint64_t kMiB = 1u << 20;
  const std::vector<ShardUse> few{
      {10 * kMiB, 5 * kMiB}, {10 * kMiB, 5 * kMiB - 1}, {kMiB, kMiB}, {kMiB - 1, kMiB - 1}, {0, 0}};
  CHECK(choose_linked(few) == std::vector<bool>{true, false, true, false, false});
  std::vector<ShardUse> many(100, {4 * kMiB, 3 * kMiB});
  many[50].live_bytes = 2 * kMiB;
  many[99].live_bytes = 4 * kMiB;
  const auto linked = choose_linked(many);
  CHECK(std::ranges::count(linked, true) == 62);
  CHECK(linked[99]);
  CHECK(!linked[50]);
  CHECK(linked[0]);
}

// A model of `tensors` equal tensors, of which a random twentieth changes with each save.
struct Simulation {
  double mean = 0;
  double worst = 0;
  double pinned_worst = 0;
};

Simulation simulate(std::size_t tensors, int saves, unsigned seed) {
  constexpr std::uint64_t kBytes = 4u << 20;
  std::mt19937 random(seed);
  std::vector<std::size_t> shard_of(tensors, 0);
  std::vector<std::uint64_t> sizes{tensors * kBytes};
  Simulation result;
  for (int save = 0; save < saves; ++save) {
    std::vector<bool> changed(tensors);
    for (std::size_t n = 0; n < tensors / 20; ++n) changed[random() % tensors] = true;
    std::vector<internal::ShardUse> uses;
    for (const std::uint64_t size : sizes) uses.push_back({size, 0});
    for (std::size_t i = 0; i < tensors; ++i)
      if (!changed[i]) uses[shard_of[i]].live_bytes += kBytes;
    const auto linked = internal::choose_linked(uses);
    std::vector<std::uint64_t> next{0};
    std::vector<std::size_t> place(sizes.size());
    std::uint64_t pinned = 0;
    for (std::size_t i = 0; i < sizes.size(); ++i) {
      place[i] = linked[i] ? next.size() : 0;
      if (linked[i]) next.push_back(sizes[i]);
      if (linked[i]) pinned += sizes[i];
    }
    for (std::size_t i = 0; i < tensors; ++i) {
      shard_of[i] = changed[i] ? 0 : place[shard_of[i]];
      if (shard_of[i] == 0) next[0] += kBytes;
    }
    pinned += next[0];
    const double written = static_cast<double>(next[0]) / static_cast<double>(tensors * kBytes);
    result.mean += written / saves;
    result.worst = std::max(result.worst, written);
    result.pinned_worst = std::max(
        result.pinned_worst, static_cast<double>(pinned) / static_cast<double>(tensors * kBytes));
    sizes = std::move(next);
  }
  return result;
}

TEST_CASE(
    "of a hundred saves that change a random twentieth, few write much, and none pins twice") {
  for (unsigned seed = 0; seed < 40; ++seed) {
    for (const std::size_t tensors : {std::size_t{100}, std::size_t{148}, std::size_t{2000}}) {
      const Simulation seen = simulate(tensors, 100, seed);
      CAPTURE(tensors);
      CHECK(seen.mean <= 0.10);
      CHECK(seen.worst <= 0.60);
      CHECK(seen.pinned_worst <= 2.0);
    }
  }
}

}  // namespace
}  // namespace cairn
