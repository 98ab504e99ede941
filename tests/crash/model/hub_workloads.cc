// Models in several safetensors files, each set in a directory that gets its name at once.

#include <algorithm>
#include <map>

#include "cairn/convert.h"
#include "lib/try.h"
#include "workload_parts.h"

namespace cairn::crash {
namespace {

constexpr std::uint64_t kFileBytesMax = 200;

// The first tensors of /shard-42; kept for as long as worlds point at them.
const Contents& first_tensors(std::size_t count) {
  static std::map<std::size_t, Contents> all;
  auto [at, is_new] = all.try_emplace(count, contents_of("/shard-42"));
  if (is_new) at->second.resize(std::min(count, at->second.size()));
  return at->second;
}

Result<void> write_model(Recorder& recorder, std::size_t tensor_count) {
  const Contents& contents = first_tensors(tensor_count);
  TransferOptions options;
  options.output = "/hub/model";
  options.replace = true;
  options.max_shard_bytes = kFileBytesMax;
  options.exec.threads_max = 1;
  options.tensors.emplace();
  for (const test::Content& content : contents) options.tensors->push_back(content.spec.name);
  return recorder.step(
      "a model of " + std::to_string(contents.size()) + " tensors",
      [&]() -> Result<void> {
        CAIRN_CHECK(convert("/shard-42", Format::Safetensors, options));
        return {};
      },
      [&](World& world) {
        Held held = whole(contents);
        held.cairn = held.tensorflow = false;
        held.is_model = true;
        world.checkpoints["/hub/model"] = held;
      });
}

Result<void> models(Recorder& recorder) {
  recorder.begin();
  save_by_tensorflow(recorder, kThreeShards, "/shard-42");
  CAIRN_CHECK(write_model(recorder, 7));  // two files
  CAIRN_CHECK(write_model(recorder, 3));  // one
  return write_model(recorder, 6);
}

const char* const kAsked = "it asks whether the directory can be synced, before bytes are written";
const std::vector<Workload::Spare> kSpareInModels = {
    {"2, a model of 7 tensors: sync /hub after sync /", kAsked},
    {"3, a model of 3 tensors: sync /hub after sync /hub", kAsked},
    {"4, a model of 6 tensors: sync /hub after remove /hub/model.cairn-tmp", kAsked},
};

}  // namespace

std::vector<Workload> hub_workloads() {
  return {{"models in several files, in a new directory and in place of older ones", models,
           kSpareInModels}};
}

}  // namespace cairn::crash
