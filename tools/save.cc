#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <string>
#include <vector>

#include "cairn/saver.h"
#include "contents.h"
#include "output.h"
#include "progress.h"
#include "retention.h"
#include "terminal.h"
#include "transfer.h"
#include "verb.h"

namespace cairn::tools {
namespace {

namespace fs = std::filesystem;

constexpr const char* kDescription =
    "Save tensors as the next checkpoint of a directory, durably. The catalog names it as the\n"
    "latest. Old checkpoints are removed: by default the newest five are kept. TensorFlow can\n"
    "read the result.";

constexpr const char* kFooter =
    "Exit status: 0 the checkpoint was saved, and the prefix was printed; 2 it was not, and\n"
    "nothing has changed (for example, a tensor of --from is damaged, or another process\n"
    "writes to DIR). A prefix that exists is saved over if all its tensors are given again\n"
    "with the same dtype and shape; otherwise use --replace.\n\n"
    "TENSOR is NAME=FILE.npy; or NAME:DTYPE=FILE.npy, if numpy has no such dtype\n"
    "(w:float8_e5m2=w.npy, as 'cairn cat --npy' writes it); or NAME:DTYPE=VALUE for a scalar\n"
    "(v1:int32=10, name:string=text). With --from, NAME may be an object path in that\n"
    "checkpoint. numpy strings of kind S lose the NUL bytes at their ends, as in numpy. Void\n"
    "of two bytes is read as bfloat16.\n\n"
    "JSON: {\"prefix\",\"kept\":[...],\"deleted\":[...],\"warnings\":[...],\"base\",\n"
    "\"written_bytes\",\"shared_bytes\",\"dead_bytes\"}. kept is what the catalog lists now,\n"
    "oldest first. base is the checkpoint whose shards are shared, or null; shared_bytes are\n"
    "used in these shards, dead_bytes are not.\n\n"
    "Examples:\n"
    "  cairn save saved/train2 --step 10 v1:int32=21 v2:int32=11\n"
    "  cairn save saved/m --step 20 --from saved embedding=embedding.npy\n"
    "  cairn save saved/m --step 21 --from saved --incremental head=head.npy\n"
    "  cairn save saved/m --step 30 --from saved --metric loss=0.25 --best loss:3\n"
    "  cairn save saved/ckpt --step 1 --object-based model/w=w.npy model/layers/0/b=b.npy";

struct Options {
  std::string prefix;
  std::vector<std::string> tensors;
  std::string from;
  std::string meta;
  std::vector<std::string> metrics;
  RetentionOptions retention;
  SaverOptions saver;
  SaveOptions what;
  bool object_based = false;
  bool follow_links = false;
  bool incremental = false;
  bool no_tensorflow_index = false;
  bool json = false;

