// Export writes another format's index over the payload: P.index for TensorFlow, a hard link for
// safetensors. No tensor byte is read, and none is written unless the destination lies where
// linking is impossible.

#include <algorithm>
#include <optional>
#include <utility>

#include "cairn/convert.h"
#include "format/le.h"
#include "format/limits.h"
#include "format/safetensors/header.h"
#include "lib/compat/load.h"
#include "lib/compat/locate.h"
#include "lib/compat/publish.h"
#include "lib/compat/transfer.h"
#include "lib/store/names.h"
#include "lib/try.h"

namespace cairn {
namespace {

using compat::Location;

// Whether P.index is there with these bytes, durable. Exists: it is there with others, and
// `replace` is not said.
Result<bool> is_there(const Location& location, std::span<const std::byte> index, bool replace) {
  const auto file =
      location.directory.open_file(location.file(store::kTensorFlowSuffix), os::Links::Refuse);
  if (!file && (replace || file.error().code == Code::NotFound)) return false;
  if (!file) return file.error();
  CAIRN_TRY(bytes, os::read_whole(*file, format::limits::kForeignIndexBytesMax));
  if (std::ranges::equal(bytes, index)) {
    CAIRN_CHECK(file->sync());  // TensorFlow does not, and who was killed could not
    return true;
  }
  if (replace) return false;
  return Error{Code::Exists, 0,
               file->path() +
                   ": is there and says something else; say replace (--replace) to write it anew"};
}

Result<Transfer> tensorflow_beside(compat::Held held, const TransferOptions& options) {
  const auto& [location, parts, seen] = *held.found;
  format::IndexFacts facts = parts.index.facts();
  CAIRN_TRY(bundle, compat::encode_bundle({location.base, location.prefix}, facts));
  Transfer transfer;
  transfer.prefix = location.prefix;
  transfer.notices = parts.notices;
  transfer.not_nameable = std::move(bundle.not_nameable);
  const auto bytes = format::as_bytes(bundle.bytes);
  CAIRN_TRY(there, is_there(location, bytes, options.replace));
  CAIRN_CHECK(compat::sync_payload(parts.shards, location.directory));
  if (there) return transfer;
  // P.cairn remembers what P.index was; written by us, it is not to look like a stranger's.
  std::optional<format::IndexFacts> record;
  if (parts.format == Format::Cairn) record = std::move(facts);
  CAIRN_CHECK(compat::add_indexes(held.publisher, std::move(record), bytes));
  CAIRN_CHECK(compat::check_unchanged(location, seen));
  // P.cairn first: a P.index that it does not know would decide, and that knows no metadata and no
  // step.
  CAIRN_CHECK(held.publisher.publish({}, {.unwanted = {}, .last_first = true}));
  compat::tell_of_fingerprint(location.prefix, transfer);
  return transfer;
}

Result<Transfer> tensorflow_elsewhere(compat::Found& found, const compat::Destination& to,
                                      const TransferOptions& options) {
  Transfer transfer;
  transfer.prefix = to.prefix;
  transfer.notices = found.parts.notices;
  compat::Arrival arrival;
  arrival.facts = found.parts.index.facts();
  arrival.files = found.parts.shards;
  arrival.own_index = false;
  CAIRN_CHECK(compat::publish_elsewhere(to, std::move(arrival), options, transfer));
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
  CAIRN_TRY(drafts, compat::draft_shards(std::span(parts.shards).subspan(*universal, 1),
                                         std::span(&name, 1), to, options, transfer));
  CAIRN_TRY(publisher, store::Publisher::begin({to.directory, to.base, to.prefix.string()},
                                               {options.lock_wait, options.work.stop}));
  CAIRN_CHECK(publisher.publish_file(drafts.front(), options.replace));
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
    CAIRN_TRY(to, compat::destination_of(found.location, options));
    if (!to.beside) return tensorflow_elsewhere(found, to, options);
    CAIRN_TRY(held, compat::find_and_hold(source, options));
    return tensorflow_beside(std::move(held), options);
  });
}

}  // namespace cairn
