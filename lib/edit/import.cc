// Import writes P.cairn beside a foreign payload: facts from P.index, identities from fstat, and no
// tensor byte.

#include <optional>
#include <utility>

#include "cairn/convert.h"
#include "cairn/version.h"
#include "format/le.h"
#include "format/tensorflow/bundle.h"
#include "lib/edit/import_file.h"
#include "lib/edit/overtaken.h"
#include "lib/edit/publish.h"
#include "lib/edit/transfer.h"
#include "lib/open/assemble.h"
#include "lib/open/catalog.h"
#include "lib/open/load.h"
#include "lib/open/locate.h"
#include "lib/open/tensorflow.h"
#include "lib/read/identity.h"
#include "lib/read/names.h"
#include "lib/try.h"
#include "lib/write/free_space.h"
#include "lib/write/remarks.h"

namespace cairn {
namespace {

using internal::Location;

// A P.cairn that speaks for its checkpoint stays, with its record of the files renewed; where
// shards were touched, their bytes decide whether it may. False: P.index speaks instead. `index`:
// none where P.cairn is the only one.
Result<bool> refreshed(Location& location, internal::Publisher& publisher,
                       const internal::TensorFlowIndex* index, const TransferOptions& options) {
  CAIRN_TRY(seen, internal::index_identities(location.directory, location.base));
  internal::OpenAttempt attempt(location.directory);
  CAIRN_TRY(parts, internal::load(location, options.follow_links, attempt));
  if (parts.format != Format::Cairn) return false;
  const format::IndexFacts before = parts.index.facts();
  format::IndexFacts facts = before;
  if (index != nullptr) {
    if (before.tensorflow_index.digest != index->record.digest) return false;
    facts.tensorflow_index = index->record;
    CAIRN_CHECK(index->file->sync());
  }
  for (std::size_t i = 0; i < parts.shards.size(); ++i) {
    CAIRN_TRY(info, parts.shards[i].info());
    facts.shards[i].identity = internal::identity_of(info);
  }
  CAIRN_CHECK(internal::sync_payload(parts.shards, location.directory));
  if (facts == before) return true;
  if (parts.bytes_doubtful) {
    OpenOptions check;
    check.verify = Verify::Full;
    check.exec = options.exec;
    CAIRN_CHECK(internal::OpenCheckpoint::make(std::move(parts), check));
  }
  CAIRN_CHECK(internal::add_indexes(publisher, std::move(facts), {}));
  CAIRN_CHECK(internal::check_unchanged(location, seen));
  CAIRN_CHECK(publisher.publish({}, {}));
  return true;
}

// P.index as it goes elsewhere: its own bytes; or, where it counts shards that are not there, those
// that TensorFlow can read.
Result<std::vector<std::byte>> index_elsewhere(const internal::TensorFlowIndex& index,
                                               const format::IndexFacts& facts) {
  const auto bundle = format::tensorflow::decode_bundle(index.bytes);
  if (bundle && bundle->header.num_shards == facts.bundle.num_shards)
    return std::vector<std::byte>(index.bytes.begin(), index.bytes.end());
  const auto anew = internal::encode_bundle(facts.bundle, facts.tensors);
  if (!anew) return internal::error_of(index.file->path(), anew.error());
  const auto bytes = format::as_bytes(*anew);
  return std::vector<std::byte>(bytes.begin(), bytes.end());
}

// What a P.cairn that speaks for the checkpoint knows beyond P.index: metadata, and tensors that
// TensorFlow cannot hold. Nothing: P.index says all. A damaged P.cairn is an error unless it may be
// replaced.
Result<std::optional<internal::Parts>> known_to_cairn(Location& location,
                                                      const internal::TensorFlowIndex& index,
                                                      const TransferOptions& options) {
  if (!location.has(internal::kCairnSuffix)) return std::optional<internal::Parts>();
  internal::OpenAttempt attempt;
  auto own = internal::load(location, options.follow_links, attempt);
  if (!own && options.replace && !internal::may_pass(own.error()))
    return std::optional<internal::Parts>();
  if (!own) return std::move(own).error();
  if (own->format != Format::Cairn || own->index.tensorflow_index().digest != index.record.digest)
    return std::optional<internal::Parts>();
  return std::optional(*std::move(own));
}

Error not_tensorflows(const Location& location) {
  return {Code::Unsupported, 0,
          location.prefix.string() +
              ": import needs a TensorFlow checkpoint; for other formats, use convert() (cairn "
              "convert)"};
}

Result<void> check_importable(const Location& location) {
  if (location.kind == internal::Kind::TensorFlowV1) {
    return Error{Code::Unsupported, 0,
                 location.prefix.string() +
                     ": is a V1 checkpoint; its values are not stored as plain bytes, so an index "
                     "cannot point to them; use convert() (cairn convert)"};
  }
  if (location.kind == internal::Kind::Prefix) return {};
  return not_tensorflows(location);
}

Result<Location> located(const std::filesystem::path& source, bool follow_links) {
  internal::OpenAttempt attempt;
  auto location = internal::locate(source, follow_links, attempt);
  if (!location)
    return internal::with_newest_whole(std::move(location).error(), attempt, follow_links);
  return location;
}

Result<Location> located_importable(const std::filesystem::path& source, bool follow_links) {
  CAIRN_TRY(location, located(source, follow_links));
  CAIRN_CHECK(check_importable(location));
  return std::move(location);
}

// What P.index says, as facts of P.cairn.
struct Read {
  explicit Read(const Location& location) : attempt(location.directory) {}

