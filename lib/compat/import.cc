// Import writes P.cairn beside a foreign payload: facts from P.index, identities from fstat, and no
// tensor byte.

#include <optional>
#include <utility>

#include "cairn/convert.h"
#include "cairn/version.h"
#include "format/le.h"
#include "format/tensorflow/bundle.h"
#include "lib/compat/catalog.h"
#include "lib/compat/load.h"
#include "lib/compat/locate.h"
#include "lib/compat/publish.h"
#include "lib/compat/transfer.h"
#include "lib/store/identity.h"
#include "lib/store/names.h"
#include "lib/store/remarks.h"
#include "lib/try.h"

namespace cairn {
namespace {

using compat::Destination;
using compat::Location;

// A P.cairn that speaks for its checkpoint stays, with its record of the files renewed; where
// shards were touched, their bytes decide whether it may. False: P.index speaks instead.
Result<bool> refreshed(Location& location, const Destination& to,
                       const compat::TensorFlowIndex& index, const TransferOptions& options) {
  compat::Trail trail;
  CAIRN_TRY(parts, compat::load(location, false, trail));
  if (parts.format != Format::Cairn) return false;
  const format::IndexFacts before = parts.index.facts();
  if (before.tensorflow_index.digest != index.record.digest) return false;
  format::IndexFacts facts = before;
  facts.tensorflow_index = index.record;
  for (std::size_t i = 0; i < parts.shards.size(); ++i) {
    CAIRN_TRY(info, parts.shards[i].info());
    facts.shards[i].identity = store::identity_of(info);
  }
  CAIRN_CHECK(index.file->sync());
  CAIRN_CHECK(compat::sync_payload(parts.shards, to.directory));
  if (facts == before) return true;
  if (parts.bytes_doubtful) {
    OpenOptions check;
    check.verify = Verify::Full;
    check.work = options.work;
    CAIRN_CHECK(store::OpenCheckpoint::make(std::move(parts), check));
  }
  CAIRN_CHECK(compat::publish(to, std::move(facts), {}));
  return true;
}

// P.index as it goes elsewhere: its own bytes; or, where it counts shards that are not there, those
// that TensorFlow can read.
Result<std::vector<std::byte>> index_elsewhere(const compat::TensorFlowIndex& index,
                                               const format::IndexFacts& facts) {
  const auto bundle = format::tensorflow::decode_bundle(index.bytes);
  if (bundle && bundle->header.num_shards == facts.bundle.num_shards)
    return std::vector<std::byte>(index.bytes.begin(), index.bytes.end());
  const auto anew =
      format::tensorflow::encode_bundle(facts.bundle, store::in_bundle(facts.tensors));
  if (!anew) return compat::error_of(index.file->path(), anew.error());
  const auto bytes = format::as_bytes(*anew);
  return std::vector<std::byte>(bytes.begin(), bytes.end());
}

// What a P.cairn that speaks for the checkpoint knows beyond P.index: metadata, and tensors that
// TensorFlow cannot hold. Nothing: P.index says all. A damaged P.cairn is an error unless it may be
// replaced.
Result<std::optional<store::Parts>> known_to_cairn(Location& location,
                                                   const compat::TensorFlowIndex& index,
                                                   bool replace) {
  if (!location.has(store::kCairnSuffix)) return std::optional<store::Parts>();
  compat::Trail trail;
  auto own = compat::load(location, false, trail);
  if (!own && replace) return std::optional<store::Parts>();
  if (!own) return std::move(own).error();
  if (own->format != Format::Cairn || own->index.tensorflow_index().digest != index.record.digest)
    return std::optional<store::Parts>();
  return std::optional(*std::move(own));
}

Result<Transfer> import(const std::filesystem::path& source, const TransferOptions& options) {
  compat::Trail trail;
  auto located = compat::locate(source, false, trail);
  if (!located) return compat::with_newest_whole(std::move(located).error(), trail, false);
  Location& location = *located;
  if (location.kind == compat::Kind::TensorFlowV1) {
    return Error{Code::Unsupported, 0,
                 location.prefix.string() +
                     ": is a V1 checkpoint, whose values no index can point to; convert() (cairn "
                     "convert) writes them anew"};
  }
  if (location.kind != compat::Kind::Prefix || !location.has(store::kTensorFlowSuffix)) {
    return Error{
        Code::Unsupported, 0,
        location.prefix.string() +
            ": import adds Cairn's index to a checkpoint of TensorFlow's; convert() takes others"};
  }
  CAIRN_TRY(index, compat::read_tensorflow_index(location, trail));
  CAIRN_TRY(parts, compat::load_tensorflow(location, false, index, trail));
  CAIRN_TRY(to, compat::destination_of(location, options));
  Transfer transfer;
  transfer.prefix = to.prefix;
  transfer.notices = location.notices;
  transfer.notices.insert(transfer.notices.end(), parts.notices.begin(), parts.notices.end());
  if (to.beside && location.has(store::kCairnSuffix) && !options.replace) {
    CAIRN_TRY(done, refreshed(location, to, index, options));
    if (done) {
      transfer.notices.push_back(to.prefix.string() + std::string(store::kCairnSuffix) +
                                 ": is there and current");
      return transfer;
    }
  }
  CAIRN_TRY(known, known_to_cairn(location, index, options.replace));
  if (known) parts = *std::move(known);
  format::IndexFacts facts = parts.index.facts();
  facts.tensorflow_index = index.record;
  if (!known) facts.created_ns = os::now_ns();
  facts.producer = "cairn " + std::string(version());
  if (to.beside) {
    // P.index must be as durable as what is to stand beside it.
    CAIRN_CHECK(index.file->sync());
    CAIRN_CHECK(compat::sync_payload(parts.shards, location.directory));
    CAIRN_CHECK(compat::publish(to, std::move(facts), {}));
    return transfer;
  }
  CAIRN_TRY(index_bytes, index_elsewhere(index, facts));
  CAIRN_CHECK(compat::already_there(
      to, {to.base + std::string(store::kTensorFlowSuffix), index_bytes}, options.replace));
  if (!facts.step) facts.step = store::step_of(location.base);  // the new prefix need not say it
  const auto names = compat::names_under(location.base, to.base, parts.index);
  CAIRN_CHECK(compat::bring_shards(parts.shards, names, to, options, transfer));
  for (std::size_t i = 0; i < names.size(); ++i) {
    CAIRN_TRY(shard, compat::open_shard(to.directory, names[i], false));
    facts.shards[i].name = names[i];
    facts.shards[i].identity = shard.identity;
  }
  CAIRN_CHECK(compat::publish(to, std::move(facts), index_bytes));
  return transfer;
}

}  // namespace

Result<Transfer> import_index(const std::filesystem::path& source,
                              const TransferOptions& options) noexcept {
  return at_boundary([&] { return import(source, options); });
}

}  // namespace cairn
