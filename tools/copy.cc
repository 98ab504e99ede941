#include "cairn/copy.h"

#include <string>

#include "transfer.h"
#include "verb.h"

namespace cairn::tools {
namespace {

constexpr const char* kDescription =
    "Copy a checkpoint with all its files: shards, both indexes, the graph. Every byte is compared "
    "with\n"
    "its checksum where it has arrived. The copy shares no file with FROM, at most blocks where "
    "the file\n"
    "system can (reflink), and no catalog lists it.";

constexpr const char* kFooter =
    "TO is a prefix, or a directory that is there, in which the checkpoint keeps its name.\n\n"
    "Exit status: 0 the copy is there and durable, 2 it could not be done (damage in FROM among "
    "the\n"
    "reasons; then TO is not there).\n\n"
    "JSON: as that of 'cairn import'; \"link\" is \"copy\" or \"reflink\".\n\n"
    "Examples:\n"
    "  cairn cp saved/train2-9 backup/\n"
    "  cairn cp saved saved/best        # the latest of a directory";

}  // namespace

int copy_verb(Arguments arguments) {
  std::string source;
  TransferFlags flags;
  CommandLine line("cairn cp", kDescription, kFooter);
  line.add("FROM", source, "The checkpoint: whatever 'cairn --help' says PATH is").required();
  line.add("TO", flags.output, "The prefix of the copy, or a directory for it").required();
  add_replace_json_threads(line, flags);
  if (const auto exit = line.parse(arguments)) return *exit;

  const auto done = run("copying " + source, flags, [&](const TransferOptions& options) {
    return copy_checkpoint(source, options);
  });
  return report(done, flags.json);
}

}  // namespace cairn::tools
