// Merges and renames: new indexes over shards that nobody may have synced.

#include <algorithm>
#include <filesystem>
#include <map>

#include "cairn/edit.h"
#include "cairn/writer.h"
#include "lib/try.h"
#include "workload_parts.h"

namespace cairn::crash {
namespace {

using Paths = std::vector<std::filesystem::path>;

// Kept for as long as worlds point at them.
const Contents& kept(const std::string& name, Contents contents) {
  static std::map<std::string, Contents> all;
  return all.try_emplace(name, std::move(contents)).first->second;
}

Result<void> merge_to(Recorder& recorder, const Paths& sources, const std::string& output) {
  std::string name = "a merge to " + output + " of";
  Contents all;
  for (const auto& source : sources) {
    name += " " + source.string();
    std::ranges::copy(contents_of(source.string()), std::back_inserter(all));
  }
  TransferOptions options;
  options.output = output;
  options.replace = true;
  options.exec.threads_max = 1;
  return recorder.step(
      name,
      [&]() -> Result<void> {
        CAIRN_CHECK(merge(sources, options));
        return {};
      },
      [&](World& world) { world.checkpoints[output] = whole(kept(name, std::move(all))); });
}

Result<void> merges(Recorder& recorder) {
  recorder.begin();
  save_by_tensorflow(recorder, kOneShard, "/ckpt-6");
  save_by_tensorflow(recorder, kThreeShards, "/shard-42");
  CAIRN_CHECK(merge_to(recorder, {"/shard-42"}, "/new/m"));
  return merge_to(recorder, {"/ckpt-6", "/shard-42"}, "/new/m");
}

// Every name gets another, in place.
Result<void> rename_all(Recorder& recorder, const std::string& prefix, const Held& held) {
  const std::string name = "a rename in " + prefix;
  Contents contents = contents_of(prefix);
  for (test::Content& content : contents) content.spec.name = "new/" + content.spec.name;
  TransferOptions options;
  options.replace = true;
  return recorder.step(
      name,
      [&]() -> Result<void> {
        CAIRN_CHECK(rename_tensors(prefix, {{}, {{"^", "new/"}}}, options));
        return {};
      },
      [&](World& world) {
        Held renamed = held;
        renamed.contents = &kept(name, std::move(contents));
        world.checkpoints[prefix] = renamed;
      });
}

Result<void> rename_of_tensorflows(Recorder& recorder) {
  recorder.begin();
  save_by_tensorflow(recorder, kThreeShards, "/shard-42");
  Held held = whole(contents_of("/shard-42"));
  held.cairn = false;
  return rename_all(recorder, "/shard-42", held);
}

Result<void> rename_of_our_own(Recorder& recorder) {
  const auto write = []() -> Result<void> {
    const Contents& contents = generation(2);
    WriterOptions options;
    options.metadata = {{"note", note_of(contents)}};
    CAIRN_TRY(writer, Writer::create("/m", test::specs_of(contents), options));
    for (const test::Content& content : contents) CAIRN_CHECK(test::write_content(writer, content));
    return writer.commit();
  };
  Held held = whole(generation(2));
  held.note = note_of(generation(2));
  recorder.begin();
  CAIRN_CHECK(recorder.step("a save under /m", write,
                            [&](World& world) { world.checkpoints["/m"] = held; }));
  return rename_all(recorder, "/m", held);
}

const char* const kOurOwn = "our own payload was durable before; a rename cannot know whose it is";
const std::vector<Workload::Spare> kSpareInRenameOfOurOwn = {
    {"2, a rename in /m: sync /m.data-00000-of-00002 after write 128 bytes", kOurOwn},
    {"2, a rename in /m: sync /m.data-00001-of-00002 after sync /m.data-00000-of-00002", kOurOwn},
};

const char* const kMergedBefore = "the merge before has synced it";
const std::vector<Workload::Spare> kSpareInMerges = {
    {"4, a merge to /new/m of /ckpt-6 /shard-42: sync /shard-42.data-00000-of-00003",
     kMergedBefore},
    {"4, a merge to /new/m of /ckpt-6 /shard-42: sync /shard-42.data-00001-of-00003",
     kMergedBefore},
    {"4, a merge to /new/m of /ckpt-6 /shard-42: sync /shard-42.data-00002-of-00003",
     kMergedBefore},
};

}  // namespace

std::vector<Workload> edit_workloads() {
  return {{"merges, in a new directory and over an older one", merges, kSpareInMerges},
          {"a rename of what TensorFlow has just written", rename_of_tensorflows, {}},
          {"a rename of a checkpoint of our own", rename_of_our_own, kSpareInRenameOfOurOwn}};
}

}  // namespace cairn::crash
