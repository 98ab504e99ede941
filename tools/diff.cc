#include "cairn/diff.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <string>
#include <vector>

#include "cairn/checkpoint.h"
#include "output.h"
#include "progress.h"
#include "table.h"
#include "verb.h"

namespace cairn::tools {
namespace {

constexpr const char* kDescription =
    "Print what differs between two checkpoints of any formats: tensors that were added,\n"
    "removed or renamed, and those with another dtype, shape or content. Reads only tensors\n"
    "that the indexes do not decide.";

constexpr const char* kFooter =
    "Exit status: 0 no difference, 1 a difference, 2 the checkpoints could not be compared\n"
    "(one could not be opened or read, or a tensor that was read is damaged).\n\n"
    "Tensors are compared by name, and by their values: the format, the byte order and the\n"
    "files do not matter, and metadata is not compared. Equal content hashes are equal\n"
    "contents, and different checksums are different contents: neither reads a tensor. Equal\n"
    "checksums alone decide only with --trust-checksums. Stored hashes are compared as they\n"
    "are; 'cairn verify' finds bytes that changed on the disk since.\n\n"
    "With --values, what changed most comes first: 'change' is the norm of the difference\n"
    "divided by the larger norm, 'changed' the part of the elements that changed.\n\n"
    "Examples:\n"
    "  cairn diff saved/train2-8 saved/train2-9 --values\n"
    "  cairn diff model.safetensors converted/m && echo the same\n"
    "  cairn diff a.gguf b.gguf --json | jq -r '.tensors[] | select(.change == \"shape\") | .name'";

struct Asked {
  bool chunks = false;
  bool values = false;
};

const Tensor& one_of(const TensorDifference& difference) {
  return difference.a ? *difference.a : *difference.b;
}

std::string described(const std::optional<Tensor>& tensor) {
  if (!tensor) return "-";
  return fmt::format("{} [{}]", safe(tensor->dtype_name()), fmt::join(tensor->shape(), ","));
}

std::string names_of(const TensorDifference& difference) {
  std::string names = safe(one_of(difference).name());
  if (difference.change == Change::Renamed) names += " -> " + safe(difference.b->name());
  return names;
}

// As slices of bytes, the first few.
std::string text_of(const std::vector<ContentRange>& ranges) {
  constexpr std::size_t kShown = 3;
  if (ranges.empty()) return "-";
  std::string text;
  for (std::size_t i = 0; i < std::min(kShown, ranges.size()); ++i) {
    text += fmt::format("{}{}:{}", i == 0 ? "" : ",", ranges[i].offset_bytes,
                        ranges[i].offset_bytes + ranges[i].size_bytes);
  }
  if (ranges.size() > kShown) text += fmt::format(" and {} more", ranges.size() - kShown);
  return text;
}

double changed_part(const ValueDifference& values) {
  if (values.element_count == 0) return 0;
  return static_cast<double>(values.changed_count) / static_cast<double>(values.element_count);
}

void add_values(std::vector<std::string>& cells, const std::optional<ValueDifference>& values) {
  if (!values) {
    cells.insert(cells.end(), 5, "-");
    return;
  }
  cells.push_back(fmt::format("{:.3g}", values->norm_rel));
  cells.push_back(fmt::format("{:.3g}%", 100 * changed_part(*values)));
  cells.push_back(fmt::format("{:.3g}", values->max_abs));
  cells.push_back(fmt::format("{:.3g}", values->max_rel));
  cells.push_back(fmt::format("{:.6f}", values->cosine));
}

// "2 content, 1 added".
std::string counts_of(const Diff& diff) {
  std::string text;
  for (const Change change : {Change::Content, Change::DType, Change::Shape, Change::Renamed,
                              Change::Added, Change::Removed}) {
    const auto count = std::ranges::count(diff.tensors, change, &TensorDifference::change);
    if (count != 0) text += fmt::format("{}{} {}", text.empty() ? "" : ", ", count, name(change));
  }
  return text;
}

void print_text(const Diff& diff, const Asked& asked) {
  std::vector<Column> columns = {{"tensor"}, {"change"}};
  if (asked.values) {
    columns.insert(
        columns.end(),
        {{"by", true}, {"changed", true}, {"max abs", true}, {"max rel", true}, {"cosine", true}});
  }
  if (asked.chunks) columns.push_back({"bytes"});
  const std::size_t columns_min = columns.size();
  columns.push_back({"in A"});
  columns.push_back({"in B"});
  Table table(std::move(columns));
  for (const TensorDifference& difference : diff.tensors) {
    std::vector<std::string> cells = {names_of(difference), std::string(name(difference.change))};
    if (asked.values) add_values(cells, difference.values);
    if (asked.chunks) cells.push_back(text_of(difference.ranges));
    cells.push_back(described(difference.a));
    cells.push_back(described(difference.b));
    table.add(std::move(cells));
  }
  if (!diff.tensors.empty()) table.print(columns_min);
  const std::string equal = fmt::format(
      "{} equal{}", count_of(diff.equal_count, "tensor"),
      diff.equal_by_checksum_count == 0
          ? ""
          : fmt::format(", {} of them by CRC32C alone", grouped(diff.equal_by_checksum_count)));
  print(diff.tensors.empty()
            ? fmt::format("no difference: {}\n", equal)
            : fmt::format("{} ({}); {}\n", count_of(diff.tensors.size(), "difference"),
                          counts_of(diff), equal));
}

void add_tensor(Json& json, std::string_view key, const std::optional<Tensor>& tensor) {
  if (!tensor) {
    json.null(key);
    return;
  }
  json.begin_object(key).text("dtype", tensor->dtype_name()).begin_array("shape");
  for (const std::int64_t size : tensor->shape()) json.element(size);
  json.end_array().end_object();
}

void add_decimal(Json& json, std::string_view key, double value) {
  std::isfinite(value) ? json.literal(key, fmt::format("{}", value)) : json.null(key);
}

void print_json(const std::array<const Checkpoint*, 2>& sides, const Diff& diff,
                const Asked& asked) {
  Json json;
  json.begin_object().text("a", sides[0]->prefix().native()).text("b", sides[1]->prefix().native());
  json.flag("same", diff.tensors.empty()).number("equal", diff.equal_count);
  json.number("equal_by_checksum", diff.equal_by_checksum_count);
  json.number("read_bytes", diff.read_bytes).begin_array("tensors");
  for (const TensorDifference& difference : diff.tensors) {
    json.begin_object().text("name", one_of(difference).name());
    json.text("change", name(difference.change));
    if (difference.change == Change::Renamed) json.text("new_name", difference.b->name());
    add_tensor(json, "a", difference.a);
    add_tensor(json, "b", difference.b);
    if (asked.chunks) {
      json.begin_array("ranges");
      for (const ContentRange& range : difference.ranges) {
        json.begin_object().number("offset", range.offset_bytes);
        json.number("bytes", range.size_bytes).end_object();
      }
      json.end_array();
    }
    if (asked.values && !difference.values) json.null("values");
    if (asked.values && difference.values) {
      const ValueDifference& values = *difference.values;
      json.begin_object("values").number("elements", values.element_count);
      json.number("changed", values.changed_count).number("not_finite", values.not_finite_count);
      add_decimal(json, "max_abs", values.max_abs);
      add_decimal(json, "max_rel", values.max_rel);
      add_decimal(json, "norm_rel", values.norm_rel);
      add_decimal(json, "cosine", values.cosine);
      json.end_object();
    }
    json.end_object();
  }
  json.end_array().end_object().finish();
}

}  // namespace

int diff(Arguments arguments) {
  std::string path_a;
  std::string path_b;
  Asked asked;
  DiffOptions options;
  bool json = false;
  bool follow_links = false;
  FormatOptions formats;
  unsigned threads = 0;
  CommandLine line("cairn diff", kDescription, kFooter);
  line.add("A", path_a, "A checkpoint: a PATH as in 'cairn --help'").required();
  line.add("B", path_b, "The other one, of any format").required();
  line.add_flag("--values", asked.values,
                "Compare the numbers of tensors that differ: the part of the elements\n"
                "that changed, the largest absolute and relative difference, the cosine");
  line.add_flag("--chunks", asked.chunks,
                "Say which bytes of the contents differ, in chunks of 1 MiB");
  line.add_flag("--trust-checksums", options.trust_checksums,
                "Equal size and CRC32C count as equal content, and nothing is read\n"
                "(1 of 4 billion differences is missed)");
  add_json(line, json);
  add_threads(line, threads);
  add_follow_links(line, follow_links);
  add_formats(line, formats);
  if (const auto exit = line.parse(arguments)) return *exit;

  const auto a = open_or_complain(path_a, follow_links, formats);
  if (!a) return kFailed;
  const auto b = open_or_complain(path_b, follow_links, formats);
  if (!b) return kFailed;
  ProgressBar bar("comparing");
  options.ranges = asked.chunks;
  options.values = asked.values;
  options.exec = bar.exec(threads);
  const auto found = cairn::diff(*a, *b, options);
  if (!found) {
    complain(found.error());
    return kFailed;
  }
  json ? print_json({&*a, &*b}, *found, asked) : print_text(*found, asked);
  return found->tensors.empty() ? kYes : kNo;
}

}  // namespace cairn::tools
