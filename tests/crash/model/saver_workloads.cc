// A directory's life under a Saver.

#include "cairn/saver.h"
#include "lib/try.h"
#include "workload_parts.h"

namespace cairn::crash {
namespace {

const std::string kDirectory = "/saved";

SaverOptions keeping(std::uint64_t count) {
  SaverOptions options;
  options.keep_any_of = {Retention::newest(count)};
  options.exec.threads_max = 1;
  return options;
}

// The tensors as a Saver takes them; views into themselves.
struct Tensors {
  std::vector<std::vector<std::string_view>> strings;
  std::vector<NamedTensor> named;

  explicit Tensors(const Contents& contents) {
    for (const test::Content& content : contents)
      strings.emplace_back(content.strings.begin(), content.strings.end());
    for (std::size_t i = 0; i < contents.size(); ++i)
      named.push_back({contents[i].spec, contents[i].bytes, strings[i]});
  }
};

// Saves generation `number` as NAME-`number`, after which the catalog lists these.
Result<void> save(Recorder& recorder, std::int64_t number, std::vector<std::string> listed,
                  const SaveOptions& what = {}) {
  const std::string prefix = listed.back();
  return recorder.step(
      "the Saver's save of " + prefix,
      [&]() -> Result<void> {
        CAIRN_TRY(saver, Saver::open(kDirectory, keeping(2)));
        SaveOptions noting = what;
        noting.metadata = {{"note", note_of(generation(number))}};
        CAIRN_CHECK(saver.save(prefix.substr(kDirectory.size() + 1),
                               Tensors(generation(number)).named, noting));
        return {};
      },
      [&](World& world) {
        Held held = whole(generation(number));
        held.pinned = what.pinned;
        held.note = note_of(generation(number));
        promise_listed(world, listed);
        world.checkpoints[prefix] = held;
      });
}

Result<void> pin(Recorder& recorder, const std::string& prefix, bool pinned) {
  return recorder.step((pinned ? "the pin of " : "the release of ") + prefix,
                       [&]() -> Result<void> {
                         CAIRN_TRY(saver, Saver::open(kDirectory, keeping(2)));
                         return saver.pin(prefix, pinned);
                       },
                       [&](World& world) {
                         if (world.checkpoints[prefix].claim != Held::Claim::Whole)
                           world.checkpoints[prefix] = whole(contents_of(prefix));
                         world.checkpoints[prefix].pinned = pinned;
                         world.directory = kDirectory;
                         world.by_saver = true;
                       });
}

Result<void> keeps_two(Recorder& recorder) {
  recorder.begin();
  CAIRN_CHECK(save(recorder, 1, {"/saved/m-1"}));
  CAIRN_CHECK(save(recorder, 2, {"/saved/m-1", "/saved/m-2"}));
  CAIRN_CHECK(save(recorder, 3, {"/saved/m-2", "/saved/m-3"}));
  return save(recorder, 4, {"/saved/m-3", "/saved/m-4"});
}

Result<void> saves_over_itself(Recorder& recorder) {
  recorder.begin();
  CAIRN_CHECK(save(recorder, 1, {"/saved/m"}));
  CAIRN_CHECK(save(recorder, 2, {"/saved/m"}));
  CAIRN_CHECK(save(recorder, 3, {"/saved/m", "/saved/other"}));
  return save(recorder, 4, {"/saved/other", "/saved/m"});
}

Result<void> pins(Recorder& recorder) {
  CAIRN_CHECK(save(recorder, 1, {"/saved/m-1"}));
  recorder.begin();
  CAIRN_CHECK(pin(recorder, "/saved/m-1", true));
  CAIRN_CHECK(save(recorder, 2, {"/saved/m-1", "/saved/m-2"}));
  CAIRN_CHECK(save(recorder, 3, {"/saved/m-1", "/saved/m-2", "/saved/m-3"}));
  CAIRN_CHECK(pin(recorder, "/saved/m-1", false));
  return save(recorder, 4, {"/saved/m-3", "/saved/m-4"});
}

Result<void> pin_of_tensorflow(Recorder& recorder) {
  CAIRN_CHECK(save(recorder, 1, {"/saved/m-1"}));
  recorder.begin();
  save_by_tensorflow(recorder, kOneShard, "/saved/ckpt-6");
  return pin(recorder, "/saved/ckpt-6", true);
}

Result<void> prunes(Recorder& recorder) {
  CAIRN_CHECK(save(recorder, 1, {"/saved/m-1"}));
  CAIRN_CHECK(save(recorder, 2, {"/saved/m-1", "/saved/m-2"}));
  recorder.begin();
  return recorder.step(
      "a prune",
      [&]() -> Result<void> {
        CAIRN_TRY(saver, Saver::open(kDirectory, keeping(1)));
        CAIRN_CHECK(saver.prune(false));
        return {};
      },
      [](World& world) { promise_listed(world, {"/saved/m-2"}); });
}

Result<void> saves_behind(Recorder& recorder) {
  CAIRN_CHECK(save(recorder, 1, {"/saved/m-1"}));
  recorder.begin();
  return recorder.step(
      "an asynchronous save of /saved/m-2",
      [&]() -> Result<void> {
        CAIRN_TRY(saver, Saver::open(kDirectory, keeping(1)));
        const Tensors tensors(generation(2));
        CAIRN_TRY(pending, saver.save_async("m-2", tensors.named, Saver::Memory::Copy));
        CAIRN_CHECK(pending.wait());
        return {};
      },
      [](World& world) {
        promise_listed(world, {"/saved/m-2"});
        world.checkpoints["/saved/m-2"] = whole(generation(2));
      });
}

const Workload::Spare kJournal = {"sync /saved/.cairn-journal.cairn-tmp",
                                  "it tells the next writer what to clean up; torn, it is none"};
const Workload::Spare kSameCatalog = {
    "2, the Saver's save of /saved/m: sync /saved after rename /saved/checkpoint.cairn-tmp to "
    "checkpoint",
    "the catalog says what it said before"};
const Workload::Spare kMarkedToo = {
    "2, the pin of /saved/ckpt-6: sync /saved after rename /saved/ckpt-6.cairn.cairn-tmp to "
    "ckpt-6.cairn",
    "the import's; that of the mark follows"};

// Of a first save, until whose end P.cairn stands alone.
Workload::Spare by_catalog(const std::string& name) {
  return {"sync /saved after rename /saved/" + name + ".index.cairn-tmp to " + name + ".index",
          "the catalog's is of the same directory, and P.cairn is durable"};
}

}  // namespace

void promise_listed(World& world, std::vector<std::string> listed) {
  world.directory = kDirectory;
  world.by_saver = true;
  for (const std::string& prefix : world.listed) {
    if (std::ranges::count(listed, prefix) == 0) world.checkpoints.erase(prefix);
  }
  world.listed = std::move(listed);
}

Result<void> save_with_saver(Recorder& recorder, std::int64_t number,
                             std::vector<std::string> listed) {
  return save(recorder, number, std::move(listed));
}

std::vector<Workload> saver_workloads() {
  return {
      {"a Saver that keeps two",
       keeps_two,
       {kJournal, by_catalog("m-1"), by_catalog("m-2"), by_catalog("m-3"), by_catalog("m-4")}},
      {"a Saver that saves over what is there",
       saves_over_itself,
       {kJournal, kSameCatalog, by_catalog("m"), by_catalog("other")}},
      {"a Saver that pins and releases",
       pins,
       {kJournal, by_catalog("m-2"), by_catalog("m-3"), by_catalog("m-4")}},
      {"a Saver that pins what TensorFlow has just written", pin_of_tensorflow, {kMarkedToo}},
      {"a Saver that prunes", prunes, {kJournal}},
      {"a Saver that saves behind its caller's back", saves_behind, {kJournal, by_catalog("m-2")}},
  };
}

}  // namespace cairn::crash
