#include "cairn/salvage.h"

#include <fmt/format.h>

#include <string>
#include <string_view>

#include "output.h"
#include "progress.h"
#include "transfer.h"
#include "verb.h"

namespace cairn::tools {
namespace {

constexpr const char* kDescription =
    "Write the whole tensors of a damaged checkpoint to a new one, and list the others.\n"
    "Compares every byte with its checksum. A tensor is lost if it is damaged, or if its\n"
    "shard is missing, truncated or on a failing disk. Never changes SRC.";

constexpr const char* kFooter =
    "Exit status: 0 all tensors were whole; 1 some tensors were lost (DST has the others and\n"
    "is durable); 2 it could not be done, or no tensor is whole (nothing was written).\n\n"
    "A .safetensors file stores no checksums. If it is truncated, the tensors that are still\n"
    "inside the file are kept.\n\n"
    "Examples:\n"
    "  cairn salvage saved/train2-9 rescued/train2-9 --dry-run\n"
    "  cairn salvage saved/train2-9 rescued/train2-9 --json";

void add_range(Json& json, const LostRange& range) {
  json.begin_object();
  range.shard.empty() ? json.null("shard") : json.text("shard", range.shard);
  json.number("offset", range.offset_bytes).number("bytes", range.size_bytes);
  range.stored_crc32c ? json.text("stored", hex(*range.stored_crc32c)) : json.null("stored");
  range.computed_crc32c ? json.text("computed", hex(*range.computed_crc32c))
                        : json.null("computed");
  json.text("why", range.why).end_object();
}

void add_found(Json& json, const Salvageable& found) {
  json.number("tensors_kept", found.tensors_kept).number("tensors", found.tensors_total);
  json.number("bytes_kept", found.bytes_kept).number("bytes", found.bytes_total);
  json.begin_array("lost");
  for (const LostTensor& tensor : found.lost) {
    json.begin_object().text("name", tensor.name).number("bytes", tensor.size_bytes);
    json.begin_array("ranges");
    for (const LostRange& range : tensor.ranges) add_range(json, range);
    json.end_array().end_object();
  }
  json.end_array();
}

void print_lost(const LostTensor& tensor) {
  const std::size_t more = tensor.ranges.size() - 1;
  print(fmt::format("lost: tensor '{}': {}{}\n", safe(tensor.name), safe(tensor.ranges.front().why),
                    more == 0 ? "" : fmt::format("; and {} more", more)));
}

// "saved/train2-9: would keep", and the same of what was done.
struct Subject {
  std::string prefix;
  std::string_view does;
};

int report(const Salvageable& found, const Subject& subject, bool json) {
  print_warnings(found.warnings);
  if (json) {
    Json object;
    object.begin_object().text("prefix", subject.prefix);
    add_found(object, found);
    object.end_object().finish();
  } else {
    for (const LostTensor& tensor : found.lost) print_lost(tensor);
    print(fmt::format("{}: {} {} of {}, {} of {} bytes\n", safe(subject.prefix), subject.does,
                      grouped(found.tensors_kept), count_of(found.tensors_total, "tensor"),
                      grouped(found.bytes_kept), grouped(found.bytes_total)));
  }
  return found.lost.empty() ? kYes : kNo;
}

int dry_run(const std::string& source, const TransferFlags& flags) {
  ProgressBar bar("looking at " + source);
  const auto found = salvageable(source, bar.exec(flags.threads), flags.options.follow_links);
  if (!found) {
    complain(found.error());
    return kFailed;
  }
  return report(*found, {source, "would keep"}, flags.json);
}

}  // namespace

int salvage_verb(Arguments arguments) {
  std::string source;
  TransferFlags flags;
  bool dry = false;
  CommandLine line("cairn salvage", kDescription, kFooter);
  add_source_and_output(line, source, flags);
  line.add_flag("--dry-run", dry, "Only list what would be kept and what is lost");
  add_replace_json_threads(line, flags);
  if (const auto exit = line.parse(arguments)) return *exit;
  if (dry) return dry_run(source, flags);

  const auto done = run("salvaging " + source, flags, [&](const TransferOptions& options) {
    return salvage(source, {options.output, options.replace, options.follow_links,
                            options.lock_wait, options.exec});
  });
  if (!done) {
    complain(done.error());
    return kFailed;
  }
  return report(done->found, {done->transfer.prefix.native(), "kept"}, flags.json);
}

}  // namespace cairn::tools
