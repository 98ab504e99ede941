#include "cairn/copy.h"

#include <string>

#include "transfer.h"
#include "verb.h"

namespace cairn::tools {
namespace {

constexpr const char* kDescription =
    "Copy a checkpoint with all its files: shards, both indexes, graph. Compares every byte\n"
    "of the copy with its checksum. The copy shares no file with FROM; it shares disk blocks\n"
    "if the file system can (reflink). No catalog lists the copy.";

constexpr const char* kFooter =
    "TO is a prefix, or an existing directory. In a directory the checkpoint keeps its name.\n\n"
    "Exit status: 0 the copy was written and is durable, 2 it could not be done (for example,\n"
    "FROM is damaged); then TO was not written.\n\n"
    "JSON: as for 'cairn import'; \"link\" is \"copy\" or \"reflink\".\n\n"
    "Examples:\n"
    "  cairn cp saved/train2-9 backup/\n"
    "  cairn cp saved saved/best        # the latest of a directory";

}  // namespace

int copy_verb(Arguments arguments) {
  std::string source;
  TransferFlags flags;
  CommandLine line("cairn cp", kDescription, kFooter);
  line.add("FROM", source, "The checkpoint: a PATH as in 'cairn --help'").required();
  line.add("TO", flags.output, "The prefix of the copy, or a directory for it").required();
  add_replace_json_threads(line, flags);
  if (const auto exit = line.parse(arguments)) return *exit;

  const auto done = run("copying " + source, flags, [&](const TransferOptions& options) {
    return copy_checkpoint(source, options);
  });
  return report(done, flags.json);
}

}  // namespace cairn::tools