  internal::OpenAttempt attempt;  // holds the index's file
  std::optional<internal::TensorFlowIndex> index;
  std::optional<internal::Parts> parts;
  format::IndexFacts facts;
  bool tensors_in_parts = false;  // and not in the facts, where they take 300 bytes each
};

Result<void> read(Location& location, bool follow_links, Read& read, Transfer& transfer) {
  CAIRN_TRY(index, internal::read_tensorflow_index(location, read.attempt));
  CAIRN_TRY(parts, internal::load_tensorflow(location, follow_links, index, read.attempt));
  transfer.warnings = location.warnings;
  transfer.warnings.insert(transfer.warnings.end(), parts.warnings.begin(), parts.warnings.end());
  read.tensors_in_parts &= parts.index.is_of_plain_tensors();
  read.facts = read.tensors_in_parts ? parts.index.facts_beside_tensors() : parts.index.facts();
  read.facts.created_ns = os::now_ns();
  read.facts.producer = "cairn " + std::string(version());
  read.index.emplace(std::move(index));
  read.parts.emplace(std::move(parts));
  return {};
}

// Where P.cairn knows more, it speaks.
Result<void> take_known(Location& location, Read& what, const TransferOptions& options) {
  CAIRN_TRY(known, known_to_cairn(location, *what.index, options));
  if (!known) return {};
  what.parts.emplace(*std::move(known));
  what.tensors_in_parts = false;
  what.facts = what.parts->index.facts();
  what.facts.producer = "cairn " + std::string(version());
  what.facts.tensorflow_index = what.index->record;
  return {};
}

// The location, found again under its lock.
struct HeldLocation {
  Location location;
  internal::Lock lock;
};

Result<HeldLocation> locate_and_hold(const std::filesystem::path& source,
                                     const TransferOptions& options) {
  while (true) {
    CAIRN_TRY(before, located_importable(source, options.follow_links));
    CAIRN_CHECK(internal::remove_stale_files(before.directory));
    CAIRN_TRY(lock, internal::lock_of(before, options));
    CAIRN_TRY(now, located_importable(source, options.follow_links));
    CAIRN_TRY(same,
              internal::same_place({before.directory, before.base}, {now.directory, now.base}));
    if (same) return HeldLocation{std::move(now), std::move(lock)};
  }
}

Result<Transfer> import_held(HeldLocation held, const TransferOptions& options) {
  Location& location = held.location;
  internal::Publisher publisher({location.directory, location.base, location.prefix.string()},
                                std::move(held.lock));
  CAIRN_TRY(seen, internal::index_identities(location.directory, location.base));
  Transfer transfer;
  transfer.prefix = location.prefix;
  const bool own_alone = !location.has(internal::kTensorFlowSuffix);
  Read what(location);
  // What is compared with another P.cairn is facts.
  what.tensors_in_parts = !location.has(internal::kCairnSuffix);
  if (!own_alone) CAIRN_CHECK(read(location, options.follow_links, what, transfer));
  if (own_alone || (location.has(internal::kCairnSuffix) && !options.replace)) {
    CAIRN_TRY(done, refreshed(location, publisher, own_alone ? nullptr : &*what.index, options));
    if (done || own_alone) {
      transfer.warnings.push_back(location.prefix.string() + std::string(internal::kCairnSuffix) +
                                  ": exists already and is up to date");
      return transfer;
    }
  }
  CAIRN_CHECK(take_known(location, what, options));
  if (what.parts->format != Format::Cairn)
    CAIRN_CHECK(internal::replace_overtaken(location, what.facts, transfer.warnings));
  // P.index must be as durable as what is to stand beside it.
  CAIRN_CHECK(what.index->file->sync());
  CAIRN_CHECK(internal::sync_payload(what.parts->shards, location.directory));
  CAIRN_CHECK(what.tensors_in_parts
                  ? internal::add_own_index(publisher, what.facts, what.parts->index)
                  : internal::add_indexes(publisher, std::move(what.facts), {}));
  CAIRN_CHECK(internal::check_unchanged(location, seen));
  CAIRN_CHECK(publisher.publish({}, {}));
  internal::warn_if_moved(location.directory, transfer);
  return transfer;
}

Result<Transfer> import_beside(const std::filesystem::path& source,
                               const TransferOptions& options) {
  CAIRN_TRY(held, locate_and_hold(source, options));
  return import_held(std::move(held), options);
}

// The names of the shards with another base: their numbers stay.
std::vector<std::string> names_under(const std::string& from, const std::string& to,
                                     const format::IndexFacts& facts) {
  std::vector<std::string> names;
  for (const format::ShardFacts& shard : facts.shards)
    names.push_back(to + shard.name.substr(from.size()));
  return names;
}

Result<Transfer> import_elsewhere(Location& location, const TransferOptions& options) {
  Transfer transfer;
  transfer.prefix = options.output;
  Read what(location);
  CAIRN_CHECK(read(location, options.follow_links, what, transfer));
  CAIRN_TRY(to, internal::destination_of(location, options));
  CAIRN_CHECK(take_known(location, what, options));
  if (what.parts->format != Format::Cairn)
    internal::warn_of_overtaken(location, what.facts, transfer.warnings);
  internal::warn_of_graph(location, transfer.warnings);
  // The new prefix need not say it.
  if (!what.facts.step) what.facts.step = internal::step_of(location.base);
  CAIRN_TRY(bytes, index_elsewhere(*what.index, what.facts));
  internal::LinkedCheckpoint linked;
  linked.names = names_under(location.base, to.base, what.facts);
  linked.facts = std::move(what.facts);
  linked.files = what.parts->shards;
  linked.tensorflow_index = bytes;
  CAIRN_CHECK(internal::publish_elsewhere(to, std::move(linked), options, transfer));
  return transfer;
}

Result<Transfer> import(const std::filesystem::path& source, const TransferOptions& options) {
  CAIRN_TRY(location, located(source, options.follow_links));
  if (location.kind == internal::Kind::File) return internal::import_file(source, options);
  CAIRN_CHECK(check_importable(location));
  CAIRN_TRY(beside, internal::is_beside(location, options));
  if (!beside && !location.has(internal::kTensorFlowSuffix)) return not_tensorflows(location);
  return beside ? import_beside(source, options) : import_elsewhere(location, options);
}

}  // namespace

Result<Transfer> internal::import_in(const os::Directory& directory, const std::string& base,
                                     const std::filesystem::path& prefix,
                                     const TransferOptions& options) {
  CAIRN_TRY(twin, directory.duplicate());
  CAIRN_TRY(location, locate_in(std::move(twin), base, prefix));
  location.links = links_of(options.follow_links);
  CAIRN_CHECK(check_importable(location));
  CAIRN_TRY(lock, lock_of(location, options));
  return import_held({std::move(location), std::move(lock)}, options);
}

Result<Transfer> import_index(const std::filesystem::path& source,
                              const TransferOptions& options) noexcept {
  return at_boundary([&] { return import(source, options); });
}

}  // namespace cairn
