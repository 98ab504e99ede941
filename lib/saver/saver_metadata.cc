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
constexpr std::string_view kSinceFull = "cairn.saves_since_full";
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

SaverMetadata saver_metadata(const format::IndexView& index) {
  SaverMetadata metadata;
  metadata.saved_s = number_under(index, kSaved);
  metadata.pinned = index.metadata(format::kPinnedKey).has_value();
  const auto since_full = number_under(index, kSinceFull);
  if (since_full && *since_full >= 1 && *since_full < 1e15)
    metadata.saves_since_full = static_cast<std::uint64_t>(*since_full);
  const auto hours = number_under(index, kKeepEvery);
  const auto next = number_under(index, kNextKeep);
  if (hours && next) metadata.grid = {*hours, *next};
  for (std::size_t i = 0; i < index.metadata_count(); ++i) {
    const auto [key, text] = index.metadata(i);
    const auto value = key.starts_with(kMetric) ? number_of(text) : std::nullopt;
    if (value) metadata.metrics.emplace_back(key.substr(kMetric.size()), *value);
  }
  return metadata;
}

format::KeyValues metadata_of(const SaverMetadata& saved) {
  format::KeyValues metadata;
  if (saved.saved_s) metadata.emplace_back(kSaved, text_of(*saved.saved_s));
  if (saved.saves_since_full != 0)
    metadata.emplace_back(kSinceFull, std::to_string(saved.saves_since_full));
  if (saved.pinned) metadata.emplace_back(format::kPinnedKey, "1");
  if (saved.grid) {
    metadata.emplace_back(kKeepEvery, text_of(saved.grid->hours));
    metadata.emplace_back(kNextKeep, text_of(saved.grid->next_keep_s));
  }
  for (const auto& [name, value] : saved.metrics)
    metadata.emplace_back(std::string(kMetric) + name, text_of(value));
  return metadata;
}

Result<void> change_saver_metadata(const Location& location, const LockWait& wait,
                                   const std::function<bool(SaverMetadata&)>& change) {
  CAIRN_TRY(publisher,
            Publisher::begin({location.directory, location.base, location.prefix.string()}, wait));
  CAIRN_TRY(seen, index_identities(location.directory, location.base));
  CAIRN_TRY(index, load_own_index(location));
  if (!index.current) {
    return Error{Code::NotFound, 0,
                 location.prefix.string() +
                     ": its P.cairn does not belong to its P.index; renew it with import_index()"};
  }
  SaverMetadata metadata = saver_metadata(index.index);
  if (!change(metadata)) return {};
  format::IndexFacts facts = index.index.facts();
  std::erase_if(facts.metadata,
                [](const auto& entry) { return entry.first.starts_with(format::kReservedKeys); });
  for (auto& entry : metadata_of(metadata)) facts.metadata.push_back(std::move(entry));
  std::ranges::sort(facts.metadata);
  CAIRN_CHECK(add_indexes(publisher, std::move(facts), {}));
  CAIRN_CHECK(check_unchanged(location, seen));
  return publisher.publish({}, {});
}

}  // namespace cairn::internal
