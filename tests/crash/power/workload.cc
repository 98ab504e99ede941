// What is done to a directory while the power may fail, over the public library.
//
//   power_workload NAME LOG GOLDEN     in the root of the file system
//
// It says in the log what may be seen from now on ("begin"), and, once the call has returned, what
// must be ("done"). A mark is a line of words: begin or done, the view, the subject, the version.
// oracle.h says what follows from them.

#include <cairn/cairn.h>
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "block_log.h"
#include "contents.h"
#include "host.h"

namespace {

namespace fs = std::filesystem;
using cairn::Format;
using power::die;

// Views of a checkpoint, as a set: what open() gives, and what TensorFlow sees by P.index.
enum Views : unsigned { kOpen = 1, kIndex = 2, kBoth = 3 };

class Story {
 public:
  Story(const fs::path& log, fs::path golden_dir) : golden(std::move(golden_dir)), log_(log) {}

  // Before and after what makes `contents` the contents of `subject`.
  void begin(unsigned views, const std::string& subject, const std::string& contents) const {
    tell("begin", views, subject + " " + contents);
  }
  void done(unsigned views, const std::string& subject, const std::string& contents) const {
    tell("done", views, subject + " " + contents);
  }
  void latest(std::string_view verb, const std::string& dir, const std::string& prefix) const {
    say(std::string(verb) + " latest " + dir + " " + prefix);
  }

  // A Saver that keeps so many can go on in `dir`, whatever it finds there.
  void resume(const std::string& dir, std::uint64_t kept) const {
    say("begin resume " + dir + " " + std::to_string(kept));
  }

  const fs::path golden;

 private:
  void tell(const std::string& verb, unsigned views, const std::string& what) const {
    if (views & kOpen) say(verb + " open " + what);
    if (views & kIndex) say(verb + " index " + what);
  }
  void say(const std::string& line) const {
    if (!log_.mark(line)) die("cannot write to the log", errno);
  }

