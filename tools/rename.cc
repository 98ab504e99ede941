#include <string>
#include <vector>

#include "cairn/edit.h"
#include "output.h"
#include "renaming.h"
#include "transfer.h"
#include "verb.h"

namespace cairn::tools {
namespace {

constexpr const char* kDescription =
    "Rename tensors. With --output, write a checkpoint with the new names over the same\n"
    "shards. Without --output, replace the indexes of PATH, which needs --replace; at each\n"
    "moment all names are the old ones or all are the new ones. Reads and moves no tensor\n"
    "byte.";

constexpr const char* kFooter =
    "OLD=NEW is split at the first '=', PATTERN=REPLACEMENT at the last '='. PATTERN is a\n"
    "regular expression in RE2's syntax. Every match in a name is replaced: $1 is the first\n"
    "group, $& is the match. Look-around and back-references are not supported. Patterns are\n"
    "applied one after another, to the names that no --map names, after --strip-prefix.\n\n"
    "Exit status: 0 the result was written and is durable, 2 it could not be done.\n\n"
    "JSON: as for 'cairn import', and \"renamed\": a list of {\"from\",\"to\"}. With --dry-run:\n"
    "\"renamed\" alone.\n\n"
    "Examples:\n"
    "  cairn rename saved/train2-9 --map v1=layer/kernel --output new/m\n"
    "  cairn rename saved/train2-9 --regex '^encoder_([0-9]+)/=encoder/layer_$1/' --dry-run\n"
    "  cairn rename saved/train2-9 --regex '/kernel$=/weight' --replace";

void add_renaming(CommandLine& line, Renaming& renaming) {
  const auto to_map = [&renaming](const std::string& word) {
    renaming.names.push_back(split(word, word.find('=')));
  };
  line.add_each("--map", to_map, "OLD=NEW", "Rename the tensor OLD to NEW; may be repeated")
      .check(has_equals);
  add_prefix_and_patterns(line, renaming, "--regex");
}

int dry_run(const std::string& path, const Renaming& renaming, const TransferFlags& flags) {
  const auto changes = name_changes(path, renaming, flags.options.follow_links);
  if (!changes) {
    complain(changes.error());
    return kFailed;
  }
  if (!flags.json) {
    print_changes(*changes);
    return kYes;
  }
  Json object;
  object.begin_object();
  add_renamed(object, *changes);
  object.end_object().finish();
  return kYes;
}

int report_renamed(const Result<Renamed>& done, bool json) {
  if (!done) {
    complain(done.error());
    return kFailed;
  }
  print_warnings(done->transfer.warnings);
  if (!json) {
    print_text(done->transfer);
    print_changes(done->names);
    return kYes;
  }
  Json object;
  object.begin_object();
  add_fields(object, done->transfer);
  add_renamed(object, done->names);
  object.end_object().finish();
  return kYes;
}

}  // namespace

int rename_verb(Arguments arguments) {
  std::string path;
  Renaming renaming;
  TransferFlags flags;
  bool dry = false;
  CommandLine line("cairn rename", kDescription, kFooter);
  add_path(line, path);
  add_renaming(line, renaming);
  add_output(line, flags);
  add_link(line, flags);
  line.add_flag("--dry-run", dry, "Only print what would be renamed");
  add_replace_json_threads(line, flags);
  if (const auto exit = line.parse(arguments)) return *exit;
  if (dry) return dry_run(path, renaming, flags);

  const auto done = run("renaming in " + path, flags, [&](const TransferOptions& options) {
    return rename_tensors(path, renaming, options);
  });
  return report_renamed(done, flags.json);
}

}  // namespace cairn::tools
