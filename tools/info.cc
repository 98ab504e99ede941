#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "cairn/checkpoint.h"
#include "metadata.h"
#include "output.h"
#include "select.h"
#include "table.h"
#include "terminal.h"
#include "verb.h"

namespace cairn::tools {
namespace {

constexpr const char* kDescription =
    "Say what a checkpoint is: its format, its files, how many tensors of which dtypes it\n"
    "has, and its metadata. Reads the index, not the tensors.";

constexpr const char* kFooter =
    "Exit status: 0 it was printed, 2 the checkpoint could not be opened.\n\n"
    "Text has the beginning of long values, and of a list in JSON its first elements. With\n"
    "--json the values are whole. A parameter is an element of a tensor of numbers.\n\n"
    "Examples:\n"
    "  cairn info model.gguf\n"
    "  cairn info saved\n"
    "  cairn info model.safetensors --json | jq '.dtypes'";

struct DTypeCount {
  std::uint64_t tensors = 0;
  std::uint64_t elements = 0;
  std::uint64_t bytes = 0;
};
using DTypeCounts = std::map<std::string, DTypeCount, std::less<>>;

DTypeCounts dtypes_of(std::span<const Tensor> tensors) {
  DTypeCounts counts;
  for (const Tensor& tensor : tensors) {
    DTypeCount& count = counts[std::string(tensor.dtype_name())];
    ++count.tensors;
    count.elements += tensor.element_count();
    count.bytes += tensor.size_bytes();
  }
  return counts;
}

std::uint64_t shard_bytes(const Checkpoint& checkpoint) {
  std::uint64_t bytes = 0;
  for (std::size_t i = 0; i < checkpoint.shard_count(); ++i)
    bytes += checkpoint.shard_at(i).size_bytes;
  return bytes;
}

// As hexadecimal digits; nothing: it has none.
std::optional<std::string> digest_of(const Checkpoint& checkpoint) {
  const auto digest = checkpoint.digest();
  if (!digest) return std::nullopt;
  return hex({reinterpret_cast<const char*>(digest->bytes.data()), digest->bytes.size()});
}

void print_json(const Checkpoint& checkpoint, std::span<const Tensor> tensors) {
  Json json;
  json.begin_object();
  add_files(json, checkpoint);
  json.number("tensors", std::uint64_t{tensors.size()});
  json.number("parameters", parameter_count(tensors)).begin_array("dtypes");
  for (const auto& [dtype, count] : dtypes_of(tensors)) {
    json.begin_object().text("dtype", dtype).number("tensors", count.tensors);
    json.number("elements", count.elements).number("bytes", count.bytes).end_object();
  }
  json.end_array();
  const auto digest = digest_of(checkpoint);
  digest ? json.text("digest", *digest) : json.null("digest");
  add_metadata(json, checkpoint);
  json.end_object().finish();
}

void print_text(const Checkpoint& checkpoint, std::span<const Tensor> tensors) {
  const auto line = [](std::string_view what, const std::string& value) {
    print(fmt::format("{:<12}{}\n", what, value));
  };
  const std::uint64_t bytes = shard_bytes(checkpoint);
  line("prefix", safe(checkpoint.prefix().native()));
  line("format", std::string(name(checkpoint.format())));
  if (checkpoint.step()) line("step", std::to_string(*checkpoint.step()));
  line("files", fmt::format("{}, {} bytes ({})", checkpoint.shard_count(), grouped(bytes),
                            human_bytes(bytes)));
  line("tensors", grouped(tensors.size()));
  line("parameters", grouped(parameter_count(tensors)));
  if (const auto digest = digest_of(checkpoint)) line("digest", *digest);
  Table table({{"dtype"}, {"tensors", true}, {"elements", true}, {"bytes", true}});
  for (const auto& [dtype, count] : dtypes_of(tensors)) {
    table.add({safe(dtype), grouped(count.tensors), grouped(count.elements), grouped(count.bytes)});
  }
  if (!tensors.empty()) {
    print("\n");
    table.print(4);
  }
  if (checkpoint.metadata_count() + checkpoint.safetensors_metadata_count() != 0) print("\n");
  print_metadata(checkpoint);
}

}  // namespace

int info(Arguments arguments) {
  std::string path;
  bool json = false;
  bool follow_links = false;
  FormatOptions formats;
  CommandLine line("cairn info", kDescription, kFooter);
  add_path(line, path);
  add_json(line, json);
  add_follow_links(line, follow_links);
  add_formats(line, formats);
  if (const auto exit = line.parse(arguments)) return *exit;

  const auto checkpoint = open_or_complain(path, follow_links, formats);
  if (!checkpoint) return kFailed;
  const auto tensors = select(*checkpoint, {});
  json ? print_json(*checkpoint, *tensors) : print_text(*checkpoint, *tensors);
  return kYes;
}

}  // namespace cairn::tools
