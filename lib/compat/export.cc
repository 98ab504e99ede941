// Export writes another format's index over the payload: P.index for TensorFlow, a hard link for
// safetensors. No tensor byte is read, and none is written unless the destination lies where
// linking is impossible.

#include <algorithm>

#include "cairn/convert.h"
#include "format/cairn/index.h"
#include "format/digest.h"
#include "format/le.h"
#include "format/safetensors/header.h"
#include "lib/compat/load.h"
#include "lib/compat/locate.h"
#include "lib/compat/publish.h"
#include "lib/compat/transfer.h"
#include "lib/store/draft.h"
#include "lib/store/identity.h"
#include "lib/store/names.h"
#include "lib/try.h"

namespace cairn {
namespace {

using compat::Location;

// P.cairn remembers what P.index was; written by us, it is not to look like a stranger's.
Result<store::Draft> draft_record(const Location& location, const format::IndexFacts& facts) {
  const auto own = format::encode_index(facts);
  if (!own) return Error{Code::Invalid, 0, location.prefix.string() + ": " + own.error().what};
  return store::draft_with(location.directory, location.file(store::kCairnSuffix), *own);
}

Result<Transfer> export_tensorflow(Location& location, const store::Parts& parts,
                                   const TransferOptions& options) {
  format::IndexFacts facts = parts.index.facts();
  CAIRN_TRY(bundle, compat::encode_bundle({location.base, location.prefix}, facts));
  CAIRN_TRY(to, compat::destination_of(location, options));
  Transfer transfer;
  transfer.prefix = to.prefix;
  transfer.notices = parts.notices;
  transfer.not_nameable = std::move(bundle.not_nameable);
  const compat::IndexFile index{to.base + std::string(store::kTensorFlowSuffix),
                                format::as_bytes(bundle.bytes)};
  CAIRN_TRY(there, compat::already_there(to, index, options.replace));
  if (to.beside) CAIRN_CHECK(compat::sync_payload(parts.shards, to.directory));
  if (to.beside && there) return transfer;
  if (!to.beside) {
    const auto names = compat::names_under(location.base, to.base, parts.index);
    CAIRN_CHECK(compat::bring_shards(parts.shards, names, to, options, transfer));
  }
  CAIRN_TRY(draft, store::draft_with(to.directory, index.name, index.bytes));
  std::optional<store::Draft> record;
  if (to.beside && parts.format == Format::Cairn) {
    CAIRN_TRY(info, draft.file().info());
    facts.tensorflow_index = {true, store::identity_of(info), format::xxh3_128(index.bytes)};
    CAIRN_TRY(own, draft_record(location, facts));
    record.emplace(std::move(own));
  }
  // P.cairn first: while P.index is absent it stands alone, whatever its record says. A P.index
  // that it does not know would decide, and that knows no metadata and no step.
  if (record) {
    CAIRN_CHECK(record->publish(store::Draft::Taken::Replace));
    CAIRN_CHECK(to.directory.sync());
  }
  CAIRN_CHECK(draft.publish(store::Draft::Taken::Replace));
  CAIRN_CHECK(to.directory.sync());
  store::remove_leftovers(to.directory, to.base + ".");
  compat::tell_of_fingerprint(to.prefix, transfer);
  return transfer;
}

// What the shard says as a safetensors file: of tied tensors the first alone, no strings. Sorted.
Result<std::vector<std::string>> names_in_header(const store::Parts& parts, std::size_t shard) {
  const auto facts = parts.index.shard(shard);
  std::vector<std::byte> head(facts.head_bytes);
  CAIRN_CHECK(parts.shards[shard].read_at(0, head));
  auto header = format::safetensors::decode_header(head, facts.identity.size_bytes);
  if (!header) return compat::error_of(parts.shards[shard].path(), header.error());
  std::vector<std::string> names;
  for (format::TensorFacts& tensor : header->tensors) names.push_back(std::move(tensor.name));
  return names;
}

// A universal shard is a safetensors file already: it only needs the name.
Result<Transfer> export_safetensors(Location& location, const store::Parts& parts,
                                    const TransferOptions& options) {
  std::optional<std::size_t> universal;
  for (std::size_t i = 0; i < parts.index.shard_count(); ++i) {
    if (parts.index.shard(i).kind != format::ShardKind::Universal) continue;
    if (universal) {
      return Error{
          Code::Unsupported, 0,
          location.prefix.string() +
              ": its tensors lie in several shards; convert() writes one safetensors file"};
    }
    universal = i;
  }
  if (!universal) {
    return Error{
        Code::Unsupported, 0,
        location.prefix.string() + ": no shard of it is a safetensors file; convert() writes one"};
  }
  CAIRN_TRY(named, names_in_header(parts, *universal));
  CAIRN_TRY(to, compat::destination_of(location, options));
  Transfer transfer;
  transfer.prefix = to.prefix;
  transfer.notices = parts.notices;
  for (std::size_t i = 0; i < parts.index.tensor_count(); ++i) {
    const std::string_view tensor = parts.index.tensor_name(i);
    if (!std::ranges::binary_search(named, tensor)) transfer.not_nameable.emplace_back(tensor);
  }
  const std::string name = to.base + std::string(store::kSafetensorsSuffix);
  CAIRN_CHECK(compat::bring_shards(std::span(parts.shards).subspan(*universal, 1),
                                   std::span(&name, 1), to, options, transfer));
  store::remove_leftovers(to.directory, to.base + ".");
  return transfer;
}

}  // namespace

Result<Transfer> export_index(const std::filesystem::path& source, Format target,
                              const TransferOptions& options) noexcept {
  return at_boundary([&]() -> Result<Transfer> {
    if (target != Format::TensorFlow && target != Format::Safetensors) {
      return Error{Code::Unsupported, 0,
                   source.string() +
                       ": export goes to tensorflow or safetensors; import adds Cairn's index"};
    }
    CAIRN_TRY(found, compat::find(source, false));
    if (found.parts.format == Format::TensorFlowV1) {
      return Error{Code::Unsupported, 0,
                   found.location.prefix.string() +
                       ": is a V1 checkpoint, whose values no index can point to; convert() (cairn "
                       "convert) writes them anew"};
    }
    if (target == Format::Safetensors)
      return export_safetensors(found.location, found.parts, options);
    return export_tensorflow(found.location, found.parts, options);
  });
}

}  // namespace cairn
