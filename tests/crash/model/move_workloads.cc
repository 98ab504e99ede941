// Checkpoints as a whole: copied, moved, removed.

#include "cairn/copy.h"
#include "lib/try.h"
#include "workload_parts.h"

namespace cairn::crash {
namespace {

TransferOptions to(const std::string& output) {
  TransferOptions options;
  options.output = output;
  options.exec.threads_max = 1;
  return options;
}

Result<void> move_to(Recorder& recorder, const std::string& from, const std::string& output,
                     std::vector<std::string> listed) {
  return recorder.step(
      "a move of " + from + " to " + output,
      [&]() -> Result<void> {
        CAIRN_CHECK(move_checkpoint(from, to(output)));
        return {};
      },
      [&](World& world) {
        const Held held = world.checkpoints[from];
        world.either = {from, output};
        if (!listed.empty()) promise_listed(world, listed);
        world.checkpoints[from] = {};
        world.checkpoints[output] = held;
      });
}

Result<void> two_saves(Recorder& recorder) {
  CAIRN_CHECK(save_with_saver(recorder, 1, {"/saved/m-1"}));
  CAIRN_CHECK(save_with_saver(recorder, 2, {"/saved/m-1", "/saved/m-2"}));
  recorder.begin();
  return {};
}

Result<void> moves(Recorder& recorder) {
  CAIRN_CHECK(two_saves(recorder));
  CAIRN_CHECK(move_to(recorder, "/saved/m-1", "/saved/best", {"/saved/best", "/saved/m-2"}));
  CAIRN_CHECK(move_to(recorder, "/saved/m-2", "/saved/last", {"/saved/best", "/saved/last"}));
  return move_to(recorder, "/saved/last", "/archive/last", {"/saved/best"});
}

Result<void> move_of_tensorflows(Recorder& recorder) {
  recorder.begin();
  save_by_tensorflow(recorder, kThreeShards, "/shard-42");
  Held held = whole(contents_of("/shard-42"));
  held.cairn = false;
  return recorder.step(
      "a move of /shard-42",
      []() -> Result<void> {
        CAIRN_CHECK(move_checkpoint("/shard-42", to("/shard-43")));
        return {};
      },
      [&](World& world) {
        world.checkpoints["/shard-42"] = {};
        world.checkpoints["/shard-43"] = held;
      });
}

Result<void> copies(Recorder& recorder) {
  CAIRN_CHECK(two_saves(recorder));
  const auto copy = [&](const std::string& from, const std::string& name) {
    return recorder.step(
        name,
        [&]() -> Result<void> {
          TransferOptions options = to("/copies/m");
          options.replace = true;
          CAIRN_CHECK(copy_checkpoint(from, options));
          return {};
        },
        [&](World& world) { world.checkpoints["/copies/m"] = world.checkpoints[from]; });
  };
  CAIRN_CHECK(copy("/saved/m-1", "a copy"));
  return copy("/saved/m-2", "a copy over it");
}

Result<void> removals(Recorder& recorder) {
  CAIRN_CHECK(two_saves(recorder));
  const auto remove = [&](const std::string& prefix, std::vector<std::string> listed) {
    return recorder.step(
        "the removal of " + prefix,
        [&]() -> Result<void> {
          RemoveOptions options;
          options.force = true;
          CAIRN_CHECK(remove_checkpoint(prefix, options));
          return {};
        },
        [&](World& world) {
          promise_listed(world, listed);
          world.checkpoints[prefix] = {};
        });
  };
  CAIRN_CHECK(remove("/saved/m-2", {"/saved/m-1"}));
  return remove("/saved/m-1", {});
}

const char* const kOurOwn = "our own files were durable before; a move cannot know whose they are";
const char* const kJournal = "it tells the next writer what to clean up; torn, it is none";
const char* const kByCatalog = "the catalog's is of the same directory, and P.cairn is durable";
const std::vector<Workload::Spare> kSpareInMoves = {
    {"sync /saved/m-1.data-00000-of-00002", kOurOwn},
    {"sync /saved/m-1.data-00001-of-00002", kOurOwn},
    {"sync /saved/m-1.index", kOurOwn},
    {"sync /saved/m-2.data-00000-of-00002", kOurOwn},
    {"sync /saved/m-2.data-00001-of-00002", kOurOwn},
    {"sync /saved/m-2.index", kOurOwn},
    {"sync /saved/last.data-00000-of-00002", kOurOwn},
    {"sync /saved/last.data-00001-of-00002", kOurOwn},
    {"sync /saved/last.index", kOurOwn},
    {"sync /saved/.cairn-journal.cairn-tmp", kJournal},
    {"sync /saved after rename /saved/best.index.cairn-tmp to best.index", kByCatalog},
    {"sync /saved after rename /saved/last.index.cairn-tmp to last.index", kByCatalog},
};
const std::vector<Workload::Spare> kSpareInMoveOfTensorFlows = {
    {"sync / after rename /shard-43.index.cairn-tmp to shard-43.index",
     "nobody has said that the old name is durable; the removal's makes the new one so"},
    {"sync /.cairn-journal.cairn-tmp", kJournal},
};

}  // namespace

std::vector<Workload> move_workloads() {
  return {{"moves of what a Saver has saved", moves, kSpareInMoves},
          {"a move of what TensorFlow has just written", move_of_tensorflows,
           kSpareInMoveOfTensorFlows},
          {"copies, in a new directory and over an older one", copies, {}},
          {"removals until nothing is left",
           removals,
           {{"sync /saved/.cairn-journal.cairn-tmp", kJournal}}}};
}

}  // namespace cairn::crash
