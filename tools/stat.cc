#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "cairn/checkpoint.h"
#include "output.h"
#include "select.h"
#include "statistics.h"
#include "table.h"
#include "terminal.h"
#include "verb.h"

namespace cairn::tools {
namespace {

constexpr const char* kDescription =
    "Print what the numbers of each tensor are like: least, greatest, mean, standard\n"
    "deviation; and how many are zero, NaN, infinite. Reads every element.";

constexpr const char* kFooter =
    "Exit status: 0 the numbers were printed, 2 the checkpoint could not be opened or read,\n"
    "or a TENSOR means no tensor of it.\n\n"
    "TENSOR is a name, an object path or a pattern, as for 'cairn ls'. Least, greatest, mean\n"
    "and deviation are those of the finite elements. The deviation is numpy's std(): divided\n"
    "by the count. Sums are of float64. Quantized tensors of a GGUF file have the values that\n"
    "'cairn cat' prints. Strings, complex numbers and unknown types have no numbers: '-'\n"
    "(JSON: null).\n\n"
    "Examples:\n"
    "  cairn stat model.safetensors\n"
    "  cairn stat saved/train2-9 '*kernel'\n"
    "  cairn stat m.gguf --json | jq -r '.tensors[] | select(.nans > 0) | .name'";

// Tensors of so many bytes get all threads, smaller ones a thread each.
constexpr std::uint64_t kLargeBytes = std::uint64_t{4} << 20;

using Answers = std::vector<std::optional<Result<Statistics>>>;  // nothing: no numbers

Answers look_at(std::span<const Tensor> tensors, unsigned threads) {
  Answers answers(tensors.size());
  std::vector<std::size_t> small;
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    if (!has_statistics(tensors[i])) continue;
    if (tensors[i].size_bytes() < kLargeBytes)
      small.push_back(i);
    else
      answers[i] = statistics_of(tensors[i], threads);
  }
  for_each_parallel(small.size(), threads, [&](std::size_t i) {
    answers[small[i]] = statistics_of(tensors[small[i]], 1);
  });
  return answers;
}

bool is_integer(std::string_view text) noexcept {
  return text.find_first_not_of("-0123456789") == std::string_view::npos;
}

// An integer as it is, which a double may not hold; anything else as the double that it is.
std::string number_text(double value, const std::string& text) {
  return is_integer(text) ? text : fmt::format("{}", value);
}

void print_json(const Checkpoint& checkpoint, std::span<const Tensor> tensors,
                const Answers& answers) {
  Json json;
  json.begin_object().text("prefix", checkpoint.prefix().native()).begin_array("tensors");
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    json.begin_object().text("name", tensors[i].name()).text("dtype", tensors[i].dtype_name());
    json.number("elements", tensors[i].element_count());
    const Statistics* const all = answers[i] ? &**answers[i] : nullptr;
    const bool known = all != nullptr && all->mean;
    const auto add = [&](std::string_view key, const std::string& number) {
      known ? json.literal(key, number) : json.null(key);
    };
    add("min", known ? number_text(all->least, all->least_text) : "");
    add("max", known ? number_text(all->most, all->most_text) : "");
    add("mean", known ? fmt::format("{}", *all->mean) : "");
    add("std", known ? fmt::format("{}", all->deviation) : "");
    const auto number = [&](std::string_view key, std::uint64_t value) {
      all != nullptr ? json.number(key, value) : json.null(key);
    };
    number("zeros", all == nullptr ? 0 : all->zeros);
    number("nans", all == nullptr ? 0 : all->nans);
    number("infinities", all == nullptr ? 0 : all->infinities);
    json.end_object();
  }
  json.end_array().end_object().finish();
}

// On a terminal, which may have no room for all of them, a few digits.
std::string digits_of(double value, const std::string& text) {
  const bool is_short = is_integer(text) || !terminal_width();
  return is_short ? text : fmt::format("{:.6g}", value);
}

// What a narrow terminal can do without comes last.
void print_text(std::span<const Tensor> tensors, const Answers& answers) {
  Table table({{"tensor"},
               {"dtype"},
               {"min", true},
               {"max", true},
               {"mean", true},
               {"std", true},
               {"nan", true},
               {"inf", true},
               {"zeros", true},
               {"elements", true}});
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    std::vector<std::string> cells = {safe(tensors[i].name()),
                                      std::string(tensors[i].dtype_name())};
    const Statistics* const all = answers[i] ? &**answers[i] : nullptr;
    const bool known = all != nullptr && all->mean;
    cells.push_back(known ? digits_of(all->least, all->least_text) : "-");
    cells.push_back(known ? digits_of(all->most, all->most_text) : "-");
    cells.push_back(known ? fmt::format("{:.6g}", *all->mean) : "-");
    cells.push_back(known ? fmt::format("{:.6g}", all->deviation) : "-");
    cells.push_back(all != nullptr ? std::to_string(all->nans) : "-");
    cells.push_back(all != nullptr ? std::to_string(all->infinities) : "-");
    cells.push_back(all != nullptr ? std::to_string(all->zeros) : "-");
    cells.push_back(std::to_string(tensors[i].element_count()));
    table.add(std::move(cells));
  }
  constexpr std::size_t kColumnsMin = 8;
  table.print(kColumnsMin);
}

}  // namespace

int stat(Arguments arguments) {
  std::string path;
  std::vector<std::string> words;
  bool json = false;
  bool follow_links = false;
  FormatOptions formats;
  unsigned threads = std::max(1u, std::thread::hardware_concurrency());
  CommandLine line("cairn stat", kDescription, kFooter);
  add_path(line, path);
  line.add("TENSOR", words, "Only these: names or patterns, such as '*.weight'");
  add_json(line, json);
  add_threads(line, threads);
  add_follow_links(line, follow_links);
  add_formats(line, formats);
  if (const auto exit = line.parse(arguments)) return *exit;

  const auto checkpoint = open_or_complain(path, follow_links, formats);
  if (!checkpoint) return kFailed;
  const auto tensors = select(*checkpoint, words);
  if (!tensors) return kFailed;
  const Answers answers = look_at(*tensors, threads);
  bool all_read = true;
  for (const auto& answer : answers) {
    if (!answer || *answer) continue;
    complain(answer->error());
    all_read = false;
  }
  if (!all_read) return kFailed;
  json ? print_json(*checkpoint, *tensors, answers) : print_text(*tensors, answers);
  return kYes;
}

}  // namespace cairn::tools
