#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include "cairn/checkpoint.h"
#include "output.h"
#include "progress.h"
#include "verb.h"

namespace cairn::tools {
namespace {

constexpr const char* kDescription =
    "Check every byte of the index and compare every data byte with its checksum. Reads the\n"
    "files, on all cores. Prints one line for each damaged range: tensor, shard, bytes,\n"
    "stored and computed checksum.";

constexpr const char* kFooter =
    "Exit status: 0 no damage was found, 1 damage was found, 2 a checkpoint could not be\n"
    "checked.\n\n"
    "A .safetensors file stores no checksums. Only its header can be checked; the bytes of\n"
    "its tensors are counted as unchecked. The members of an archive (.npz, .pt, .keras)\n"
    "have a CRC-32, which is compared.\n\n"
    "Examples:\n"
    "  cairn verify saved/train2-9\n"
    "  cairn verify saved/*.index --json";

// What looking at one checkpoint came to.
struct Outcome {
  std::string prefix;
  std::string label;  // what lines begin with
  std::uint64_t bytes_checked = 0;
  std::uint64_t unchecked_bytes = 0;
  std::vector<Damage> damage;
  std::string why;  // it could not be opened or looked at
  Exit exit = kYes;
};

// What says that a directory is a checkpoint: a catalog, or the index of a SavedModel, of a Hugging
// Face model or of a distributed checkpoint of PyTorch.
constexpr const char* kDirectoryIndexes[] = {"checkpoint",
                                             "variables/variables.index",
                                             "model.safetensors.index.json",
                                             "diffusion_pytorch_model.safetensors.index.json",
                                             "pytorch_model.bin.index.json",
                                             ".metadata"};

// Whether `path` names something: then a missing piece is damage, not a wrong name.
bool something_is_there(const std::string& path) {
  std::error_code ignored;
  if (std::filesystem::is_directory(path, ignored)) {
    return std::ranges::any_of(kDirectoryIndexes, [&](const char* file) {
      return std::filesystem::exists(path + "/" + file, ignored);
    });
  }
  for (const char* suffix : {"", ".index", ".cairn"}) {
    if (std::filesystem::exists(path + suffix, ignored)) return true;
  }
  return false;
}

Outcome failed(const std::string& path, const Error& error) {
  const bool damaged =
      error.code == Code::Corrupt || (error.code == Code::NotFound && something_is_there(path));
  complain(error);
  return {.prefix = path, .why = error.what, .exit = damaged ? kNo : kFailed};
}

// A file of another format as it was given; else the prefix of what was found there.
std::string label_of(const Checkpoint& checkpoint, const std::string& path) {
  const Format format = checkpoint.format();
  std::error_code ignored;
  const bool is_prefix =
      format == Format::Cairn || format == Format::TensorFlow || format == Format::TensorFlowV1;
  const bool is_file = !is_prefix && std::filesystem::is_regular_file(path, ignored);
  return is_file ? path : checkpoint.prefix().native();
}

Outcome look_at(const std::string& path, bool follow_links, unsigned threads) {
  OpenOptions options;
  options.verify = Verify::None;
  options.follow_links = follow_links;
  const auto checkpoint = Checkpoint::open(path, options);
  if (!checkpoint) return failed(path, checkpoint.error());
  print_warnings(checkpoint->warnings());
  ProgressBar bar("verifying " + path);
  auto verified = checkpoint->verify(bar.exec(threads));
  if (!verified) return failed(checkpoint->prefix().native(), verified.error());

  Outcome outcome;
  outcome.prefix = checkpoint->prefix().native();
  outcome.label = label_of(*checkpoint, path);
  outcome.bytes_checked = verified->bytes_checked;
  outcome.unchecked_bytes = verified->unchecked_bytes;
  outcome.damage = std::move(verified->damage);
  outcome.exit = outcome.damage.empty() ? kYes : kNo;
  return outcome;
}

// Whole is only what was looked at as a whole.
bool nobody_knows(const Outcome& outcome) noexcept {
  return outcome.exit == kYes && outcome.unchecked_bytes != 0;
}

// Not, if the bytes are in a member of an archive, which has a CRC-32.
bool has_crc32c(const Damage& damage) noexcept {
  return damage.stored_crc32c != damage.computed_crc32c;
}

void print_json(const std::vector<Outcome>& outcomes) {
  Json json;
  json.begin_object().begin_array("checkpoints");
  for (const Outcome& outcome : outcomes) {
    json.begin_object().text("prefix", outcome.prefix);
    nobody_knows(outcome) ? json.null("whole") : json.flag("whole", outcome.exit == kYes);
    json.number("bytes_checked", outcome.bytes_checked);
    json.number("unchecked_bytes", outcome.unchecked_bytes).begin_array("damage");
    for (const Damage& damage : outcome.damage) {
      json.begin_object();
      damage.tensor.empty() ? json.null("tensor") : json.text("tensor", damage.tensor);
      json.text("shard", damage.shard);
      json.number("offset", damage.offset_bytes).number("bytes", damage.size_bytes);
      if (has_crc32c(damage)) {
        json.text("stored", hex(damage.stored_crc32c));
        json.text("computed", hex(damage.computed_crc32c));
      } else {
        json.null("stored").null("computed");
      }
      json.end_object();
    }
    json.end_array();
    if (!outcome.why.empty()) json.text("why", outcome.why);
    json.end_object();
  }
  json.end_array().end_object().finish();
}

// Damage outside of the tensors has no tensor's name.
std::string damaged_thing(const Damage& damage) {
  if (damage.tensor.empty()) return "the shard's header or padding";
  return fmt::format("tensor '{}'", safe(damage.tensor));
}

std::string verdict(const Outcome& outcome) {
  const std::size_t damaged = outcome.damage.size();
  if (damaged != 0) return fmt::format("{} damaged range{}", damaged, damaged == 1 ? "" : "s");
  return nobody_knows(outcome) ? "no damage found" : "whole";
}

void print_text(const Outcome& outcome) {
  if (!outcome.why.empty()) return;  // said on stderr
  for (const Damage& damage : outcome.damage) {
    const std::string why =
        has_crc32c(damage) ? fmt::format("have CRC32C {}, but the stored CRC32C is {}",
                                         hex(damage.computed_crc32c), hex(damage.stored_crc32c))
                           : "are in a member of the archive whose CRC-32 is not the stored one";
    print(fmt::format("{}: {} is damaged: {} bytes from {} of {} {}\n", safe(outcome.label),
                      damaged_thing(damage), grouped(damage.size_bytes), damage.offset_bytes,
                      safe(damage.shard), why));
  }
  print(fmt::format("{}: {}, {} bytes checked{}\n", safe(outcome.label), verdict(outcome),
                    grouped(outcome.bytes_checked),
                    outcome.unchecked_bytes == 0
                        ? ""
                        : fmt::format(", {} unchecked (no checksums are stored)",
                                      grouped(outcome.unchecked_bytes))));
}

}  // namespace

int verify(Arguments arguments) {
  std::vector<std::string> paths;
  bool json = false;
  bool follow_links = false;
  unsigned threads = 0;
  CommandLine line("cairn verify", kDescription, kFooter);
  line.add("PATH", paths, "The checkpoints: each a PATH as in 'cairn --help'").required();
  add_json(line, json);
  add_follow_links(line, follow_links);
  add_threads(line, threads);
  if (const auto exit = line.parse(arguments)) return *exit;

  std::vector<Outcome> outcomes;
  Exit worst = kYes;
  for (const std::string& path : paths) {
    outcomes.push_back(look_at(path, follow_links, threads));
    worst = std::max(worst, outcomes.back().exit);
    if (!json) print_text(outcomes.back());
  }
  if (json) print_json(outcomes);
  return worst;
}

}  // namespace cairn::tools
