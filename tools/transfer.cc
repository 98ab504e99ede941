#include "transfer.h"

#include <fmt/format.h>

#include <filesystem>
#include <map>

#include "cast.h"
#include "output.h"
#include "renaming.h"
#include "retention.h"
#include "verb.h"

namespace cairn::tools {
namespace {

std::string_view how(Link used) {
  switch (used) {
    case Link::Auto:
      return "the payload did not move";
    case Link::Hard:
      return "the payload is hard-linked";
    case Link::Reflink:
      return "the payload shares its blocks (reflink)";
    case Link::Copy:
      break;
  }
  return "the payload is a copy";
}

}  // namespace

void add_fields(Json& json, const Transfer& transfer) {
  json.text("prefix", transfer.prefix.native());
  if (transfer.used == Link::Auto) {
    json.null("link");
  } else {
    json.text("link", name(transfer.used));
  }
  json.number("payload_bytes_copied", transfer.payload_bytes_copied);
  json.begin_array("not_nameable");
  for (const std::string& tensor : transfer.not_nameable) json.element(tensor);
  json.end_array().begin_array("metadata_left_out");
  for (const std::string& key : transfer.metadata_left_out) json.element(key);
  json.end_array().begin_array("safetensors_metadata_left_out");
  for (const std::string& key : transfer.safetensors_metadata_left_out) json.element(key);
  json.end_array();
}

void print_text(const Transfer& transfer) {
  print(fmt::format("{}: {}, {} payload bytes written\n", safe(transfer.prefix.native()),
                    how(transfer.used), grouped(transfer.payload_bytes_copied)));
  for (const std::string& tensor : transfer.not_nameable) {
    print(fmt::format("  left out: {}\n", safe(tensor)));
  }
}

std::string names_files(const std::string& prefix) {
  const std::string name = std::filesystem::path(prefix).filename().native();
  if (!name.empty() && name != "." && name != "..") return {};
  if (prefix.empty()) return "the prefix is empty";
  return "'" + prefix + "' is a directory: a prefix needs a name after the last slash";
}

void add_source_and_output(CommandLine& line, std::string& source, TransferFlags& flags) {
  line.add("SRC", source, "The checkpoint: a PATH as in 'cairn --help'").required();
  line.add("DST", flags.output, "The prefix of the result").required().check(names_files);
}

void add_link(CommandLine& line, TransferFlags& flags) {
  const std::map<std::string, Link> links = {
      {"auto", Link::Auto}, {"hard", Link::Hard}, {"reflink", Link::Reflink}, {"copy", Link::Copy}};
  line.add_choice("--link", flags.options.link, links, "HOW",
                  "With --output, how to transfer the shards: hard (link), reflink,\n"
                  "copy, or auto: a hard link of a shard that Cairn or TensorFlow\n"
                  "wrote, else reflink, else copy");
}

void add_lossy(CommandLine& line, TransferFlags& flags) {
  line.add_flag("--allow-lossy", flags.options.allow_lossy,
                "Leave out what the target cannot hold, and name it on stderr");
}

void add_replace_json_threads(CommandLine& line, TransferFlags& flags) {
  line.add_flag("--replace", flags.options.replace,
                "Replace another checkpoint that is already there");
  add_follow_links(line, flags.options.follow_links);
  add_lock_wait(line, flags.options.lock_wait);
  add_json(line, flags.json);
  add_threads(line, flags.threads);
}

void add_output(CommandLine& line, TransferFlags& flags) {
  line.add("--output", flags.output, "PREFIX",
           "Write the result under this prefix, not beside the payload")
      .check(names_files);
}

int report(const Result<Transfer>& transfer, bool json, bool with_values) {
  if (!transfer) {
    complain(transfer.error());
    return kFailed;
  }
  print_warnings(transfer->warnings);
  if (!json) {
    print_text(*transfer);
    if (!transfer->renamed.empty())
      print(fmt::format("  renamed: {}\n", count_of(transfer->renamed.size(), "tensor")));
    print_cast_counts(transfer->casts);
    return kYes;
  }
  Json object;
  object.begin_object();
  add_fields(object, *transfer);
  if (with_values) {
    add_renamed(object, transfer->renamed);
    add_cast_counts(object, transfer->casts);
  }
  object.end_object().finish();
  return kYes;
}

}  // namespace cairn::tools
