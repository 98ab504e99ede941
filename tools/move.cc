#include <fmt/format.h>

#include <string>

#include "cairn/copy.h"
#include "transfer.h"
#include "verb.h"

namespace cairn::tools {
namespace {

constexpr const char* kDescription =
    "Give a checkpoint another name or directory, with all its files. At each moment it opens\n"
    "under the old name or the new one, and every catalog of its directory lists a name that\n"
    "opens. Within a file system no tensor byte is read or moved. Across file systems, every\n"
    "byte is copied and compared with its checksum.";

constexpr const char* kFooter =
    "TO is a prefix, or an existing directory. In a directory the checkpoint keeps its name.\n"
    "Within one directory, the entry in each catalog is changed in place. In another\n"
    "directory, the entry is removed; list the checkpoint there with 'cairn set-latest'. Pins\n"
    "are kept.\n\n"
    "Exit status: 0 the checkpoint was moved durably, 2 it could not be done.\n\n"
    "JSON: as for 'cairn import', and \"catalogs\": the catalogs of the old directory that\n"
    "listed it. \"link\" is \"hard\" if the files are the same.\n\n"
    "Examples:\n"
    "  cairn mv saved/train2-9 saved/best\n"
    "  cairn mv saved/train2-9 archive/";

int report_moved(const Result<Moved>& done, const std::string& source, bool json) {
  if (!done) {
    complain(done.error());
    return kFailed;
  }
  const Transfer& transfer = done->transfer;
  print_warnings(transfer.warnings);
  if (!json) {
    print(fmt::format("{} → {}: {} payload bytes written\n", safe(source),
                      safe(transfer.prefix.native()), grouped(transfer.payload_bytes_copied)));
    return kYes;
  }
  Json object;
  object.begin_object();
  add_fields(object, transfer);
  object.begin_array("catalogs");
  for (const std::string& name : done->catalogs) object.element(name);
  object.end_array().end_object().finish();
  return kYes;
}

}  // namespace

int move_verb(Arguments arguments) {
  std::string source;
  std::string catalog = "checkpoint";
  TransferFlags flags;
  CommandLine line("cairn mv", kDescription, kFooter);
  line.add("FROM", source, "The checkpoint: its prefix, or its one file").required();
  line.add("TO", flags.output, "Its new prefix, or a directory for it").required();
  add_catalog(line, catalog);
  add_replace_json_threads(line, flags);
  if (const auto exit = line.parse(arguments)) return *exit;

  const auto done = run("moving " + source, flags, [&](const TransferOptions& options) {
    return move_checkpoint(source, options, catalog);
  });
  return report_moved(done, source, flags.json);
}

}  // namespace cairn::tools