  Options() { what.replace = false; }
};

void add_options(CommandLine& line, Options& options) {
  line.add("PREFIX", options.prefix, "DIR/NAME: a directory (made if missing) and a name")
      .required()
      .check(names_files);
  line.add("TENSOR", options.tensors, "NAME=FILE.npy, NAME:DTYPE=FILE.npy or NAME:DTYPE=VALUE");
  line.add("--step", options.what.step, "N", "Save as DIR/NAME-N");
  const Argument from =
      line.add("--from", options.from, "PATH", "Take all other tensors from this checkpoint");
  add_follow_links(line, options.follow_links);
  line.add_flag("--object-based", options.object_based,
                "NAMEs are object paths (model/layers/0/w): save what\n"
                "tf.train.Checkpoint restores, with an object graph and a\n"
                "save_counter (the step, unless you give it)")
      .excludes(from);
  const Argument incremental =
      line.add_flag("--incremental", options.incremental,
                    "Do not write again what --from has: share its shards, by hard\n"
                    "links, where at least half of a shard and 1 MiB are used")
          .needs(from);
  line.add("--full-every", options.saver.full_every, "N",
           "Each N-th incremental save writes everything")
      .needs(incremental);
  line.add_flag("--verify-linked", options.what.verify_linked,
                "Compare the shared bytes with their checksums before")
      .needs(incremental);
  add_retention(line, options.retention);
  line.add("--metric", options.metrics, "NAME=VALUE",
           "A value that --best compares, such as loss=0.25")
      .one_word();
  line.add_flag("--pin", options.what.pinned, "Never remove this checkpoint");
  line.add("--meta", options.meta, "FILE",
           "Also save this file as PREFIX.meta, TensorFlow's graph");
  line.add_flag("--pad-step-number", options.saver.pad_step_number, "Write the step with 8 digits");
  line.add_flag("--no-tensorflow-index", options.no_tensorflow_index,
                "Write no index for TensorFlow");
  add_catalog(line, options.saver.latest_filename);
  line.add_flag("--replace", options.what.replace,
                "Save even if a tensor of the existing checkpoint, or of --from,\n"
                "disappears or changes its dtype or shape");
  add_lock_wait(line, options.saver.lock_wait);
  add_json(line, options.json);
}

Result<std::pair<std::string, double>> parse_metric(const std::string& word) {
  const std::size_t equals = word.rfind('=');
  double value = 0;
  if (equals != 0 && equals != std::string::npos) {
    const char* const end = word.data() + word.size();
    const auto parsed = std::from_chars(word.data() + equals + 1, end, value);
    if (parsed.ec == std::errc() && parsed.ptr == end)
      return std::pair(word.substr(0, equals), value);
  }
  return Error{Code::Invalid, 0,
               fmt::format("--metric: '{}' is not NAME=VALUE with a number", word)};
}

Result<std::string> read_file(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::string bytes{std::istreambuf_iterator<char>(in), {}};
  if (in && !bytes.empty()) return bytes;
  return Error{Code::Io, 0, fmt::format("--meta: {} cannot be read, or is empty", path.native())};
}

// Takes what the words say over into the options of the library.
Result<void> settle(Options& options) {
  auto rules = rules_of(options.retention);
  if (!rules) return std::move(rules).error();
  options.saver.keep_any_of = *std::move(rules);
  options.saver.tensorflow_index = !options.no_tensorflow_index;
  for (const std::string& word : options.metrics) {
    auto metric = parse_metric(word);
    if (!metric) return std::move(metric).error();
    options.what.metrics.push_back(*std::move(metric));
  }
  if (options.meta.empty()) return {};
  auto meta = read_file(options.meta);
  if (!meta) return std::move(meta).error();
  options.what.meta_graph = *std::move(meta);
  return {};
}

Result<Saved> save_contents(Options& options) {
  const auto settled = settle(options);
  if (!settled) return settled.error();
  auto contents =
      Contents::gather(options.tensors, {options.from, options.what.replace, options.follow_links});
  if (!contents) return std::move(contents).error();
  contents->add_metadata(options.what);
  options.what.read_from = contents->source();
  if (options.incremental) {
    options.what.unchanged = contents->leave_in_source();
    if (!options.what.unchanged.empty()) options.what.base = contents->source()->prefix();
  }
  if (options.object_based) {
    const auto done = contents->become_objects(options.what.step.value_or(0));
    if (!done) return done.error();
  }
  const fs::path prefix = options.prefix;
  ProgressBar bar("saving " + options.prefix);
  options.saver.exec = bar.exec(0);
  auto saver = Saver::open(prefix.has_parent_path() ? prefix.parent_path() : ".", options.saver);
  if (!saver) return std::move(saver).error();
  const auto fill = [&](Writer& writer) { return contents->fill(writer, options.saver.exec); };
  auto saved = saver->save(prefix.filename().native(), contents->specs(), fill, options.what);
  if (!saved) return saved;
  const auto warnings = contents->warnings();
  saved->warnings.insert(saved->warnings.begin(), warnings.begin(), warnings.end());
  if (options.what.meta_graph.empty() && contents->source()) {
    const fs::path graph = contents->source()->prefix().native() + ".meta";
    std::error_code ignored;
    if (fs::exists(graph, ignored) && prefix.native() != contents->source()->prefix().native())
      saved->warnings.push_back(graph.native() +
                                ": TensorFlow's graph is not copied; '--meta FILE' saves it too");
  }
  return saved;
}

void print_json(const Saved& saved) {
  Json json;
  json.begin_object().text("prefix", saved.prefix.native()).begin_array("kept");
  for (const fs::path& kept : saved.kept) json.element(kept.native());
  json.end_array().begin_array("deleted");
  for (const fs::path& deleted : saved.deleted) json.element(deleted.native());
  json.end_array().begin_array("warnings");
  for (const std::string& warning : saved.warnings) json.element(warning);
  json.end_array();
  saved.base.empty() ? json.null("base") : json.text("base", saved.base.native());
  json.number("written_bytes", saved.written_bytes).number("shared_bytes", saved.shared_bytes);
  json.number("dead_bytes", saved.dead_bytes).end_object().finish();
}

// stdout has the prefix alone, for scripts.
void say_what_is_shared(const Saved& saved) {
  complain(fmt::format(
      "wrote {}; {} are in shards shared with {}, and {} of these shards are of no use to it",
      human_bytes(saved.written_bytes), human_bytes(saved.shared_bytes), saved.base.native(),
      human_bytes(saved.dead_bytes)));
}

}  // namespace

int save(Arguments arguments) {
  Options options;
  CommandLine line("cairn save", kDescription, kFooter);
  add_options(line, options);
  if (const auto exit = line.parse(arguments)) return *exit;

  const auto saved = save_contents(options);
  if (!saved) {
    complain(saved.error());
    return kFailed;
  }
  print_warnings(saved->warnings);
  if (!saved->base.empty() && !options.json) say_what_is_shared(*saved);
  options.json ? print_json(*saved) : print(safe(saved->prefix.native()) + "\n");
  return kYes;
}

}  // namespace cairn::tools