  power::BlockLog log_;
};

template <class T>
T must(cairn::Result<T>&& result) {
  if (!result) die(result.error().what);
  if constexpr (!std::is_void_v<T>) return *std::move(result);
}

std::string made(std::uint64_t seed) { return "made:" + std::to_string(seed); }

// ---- Saving -------------------------------------------------------------------------------------

void write(const std::string& prefix, std::uint64_t seed, const cairn::WriterOptions& options) {
  const power::Contents contents = power::made(seed);
  const power::Named named(contents);
  std::vector<cairn::TensorSpec> specs;
  for (const auto& tensor : named.tensors()) specs.push_back(tensor.spec);
  auto writer = must(cairn::Writer::create(prefix, std::move(specs), options));
  for (const auto& [spec, bytes, strings] : named.tensors()) {
    must(spec.dtype == cairn::DType::String ? writer.write_strings(spec.name, strings)
                                            : writer.write(spec.name, bytes));
  }
  must(writer.commit());
}

void save(const Story& story, const std::string& prefix, std::uint64_t seed,
          const cairn::WriterOptions& options = {}) {
  const std::string seen_by_tensorflow = options.tensorflow_index ? made(seed) : "none";
  story.begin(kOpen, prefix, made(seed));
  story.begin(kIndex, prefix, seen_by_tensorflow);
  write(prefix, seed, options);
  story.done(kOpen, prefix, made(seed));
  story.done(kIndex, prefix, seen_by_tensorflow);
}

// Checkpoint after checkpoint in one directory, the catalog kept.
void series(const Story& story) {
  cairn::CheckpointState state;
  for (std::uint64_t generation = 1; generation <= 4; ++generation) {
    const std::string prefix = "series/m-" + std::to_string(generation);
    save(story, prefix, 100 + generation);
    state.model_checkpoint_path = prefix;
    state.all_model_checkpoint_paths.push_back(prefix);
    story.latest("begin", "series", prefix);
    must(cairn::update_checkpoint_state("series", state));
    story.latest("done", "series", prefix);
  }
}

// One prefix again and again, with both indexes, the one and the other.
void over(const Story& story) {
  const std::vector<std::pair<bool, bool>> indexes{{true, true},  {true, true},  {false, true},
                                                   {true, true},  {true, false}, {false, true},
                                                   {true, false}, {true, true}};
  for (std::uint64_t generation = 0; generation < indexes.size(); ++generation) {
    cairn::WriterOptions options;
    std::tie(options.tensorflow_index, options.cairn_index) = indexes[generation];
    save(story, "over/m", 200 + generation, options);
  }
}

// ---- The Saver ----------------------------------------------------------------------------------

constexpr std::uint64_t kKept = 2;

cairn::Saver saver_of(const std::string& dir, std::vector<cairn::Retention> keep) {
  cairn::SaverOptions options;
  options.keep_any_of = std::move(keep);
  return must(cairn::Saver::open(dir, options));
}

// From now on retention may let go of it.
void let_go(const Story& story, const std::string& dir, int step) {
  story.begin(kBoth, dir + "/m-" + std::to_string(step), "none");
}

void save_step(const Story& story, cairn::Saver& saver, const std::string& dir, int step) {
  const std::uint64_t seed = 400 + static_cast<std::uint64_t>(step);
  const std::string prefix = dir + "/m-" + std::to_string(step);
  const power::Contents contents = power::made(seed);
  const power::Named named(contents);
  cairn::SaveOptions options;
  options.step = step;
  story.begin(kBoth, prefix, made(seed));
  story.latest("begin", dir, prefix);
  if (step % 2 == 0) {
    must(saver.save("m", named.tensors(), options));
  } else {
    must(must(saver.save_async("m", named.tensors(), cairn::Saver::Memory::Copy, options)).wait());
  }
  story.done(kBoth, prefix, made(seed));
  story.latest("done", dir, prefix);
}

// Two stay with each save; then, in a directory where all stay and one is pinned, with a prune.
void saver(const Story& story) {
  story.resume("kept", kKept);
  cairn::Saver two = saver_of("kept", {cairn::Retention::newest(kKept)});
  for (int step = 1; step <= 4; ++step) {
    if (step > 2) let_go(story, "kept", step - 2);
    save_step(story, two, "kept", step);
  }
  cairn::Saver all = saver_of("pruned", {});
  for (int step = 1; step <= 3; ++step) save_step(story, all, "pruned", step);
  must(all.pin("pruned/m-1"));
  let_go(story, "pruned", 2);
  must(saver_of("pruned", {cairn::Retention::newest(1)}).prune(false));
}

// ---- What TensorFlow left -----------------------------------------------------------------------

// As TensorFlow does it: written under another name, renamed, and never synced.
void copy_unsynced(const fs::path& from, const fs::path& to) {
  const std::vector<std::byte> bytes = power::read_file(from);
  const fs::path temporary = to.string() + ".tempstate";
  const power::Descriptor file = power::open_file(temporary, O_WRONLY | O_CREAT | O_TRUNC);
  if (::write(file.get(), bytes.data(), bytes.size()) != static_cast<ssize_t>(bytes.size()))
    die(to.string(), errno);
  fs::rename(temporary, to);
}

// The files of the golden checkpoint `from` as those of `prefix`.
void lay_down(const fs::path& from, const std::string& prefix) {
  fs::create_directories(fs::path(prefix).parent_path());
  const std::string base = from.filename().string();
  for (const auto& entry : fs::directory_iterator(from.parent_path())) {
    const std::string name = entry.path().filename().string();
    const bool member = name.starts_with(base + ".index") || name.starts_with(base + ".data-");
    if (member) copy_unsynced(entry.path(), prefix + name.substr(base.size()));
  }
}

const std::vector<std::string>& golden_prefixes() {
  static const std::vector<std::string> prefixes{
      "tensorflow/saver_walk/saved/train2-8", "tensorflow/sharded/shard-42",
      "tensorflow/partitioned/part", "tensorflow/strings/all"};
  return prefixes;
}

// The first step of an import is TensorFlow's: from "unsynced" on, anything may lie there.
void import_from(const Story& story, const std::string& golden, const std::string& prefix) {
  story.begin(kBoth, prefix, "unsynced");
  story.done(kBoth, prefix, "unsynced");
  story.begin(kBoth, prefix, "golden:" + golden);
  lay_down(story.golden / golden, prefix);
  must(cairn::import_index(prefix));
  story.done(kBoth, prefix, "golden:" + golden);
}

void import_elsewhere(const Story& story, const std::string& golden, const fs::path& prefix,
                      const cairn::TransferOptions& options) {
  const std::string output = options.output.string();
  story.begin(kBoth, output, "golden:" + golden);
  must(cairn::import_index(prefix, options));
  story.done(kBoth, output, "golden:" + golden);
}

void import_all(const Story& story) {
  int number = 0;
  for (const std::string& golden : golden_prefixes()) {
    const std::string name = "m" + std::to_string(++number);
    import_from(story, golden, "tf" + std::to_string(number % 2) + "/" + name);
    cairn::TransferOptions options;
    options.output = "linked/" + name;
    if (number % 2 == 0) {
      options.output = "copied/" + name;
      options.link = cairn::Link::Copy;
    }
    import_elsewhere(story, golden, "tf" + std::to_string(number % 2) + "/" + name, options);
  }
  // TensorFlow saves over its checkpoint, behind the back of P.cairn.
  import_from(story, "tensorflow/saver_walk/saved/train2-9", "tf1/m1");
}

// ---- Export and convert -------------------------------------------------------------------------

void export_made(const Story& story, const std::string& prefix, const std::string& contents,
                 const std::string& output) {
  cairn::TransferOptions options;
  if (output != prefix) options.output = output;
  story.begin(output == prefix ? kIndex : kBoth, output, contents);
  must(cairn::export_index(prefix, Format::TensorFlow, options));
  story.done(output == prefix ? kIndex : kBoth, output, contents);
}

void export_all(const Story& story) {
  for (std::uint64_t generation = 1; generation <= 3; ++generation) {
    const std::string prefix = "export/m-" + std::to_string(generation);
    const std::string contents = made(300 + generation);
    cairn::WriterOptions options;
    options.tensorflow_index = false;
    save(story, prefix, 300 + generation, options);
    export_made(story, prefix, contents, "elsewhere/m-" + std::to_string(generation));
    export_made(story, prefix, contents, prefix);
  }
}

void convert_to(const Story& story, const std::string& golden, Format target,
                const std::string& output) {
  cairn::TransferOptions options;
  options.output = output;
  options.replace = true;
  const unsigned views = target == Format::Safetensors ? kOpen : kBoth;
  const std::string subject = output + (target == Format::Safetensors ? ".safetensors" : "");
  story.begin(views, subject, "golden:" + golden);
  must(cairn::convert(story.golden / golden, target, options));
  story.done(views, subject, "golden:" + golden);
}

void convert_all(const Story& story) {
  for (const std::string& golden : golden_prefixes()) {
    convert_to(story, golden, Format::Cairn, "convert/c");
    convert_to(story, golden, Format::TensorFlow, "convert/t");
  }
  for (const char* golden : {"tensorflow/saver_walk/saved/train2-8", "tensorflow/sharded/shard-42"})
    convert_to(story, golden, Format::Safetensors, "convert/s");
  convert_to(story, golden_prefixes().front(), Format::TensorFlow, "convert/c");
}

}  // namespace

int main(int count, char** arguments) {
  const std::map<std::string_view, void (*)(const Story&)> workloads{
      {"series", series},     {"over", over},   {"import", import_all},
      {"export", export_all}, {"saver", saver}, {"convert", convert_all}};
  const auto chosen = count == 4 ? workloads.find(arguments[1]) : workloads.end();
  if (chosen == workloads.end()) die("usage: power_workload NAME LOG GOLDEN");
  chosen->second(Story(arguments[2], arguments[3]));
  return 0;
}
