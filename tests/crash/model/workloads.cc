#include <array>
#include <map>

#include "cairn/catalog.h"
#include "cairn/convert.h"
#include "cairn/writer.h"
#include "format/le.h"
#include "lib/os/file.h"
#include "lib/read/names.h"
#include "lib/try.h"
#include "recording.h"
#include "tests/unit/golden.h"
#include "workload_parts.h"

namespace cairn::crash {

using test::Content;
// ---- Parts --------------------------------------------------------------------------------------

const Contents& generation(std::int64_t number) {
  static std::map<std::int64_t, Contents> made;
  auto& contents = made[number];
  if (!contents.empty()) return contents;
  contents = {test::raw("layer/kernel", DType::Float32, {50, 48}),
              test::raw("layer/bias", DType::Float32, {48}),
              test::text("said", {2}, {"generation", std::to_string(number)})};
  if (number % 2 == 1) contents.push_back(test::raw("odd", DType::Float64, {number}));
  for (Content& content : contents)
    content.bytes = test::random_bytes(
        content.bytes.size(), static_cast<std::uint64_t>(number) * 100 + content.bytes.size());
  return contents;
}

std::string note_of(const Contents& contents) {
  const auto said = std::ranges::find(contents, DType::String,
                                      [](const Content& content) { return content.spec.dtype; });
  return said == contents.end() ? std::string() : said->strings.back();
}

Held whole(const Contents& contents) {
  Held held;
  held.claim = Held::Claim::Whole;
  held.contents = &contents;
  return held;
}

const Foreign kOneShard{"tensorflow/tf2_manager/tf_ckpts/ckpt-6",
                        {".data-00000-of-00001", ".index"}};
const Foreign kThreeShards{
    "tensorflow/sharded/shard-42",
    {".data-00000-of-00003", ".data-00001-of-00003", ".data-00002-of-00003", ".index"}};

void save_by_tensorflow(Recorder& recorder, const Foreign& foreign, const std::string& prefix) {
  std::vector<Recorder::ForeignFile> files;
  for (const std::string& suffix : foreign.suffixes)
    files.push_back({suffix, test::read_file(test::golden(foreign.prefix + suffix))});
  recorder.write_foreign(prefix, files);
}

const Contents& contents_of(const std::string& prefix) {
  static std::map<std::string, Contents> read;
  auto& contents = read[prefix];
  if (contents.empty()) contents = crash::contents_of(*Checkpoint::open(prefix));
  return contents;
}

namespace {

const std::string kDirectory = "/saved";

Held noted(const Contents& contents) {
  Held held = whole(contents);
  held.note = note_of(contents);
  return held;
}

// The tensors that a safetensors header can name.
const Contents& without_strings(const Contents& contents) {
  static std::map<const Contents*, Contents> made;
  auto& rest = made[&contents];
  if (!rest.empty()) return rest;
  rest = contents;
  std::erase_if(rest, [](const Content& content) { return content.spec.dtype == DType::String; });
  return rest;
}

Result<void> write(const std::string& prefix, const Contents& contents, WriterOptions options) {
  if (options.cairn_index) options.metadata = {{"note", note_of(contents)}};
  CAIRN_TRY(writer, Writer::create(prefix, test::specs_of(contents), options));
  for (const Content& content : contents) CAIRN_CHECK(test::write_content(writer, content));
  return writer.commit();
}

Result<void> save(Recorder& recorder, const std::string& prefix, const Contents& contents,
                  const WriterOptions& options = {}) {
  const std::string indexes = !options.tensorflow_index ? ", P.cairn alone"
                              : !options.cairn_index    ? ", P.index alone"
                                                        : "";
  return recorder.step(
      "a save under " + prefix + indexes, [&] { return write(prefix, contents, options); },
      [&](World& world) {
        Held held = whole(contents);
        held.cairn = options.cairn_index;
        held.tensorflow = options.tensorflow_index;
        held.meta_graph = options.meta_graph;
        held.note = options.cairn_index ? note_of(contents) : "";
        world.checkpoints[prefix] = held;
      });
}

Result<void> list(Recorder& recorder, std::vector<std::string> prefixes) {
  CheckpointState state;
  state.all_model_checkpoint_paths.assign(prefixes.begin(), prefixes.end());
  state.model_checkpoint_path = prefixes.back();
  return recorder.step(
      "set-latest " + prefixes.back(), [&] { return update_checkpoint_state(kDirectory, state); },
      [&](World& world) {
        world.directory = kDirectory;
        world.listed = std::move(prefixes);
      });
}

// ---- Saving -------------------------------------------------------------------------------------

Result<void> first_save(Recorder& recorder) {
  recorder.begin();
  WriterOptions options;
  options.meta_graph = "a graph";
  return save(recorder, "/new/runs/m", generation(1), options);
}

Result<void> saves_over(Recorder& recorder) {
  recorder.begin();
  CAIRN_CHECK(save(recorder, "/m", generation(1)));
  CAIRN_CHECK(save(recorder, "/m", generation(2)));
  return save(recorder, "/m", generation(3));
}

Result<void> other_indexes(Recorder& recorder) {
  recorder.begin();
  WriterOptions both;
  WriterOptions own;
  own.tensorflow_index = false;
  WriterOptions tensorflow;
  tensorflow.cairn_index = false;
  std::int64_t number = 0;
  for (const WriterOptions& options : {both, own, tensorflow, both, tensorflow, own, both})
    CAIRN_CHECK(save(recorder, "/m", generation(++number), options));
  return {};
}

Result<void> listed_saves(Recorder& recorder) {
  recorder.begin();
  CAIRN_CHECK(save(recorder, "/saved/m-1", generation(1)));
  CAIRN_CHECK(list(recorder, {"/saved/m-1"}));
  CAIRN_CHECK(save(recorder, "/saved/m-2", generation(2)));
  CAIRN_CHECK(list(recorder, {"/saved/m-1", "/saved/m-2"}));
  CAIRN_CHECK(save(recorder, "/saved/m-3", generation(3)));
  return list(recorder, {"/saved/m-1", "/saved/m-2", "/saved/m-3"});
}

// ---- Importing ----------------------------------------------------------------------------------

// A plain copy of all files, which nobody syncs; times and inodes are not those that P.cairn knows.
void copy(Recorder& recorder, const std::string& from, const std::string& to) {
  const Machine& machine = recorder.machine();
  const auto parts = internal::Prefix::of(from);
  std::vector<Recorder::ForeignFile> files;
  for (const auto& [name, inode] : machine.names(machine.find(parts.directory))) {
    if (!name.starts_with(parts.base + ".")) continue;
    files.push_back(
        {name.substr(parts.base.size()), std::string(format::as_text(machine.file(inode).bytes))});
  }
  recorder.write_foreign(to, files);
}

Result<void> import_beside(Recorder& recorder, const std::string& prefix) {
  return recorder.step(
      "the import of " + prefix,
      [&]() -> Result<void> {
        CAIRN_CHECK(import_index(prefix));
        return {};
      },
      [&](World& world) { world.checkpoints[prefix] = whole(contents_of(prefix)); });
}

Result<void> imports(Recorder& recorder) {
  recorder.begin();
  save_by_tensorflow(recorder, kOneShard, "/ckpt-6");
  CAIRN_CHECK(import_beside(recorder, "/ckpt-6"));
  save_by_tensorflow(recorder, kThreeShards, "/shard-42");
  return import_beside(recorder, "/shard-42");
}

Result<void> import_of_a_copy(Recorder& recorder) {
  save_by_tensorflow(recorder, kThreeShards, "/shard-42");
  CAIRN_CHECK(import_beside(recorder, "/shard-42"));
  CAIRN_CHECK(os::Directory::open_or_create("/copy"));
  recorder.begin();
  copy(recorder, "/shard-42", "/copy/shard-42");
  return import_beside(recorder, "/copy/shard-42");
}

Result<void> import_elsewhere(Recorder& recorder, Link link, const std::string& output) {
  recorder.begin();
  save_by_tensorflow(recorder, kThreeShards, "/shard-42");
  TransferOptions options;
  options.output = output;
  options.link = link;
  options.exec.threads_max = 1;
  return recorder.step(
      "an import to " + output,
      [&]() -> Result<void> {
        CAIRN_CHECK(import_index("/shard-42", options));
        return {};
      },
      [&](World& world) { world.checkpoints[output] = whole(contents_of("/shard-42")); });
}

Result<void> import_by_links(Recorder& recorder) {
  return import_elsewhere(recorder, Link::Hard, "/linked/m");
}
Result<void> import_by_copies(Recorder& recorder) {
  return import_elsewhere(recorder, Link::Copy, "/copied/m");
}

// ---- Exporting and converting -------------------------------------------------------------------

Result<void> transfer(Recorder& recorder, const std::string& name,
                      const std::function<Result<Transfer>()>& call,
                      const std::function<void(World&)>& promise) {
  return recorder.step(
      name,
      [&]() -> Result<void> {
        CAIRN_CHECK(call());
        return {};
      },
      promise);
}

// An export cannot know who wrote the payload, and whether it was synced.
Result<void> begin_with_unsynced(Recorder& recorder) {
  WriterOptions options;
  options.tensorflow_index = false;
  CAIRN_CHECK(save(recorder, "/original/m", generation(1), options));
  recorder.begin();
  copy(recorder, "/original/m", "/m");
  return {};
}

Result<void> export_beside(Recorder& recorder) {
  CAIRN_CHECK(begin_with_unsynced(recorder));
  return transfer(
      recorder, "an export to tensorflow", [] { return export_index("/m", Format::TensorFlow); },
      [](World& world) { world.checkpoints["/m"] = noted(generation(1)); });
}

Result<void> export_of_our_own(Recorder& recorder) {
  recorder.begin();
  WriterOptions options;
  options.tensorflow_index = false;
  CAIRN_CHECK(save(recorder, "/m", generation(1), options));
  return transfer(
      recorder, "an export to tensorflow", [] { return export_index("/m", Format::TensorFlow); },
      [](World& world) { world.checkpoints["/m"] = noted(generation(1)); });
}

Result<void> export_to_safetensors(Recorder& recorder) {
  CAIRN_CHECK(begin_with_unsynced(recorder));
  return transfer(
      recorder, "an export to safetensors",
      [] {
        TransferOptions lossy;
        lossy.allow_lossy = true;  // strings
        return export_index("/m", Format::Safetensors, lossy);
      },
      [](World& world) {
        Held held = whole(without_strings(generation(1)));
        held.cairn = held.tensorflow = false;
        world.checkpoints["/m.safetensors"] = held;
      });
}

Result<void> export_elsewhere(Recorder& recorder, Link link, const std::string& output) {
  TransferOptions options;
  options.output = output;
  options.link = link;
  options.allow_lossy = true;  // the note
  options.exec.threads_max = 1;
  return transfer(
      recorder, "an export to " + output,
      [&] { return export_index("/m", Format::TensorFlow, options); },
      [&](World& world) {
        Held held = whole(generation(1));
        held.cairn = false;
        world.checkpoints[output] = held;
      });
}

Result<void> exports_elsewhere(Recorder& recorder) {
  CAIRN_CHECK(begin_with_unsynced(recorder));
  CAIRN_CHECK(export_elsewhere(recorder, Link::Hard, "/linked/m"));
  return export_elsewhere(recorder, Link::Copy, "/copied/m");
}

// Somebody else wrote the payload, and has brought its shard there already.
Result<void> export_over_foreign_links(Recorder& recorder) {
  CAIRN_TRY(output, os::Directory::open_or_create("/linked"));
  recorder.begin();
  save_by_tensorflow(recorder, kOneShard, "/ckpt-6");
  CAIRN_TRY(root, os::Directory::open("/"));
  CAIRN_TRY(shard, root.open_file("ckpt-6.data-00000-of-00001", os::Links::Refuse));
  CAIRN_CHECK(output.link(shard, "m.data-00000-of-00001"));
  TransferOptions options;
  options.output = "/linked/m";
  return transfer(
      recorder, "an export to /linked/m",
      [&] { return export_index("/ckpt-6", Format::TensorFlow, options); },
      [&](World& world) {
        Held held = whole(contents_of("/ckpt-6"));
        held.cairn = false;
        world.foreign_shards.insert("/linked/m.data-00000-of-00001");
        world.checkpoints["/linked/m"] = held;
      });
}

Result<void> convert_to(Recorder& recorder, const std::string& source, const std::string& output,
                        Format target) {
  TransferOptions options;
  options.output = output;
  options.replace = true;
  options.exec.threads_max = 1;
  return transfer(
      recorder, "a conversion of " + source + " to " + output,
      [&] { return convert(source, target, options); },
      [&](World& world) {
        Held held = whole(contents_of(source));
        held.cairn = target == Format::Cairn;
        world.checkpoints[output] = held;
      });
}

Result<void> conversions(Recorder& recorder) {
  recorder.begin();
  save_by_tensorflow(recorder, kOneShard, "/ckpt-6");
  save_by_tensorflow(recorder, kThreeShards, "/shard-42");
  CAIRN_CHECK(convert_to(recorder, "/shard-42", "/new/m", Format::Cairn));
  CAIRN_CHECK(convert_to(recorder, "/ckpt-6", "/new/m", Format::Cairn));
  return convert_to(recorder, "/shard-42", "/new/m", Format::TensorFlow);
}

// The syncs that other calls need.
const char* const kOldIndexSpeaks = "P.index speaks for the old one until it is removed";
const char* const kOutvoted = "beside the new P.index the old P.cairn is skipped";

const std::vector<Workload::Spare> kSpareWithOtherIndexes = {
    {"2, a save under /m, P.cairn alone: sync / after rename /m.cairn.cairn-tmp to m.cairn",
     kOldIndexSpeaks},
    {"3, a save under /m, P.index alone: sync / after remove /m.cairn", kOutvoted},
    {"4, a save under /m: sync / after rename /m.data-00002-of-00003.cairn-tmp to "
     "m.data-00002-of-00003",
     kOldIndexSpeaks},
    {"5, a save under /m, P.index alone: sync / after remove /m.cairn", kOutvoted},
    {"6, a save under /m, P.cairn alone: sync / after rename /m.data-00002-of-00003.cairn-tmp to "
     "m.data-00002-of-00003",
     kOldIndexSpeaks},
};
const char* const kOurOwn = "our own payload was durable before; an export cannot know whose it is";
const std::vector<Workload::Spare> kSpareInExportOfOurOwn = {
    {"2, an export to tensorflow: sync /m.data-00000-of-00002 after write 128 bytes", kOurOwn},
    {"2, an export to tensorflow: sync /m.data-00001-of-00002 after sync /m.data-00000-of-00002",
     kOurOwn},
};
const std::vector<Workload::Spare> kSpareInConversions = {
    {"5, a conversion of /shard-42 to /new/m: sync /new after remove /new/m.cairn", kOutvoted},
};

}  // namespace

const std::vector<Workload>& workloads() {
  static const std::vector<Workload> all = [] {
    std::vector<Workload> some = {
        {"a first save, in new directories", first_save, {}},
        {"saves over the same prefix", saves_over, {}},
        {"saves with other indexes than before", other_indexes, kSpareWithOtherIndexes},
        {"saves in steps, each listed in the catalog", listed_saves, {}},
        {"imports of what TensorFlow has just written", imports, {}},
        {"an import of a plain copy", import_of_a_copy, {}},
        {"an import elsewhere by hard links", import_by_links, {}},
        {"an import elsewhere by copies", import_by_copies, {}},
        {"an export beside the payload", export_beside, {}},
        {"an export beside a payload of our own", export_of_our_own, kSpareInExportOfOurOwn},
        {"an export to safetensors", export_to_safetensors, {}},
        {"exports elsewhere", exports_elsewhere, {}},
        {"an export over links that are there", export_over_foreign_links, {}},
        {"conversions, in a new directory and over older ones", conversions, kSpareInConversions},
    };
    for (Workload& workload : edit_workloads()) some.push_back(std::move(workload));
    for (Workload& workload : hub_workloads()) some.push_back(std::move(workload));
    for (Workload& workload : saver_workloads()) some.push_back(std::move(workload));
    for (Workload& workload : move_workloads()) some.push_back(std::move(workload));
    return some;
  }();
  return all;
}

}  // namespace cairn::crash
