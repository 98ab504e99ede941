#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <vector>

#include "cairn/checkpoint.h"
#include "output.h"
#include "verb.h"

namespace cairn::tools {
namespace {

constexpr const char* kDescription =
    "List the tensors of a checkpoint in bytewise order of their names: dtype, shape, bytes,\n"
    "shard, offset in the shard, and the stored CRC32C. Then list its metadata and\n"
    "safetensors' __metadata__. Reads the index, not the tensors.";

constexpr const char* kFooter =
    "Exit status: 0 the list was printed, 2 the checkpoint could not be opened.\n\n"
    "A partitioned variable is stored in several slices: its shard, offset and checksum are\n"
    "'-' (JSON: null). The values of a V1 checkpoint and the compressed arrays of a .npz file\n"
    "have no offset in their file: they are decoded. Bytes and checksum are those of the\n"
    "decoded values; an array that is decoded when it is used has no checksum here.\n\n"
    "JSON: a name that is not UTF-8 is printed as \"name_hex\". \"metadata\" and\n"
    "\"safetensors_metadata\" are arrays of {\"key\",\"value\"}, with whole values. Text has only\n"
    "the beginning of long values.\n\n"
    "Examples:\n"
    "  cairn ls saved/train2-9\n"
    "  cairn ls saved                      the latest checkpoint of the directory\n"
    "  cairn ls model.safetensors --json | jq -r '.tensors[].name'";

std::string shape_text(std::span<const std::int64_t> shape) {
  return fmt::format("[{}]", fmt::join(shape, ","));
}

// The values of a V1 file, and compressed arrays, are nowhere in their file as bytes.
bool has_offset(const Checkpoint& checkpoint, const Tensor& tensor) {
  const bool decoded =
      checkpoint.format() == Format::TensorFlowV1 ||
      ((checkpoint.format() == Format::Npz || checkpoint.format() == Format::PyTorch) &&
       tensor.shard().ends_with(" (decoded)"));
  return !tensor.partitioned() && !decoded;
}

using KeyValues = std::vector<Checkpoint::KeyValue>;

KeyValues metadata_of(const Checkpoint& checkpoint) {
  KeyValues pairs;
  for (std::size_t i = 0; i < checkpoint.metadata_count(); ++i)
    pairs.push_back(checkpoint.metadata_at(i));
  return pairs;
}

KeyValues safetensors_metadata_of(const Checkpoint& checkpoint) {
  KeyValues pairs;
  for (std::size_t i = 0; i < checkpoint.safetensors_metadata_count(); ++i)
    pairs.push_back(checkpoint.safetensors_metadata_at(i));
  return pairs;
}

void add_pairs(Json& json, std::string_view list, const KeyValues& pairs) {
  json.begin_array(list);
  for (const auto& [key, value] : pairs)
    json.begin_object().text("key", key).text("value", value).end_object();
  json.end_array();
}

// At most so many bytes, and no character of UTF-8 cut in two.
std::string_view whole_part(std::string_view text, std::size_t bytes_max) {
  while (bytes_max < text.size() && bytes_max != 0 && (text[bytes_max] & '\xc0') == '\x80')
    --bytes_max;
  return text.substr(0, bytes_max);
}

// Values may be documents of their own: their beginning says what they are.
void print_pairs(std::string_view list, const KeyValues& pairs) {
  constexpr std::size_t kShownMax = 100;
  for (const auto& [key, value] : pairs) {
    const std::string shown = safe(value);
    const bool cut = value.size() > kShownMax;
    print(fmt::format("{} {}: {}{}\n", list, safe(key),
                      cut ? safe(whole_part(value, kShownMax)) : shown,
                      cut ? fmt::format("… ({} bytes)", grouped(value.size())) : ""));
  }
}

void print_json(const Checkpoint& checkpoint) {
  Json json;
  json.begin_object();
  json.text("prefix", checkpoint.prefix().native());
  json.text("format", name(checkpoint.format()));
  json.number("step", checkpoint.step());
  json.begin_array("warnings");
  for (const std::string& warning : checkpoint.warnings()) json.element(warning);
  json.end_array().begin_array("shards");
  for (std::size_t i = 0; i < checkpoint.shard_count(); ++i) {
    const Checkpoint::Shard shard = checkpoint.shard_at(i);
    json.begin_object().text("name", shard.name).number("bytes", shard.size_bytes).end_object();
  }
  json.end_array();
  add_pairs(json, "metadata", metadata_of(checkpoint));
  add_pairs(json, "safetensors_metadata", safetensors_metadata_of(checkpoint));
  json.begin_array("tensors");
  for (std::size_t i = 0; i < checkpoint.tensor_count(); ++i) {
    const Tensor tensor = checkpoint.tensor_at(i);
    json.begin_object().text("name", tensor.name()).text("dtype", tensor.dtype_name());
    json.begin_array("shape");
    for (const std::int64_t dimension : tensor.shape()) json.element(dimension);
    json.end_array().number("bytes", tensor.size_bytes());
    tensor.partitioned() ? json.null("shard") : json.text("shard", tensor.shard());
    has_offset(checkpoint, tensor) ? json.number("offset", tensor.offset_bytes())
                                   : json.null("offset");
    const auto sum = tensor.crc32c();
    sum ? json.text("crc32c", hex(*sum)) : json.null("crc32c");
    json.end_object();
  }
  json.end_array().end_object().finish();
}

using Row = std::vector<std::string>;

Row row(const Checkpoint& checkpoint, const Tensor& tensor) {
  return {safe(tensor.name()),
          std::string(tensor.dtype_name()),
          shape_text(tensor.shape()),
          std::to_string(tensor.size_bytes()),
          tensor.partitioned() ? "-" : safe(tensor.shard()),
          has_offset(checkpoint, tensor) ? std::to_string(tensor.offset_bytes()) : "-",
          tensor.crc32c() ? hex(*tensor.crc32c()) : "-"};
}

void print_table(const std::vector<Row>& rows) {
  std::vector<std::size_t> widths(rows.front().size());
  for (const Row& cells : rows) {
    for (std::size_t i = 0; i < cells.size(); ++i) widths[i] = std::max(widths[i], cells[i].size());
  }
  for (const Row& cells : rows) {
    std::string line;
    for (std::size_t i = 0; i < cells.size(); ++i) {
      const bool number = i == 3 || i == 5;  // bytes and offset
      line += fmt::format(fmt::runtime(number ? "{:>{}}  " : "{:<{}}  "), cells[i], widths[i]);
    }
    line.erase(line.find_last_not_of(' ') + 1);
    print(line + "\n");
  }
}

void print_text(const Checkpoint& checkpoint) {
  std::vector<Row> rows = {{"tensor", "dtype", "shape", "bytes", "shard", "offset", "crc32c"}};
  for (std::size_t i = 0; i < checkpoint.tensor_count(); ++i) {
    rows.push_back(row(checkpoint, checkpoint.tensor_at(i)));
  }
  print_table(rows);
  print_pairs("metadata", metadata_of(checkpoint));
  print_pairs("__metadata__", safetensors_metadata_of(checkpoint));
  std::uint64_t bytes = 0;
  const std::size_t shards = checkpoint.shard_count();
  for (std::size_t i = 0; i < shards; ++i) bytes += checkpoint.shard_at(i).size_bytes;
  const std::string step = checkpoint.step() ? fmt::format(", step {}", *checkpoint.step()) : "";
  print(fmt::format("{}: {}{}, {} tensor{}, {} bytes in {} shard{}\n",
                    safe(checkpoint.prefix().native()), name(checkpoint.format()), step,
                    rows.size() - 1, rows.size() == 2 ? "" : "s", grouped(bytes), shards,
                    shards == 1 ? "" : "s"));
}

}  // namespace

int ls(Arguments arguments) {
  std::string path;
  bool json = false;
  bool follow_links = false;
  CommandLine line("cairn ls", kDescription, kFooter);
  add_path(line, path);
  add_json(line, json);
  add_follow_links(line, follow_links);
  if (const auto exit = line.parse(arguments)) return *exit;

  const auto checkpoint = open_or_complain(path, follow_links);
  if (!checkpoint) return kFailed;
  json ? print_json(*checkpoint) : print_text(*checkpoint);
  return kYes;
}

}  // namespace cairn::tools
