#include <algorithm>
#include <optional>
#include <utility>

#include "cairn/edit.h"
#include "cairn/version.h"
#include "format/digest.h"
#include "format/le.h"
#include "lib/edit/compose.h"
#include "lib/edit/names.h"
#include "lib/edit/overtaken.h"
#include "lib/edit/publish.h"
#include "lib/edit/publish_linked.h"
#include "lib/edit/transfer.h"
#include "lib/open/load.h"
#include "lib/read/names.h"
#include "lib/try.h"

namespace cairn {
namespace {

using internal::Location;

// Whether the result is to lie where the source does.
Result<bool> is_in_place(const Location& source, const TransferOptions& options) {
  if (options.output.empty()) return true;
  if (source.kind != internal::Kind::Prefix) return false;
  return internal::is_beside(source, options);
}

Result<void> check_in_place(const Location& location, const TransferOptions& options) {
  if (location.kind != internal::Kind::Prefix) {
    return Error{Code::Unsupported, 0,
                 location.directory.path() + "/" + location.base +
                     ": the file itself contains the names; give an output (--output)"};
  }
  if (options.replace) return {};
  return Error{Code::Exists, 0,
               location.prefix.string() +
                   ": a rename in place replaces the indexes; give an output (--output), or use "
                   "replace (--replace)"};
}

// What lies beside and goes on saying the old names.
void warn_of_old_names(const Location& location, std::vector<std::string>& warnings) {
  for (const std::string_view suffix : {internal::kMetaSuffix, internal::kSafetensorsSuffix}) {
    if (location.has(suffix))
      warnings.push_back(location.prefix.string() + std::string(suffix) + ": keeps the old names");
  }
}

// Where P.index alone was written anew, P.cairn is skipped, though it is of the very same
// shards. What it alone knows of the checkpoint is kept. Of one that is of other shards the pin is.
Result<void> recover(const internal::Found& found, format::IndexFacts& facts,
                     std::vector<std::string>& warnings) {
  const Location& location = found.location;
  if (found.parts.format == Format::Cairn || !location.has(internal::kCairnSuffix)) return {};
  CAIRN_TRY(own, internal::load_own_index(location));
  const format::IndexFacts before = own.index.facts();
  const auto same = [](const format::ShardFacts& a, const format::ShardFacts& b) {
    return a.name == b.name && a.identity == b.identity;
  };
  if (!std::ranges::is_permutation(before.shards, facts.shards, same))
    return internal::replace_overtaken(location, facts, warnings);
  facts.step = before.step;
  facts.created_ns = before.created_ns;
  facts.metadata = before.metadata;
  facts.safetensors_metadata = before.safetensors_metadata;
  return {};
}

// The shards stay; the indexes that are there are replaced, and none is added.
Result<Renamed> rename_in_place(const std::filesystem::path& path, const Renaming& renaming,
                                const TransferOptions& options) {
  CAIRN_TRY(held, internal::find_and_lock(path, options));
  internal::Found& found = *held.found;
  const Location& location = found.location;
  CAIRN_CHECK(check_in_place(location, options));
  CAIRN_TRY(changes, internal::changes_of(path, found.parts.index, renaming));
  Transfer transfer;
  transfer.prefix = location.prefix;
  transfer.warnings = found.parts.warnings;
  format::IndexFacts facts = found.parts.index.facts();
  CAIRN_CHECK(recover(found, facts, transfer.warnings));
  internal::apply(changes, facts);
  facts.tensorflow_index = {};  // the one that is remembered says the old names
  facts.producer = "cairn " + std::string(version());
  if (facts.created_ns == 0) facts.created_ns = os::now_ns();
  internal::BundleBytes bundle;
  if (location.has(internal::kTensorFlowSuffix)) {
    CAIRN_TRY(encoded, internal::encode_bundle({location.base, location.prefix}, facts));
    bundle = std::move(encoded);
  }
  transfer.not_nameable = std::move(bundle.not_nameable);
  std::optional<format::IndexFacts> own;
  if (location.has(internal::kCairnSuffix)) own = std::move(facts);
  const bool both = own && !bundle.bytes.empty();
  CAIRN_CHECK(both ? internal::sync_shards(found.parts.shards)
                   : internal::sync_payload(found.parts.shards, location.directory));
  CAIRN_CHECK(
      internal::add_indexes(held.publisher, std::move(own), format::as_bytes(bundle.bytes)));
  CAIRN_CHECK(internal::check_unchanged(location, found.seen));
  CAIRN_CHECK(held.publisher.publish({}, {}));
  warn_of_old_names(location, transfer.warnings);
  internal::warn_if_moved(location.directory, transfer);
  return Renamed{std::move(transfer), std::move(changes)};
}

Result<Transfer> rename_elsewhere(const std::filesystem::path& path, internal::Found found,
                                  std::span<const NameChange> changes,
                                  const TransferOptions& options) {
  std::vector<internal::MergeInput> sources;
  sources.push_back({path, std::move(found)});
  CAIRN_TRY(composed, internal::compose(std::move(sources)));
  internal::apply(changes, composed.facts);
  return internal::publish_linked(std::move(composed), options);
}

}  // namespace

Result<std::vector<NameChange>> name_changes(const std::filesystem::path& path,
                                             const Renaming& renaming, bool follow_links) noexcept {
  return at_boundary([&]() -> Result<std::vector<NameChange>> {
    CAIRN_TRY(found, internal::find(path, follow_links));
    return internal::changes_of(path, found.parts.index, renaming);
  });
}

Result<Renamed> rename_tensors(const std::filesystem::path& path, const Renaming& renaming,
                               const TransferOptions& options) noexcept {
  return at_boundary([&]() -> Result<Renamed> {
    CAIRN_TRY(found, internal::find(path, options.follow_links));
    CAIRN_TRY(in_place, is_in_place(found.location, options));
    if (in_place) return rename_in_place(path, renaming, options);
    CAIRN_TRY(changes, internal::changes_of(path, found.parts.index, renaming));
    auto done = rename_elsewhere(path, std::move(found), changes, options);
    if (!done) return std::move(done).error();
    return Renamed{*std::move(done), std::move(changes)};
  });
}

}  // namespace cairn
