// A .safetensors file as a checkpoint.

#include "lib/open/safetensors.h"

#include <array>
#include <optional>
#include <string>
#include <utility>

#include "format/safetensors/header_scan.h"
#include "format/safetensors/own_metadata.h"
#include "lib/open/file_formats.h"
#include "lib/open/load.h"
#include "lib/try.h"

namespace cairn::internal {

Result<SafetensorsHeader> read_safetensors_header(const os::File& file, std::uint64_t size_bytes,
                                                  HeaderOptions how) {
  std::array<std::byte, 8> length;
  CAIRN_TRY(count, file.read_some_at(0, length));
  const auto json_bytes =
      format::safetensors::header_json_bytes(std::span(length).first(count), how.large);
  if (!json_bytes) return error_of(file.path(), json_bytes.error());
  if (*json_bytes > size_bytes - length.size()) {
    return Error{Code::Corrupt, 0,
                 file.path() + ": the header says that it has " + std::to_string(*json_bytes) +
                     " bytes, but the file has " + std::to_string(size_bytes)};
  }
  const std::uint64_t head_bytes = length.size() + *json_bytes;
  if (how.whole && how.plain) {
    auto plain = format::safetensors::scan_header(reads_of(file), *json_bytes, size_bytes);
    if (plain)
      return SafetensorsHeader{
          {{}, std::move(plain->metadata)}, std::move(plain->tensors), head_bytes};
  }
  os::Bytes head(head_bytes);
  CAIRN_CHECK(file.read_at(0, head));
  auto facts = format::safetensors::decode_header(
      head, how.whole ? std::optional(size_bytes) : std::nullopt);
  if (!facts) return error_of(file.path(), facts.error());
  return SafetensorsHeader{*std::move(facts), std::nullopt, head_bytes};
}

Result<FileIndex> read_safetensors(OpenShard shard, const FileReadOptions& how) {
  const std::uint64_t size_bytes = shard.identity.size_bytes;
  auto header = read_safetensors_header(shard.file, size_bytes,
                                        {how.whole, how.plain, how.formats.large_header});
  if (!header && may_pass(header.error())) return std::move(header).error();
  if (!header) return named_for_what_it_is(shard.file, std::move(header).error());
  format::IndexFacts facts;
  facts.tensors = std::move(header->facts.tensors);
  facts.safetensors_metadata = std::move(header->facts.metadata);
  format::safetensors::take_own_metadata(facts);
  format::ShardFacts shard_facts;
  shard_facts.name = how.name;
  shard_facts.kind = format::ShardKind::Safetensors;
  shard_facts.identity = shard.identity;
  shard_facts.head_bytes = header->head_bytes;
  shard_facts.live_bytes = size_bytes - header->head_bytes;
  facts.shards.push_back(std::move(shard_facts));
  FileIndex index{std::move(shard), std::move(facts)};
  index.plain = std::move(header->plain);
  return index;
}

}  // namespace cairn::internal
