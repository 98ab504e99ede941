#include "lib/saver/saver_metadata.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <string>

#include "format/cairn/index.h"
#include "lib/edit/publish.h"
#include "lib/try.h"
#include "lib/write/publisher.h"

namespace cairn::internal {
namespace {

constexpr std::string_view kSaved = "cairn.saved_s";
constexpr std::string_view kKeepEvery = "cairn.keep_every_h";
constexpr std::string_view kNextKeep = "cairn.next_keep_s";
constexpr std::string_view kMetric = format::kMetricKeys;

// The shortest text that reads back as the same number.
std::string text_of(double value) {
  std::array<char, 32> text{};
  const auto done = std::to_chars(text.data(), text.data() + text.size(), value);
  return {text.data(), done.ptr};
}

std::optional<double> number_of(std::string_view text) {
  double value = 0;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc() || stop != end) return std::nullopt;
  return value;
}

std::optional<double> number_under(const format::IndexView& index, std::string_view key) {
  const auto text = index.metadata(key);
  const auto number = text ? number_of(*text) : std::nullopt;
  // Times are sorted, which what is no number cannot be.
  return number && std::isfinite(*number) ? number : std::nullopt;
}

}  // namespace

Marks marks_of(const format::IndexView& index) {
  Marks marks;
  marks.saved_s = number_under(index, kSaved);
  marks.pinned = index.metadata(format::kPinnedKey).has_value();
  const auto hours = number_under(index, kKeepEvery);
  const auto next = number_under(index, kNextKeep);
  if (hours && next) marks.grid = {*hours, *next};
  for (std::size_t i = 0; i < index.metadata_count(); ++i) {
    const auto [key, text] = index.metadata(i);
    const auto value = key.starts_with(kMetric) ? number_of(text) : std::nullopt;
    if (value) marks.metrics.emplace_back(key.substr(kMetric.size()), *value);
  }
  return marks;
}

format::KeyValues metadata_of(const Marks& marks) {
  format::KeyValues metadata;
  if (marks.saved_s) metadata.emplace_back(kSaved, text_of(*marks.saved_s));
  if (marks.pinned) metadata.emplace_back(format::kPinnedKey, "1");
  if (marks.grid) {
    metadata.emplace_back(kKeepEvery, text_of(marks.grid->hours));
    metadata.emplace_back(kNextKeep, text_of(marks.grid->next_keep_s));
  }
  for (const auto& [name, value] : marks.metrics)
    metadata.emplace_back(std::string(kMetric) + name, text_of(value));
  return metadata;
}

Result<void> change_marks(const Location& location, const LockWait& wait,
                          const std::function<bool(Marks&)>& change) {
  CAIRN_TRY(publisher,
            Publisher::begin({location.directory, location.base, location.prefix.string()}, wait));
  CAIRN_TRY(seen, index_identities(location.directory, location.base));
  CAIRN_TRY(index, load_own_index(location));
  if (!index.current) {
    return Error{Code::NotFound, 0,
                 location.prefix.string() + ": has no P.cairn of its present P.index"};
  }
  Marks marks = marks_of(index.index);
  if (!change(marks)) return {};
  format::IndexFacts facts = index.index.facts();
  std::erase_if(facts.metadata,
                [](const auto& entry) { return entry.first.starts_with(format::kReservedKeys); });
  for (auto& entry : metadata_of(marks)) facts.metadata.push_back(std::move(entry));
  std::ranges::sort(facts.metadata);
  CAIRN_CHECK(add_indexes(publisher, std::move(facts), {}));
  CAIRN_CHECK(check_unchanged(location, seen));
  return publisher.publish({}, {});
}

}  // namespace cairn::internal
